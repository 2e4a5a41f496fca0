# Sourced by scripts/control-plane and scripts/kind-node, never run: programs built of the pinned modules below
# tests/control_plane. A module's programs are in one folder of the cache, whoever asked for them, so that nothing is
# built twice. The caller has set $checkout, and called `fail` and `follow` nothing else.

# The version file is beside; the sourcing script stands in $checkout.
. "$checkout/scripts/versions"

ABSENT=3 # exit code: what is needed is not on this machine
fail() { echo "watchbill: $1" >&2; exit "${2:-1}"; }
absolute() { case $1 in "" | /*) printf %s "$1" ;; *) printf %s "$PWD/$1" ;; esac; }
has() { for program in $2; do [ -x "$1/$program" ] || return 1; done; }

modules=$checkout/tests/control_plane
WATCHBILL_CACHE=$(absolute "${WATCHBILL_CACHE:-}")
cache=${WATCHBILL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/watchbill}
again="it goes on where it stopped when you run it again"

module_of() {
    case $1 in
        kube* | etcd | pause) echo . ;;
        containerd* | ctr) echo containerd ;;
        *) echo "$1" ;;
    esac
}
package_of() {
    case $1 in
        kube*) echo "k8s.io/kubernetes/cmd/$1" ;;
        etcd) echo go.etcd.io/etcd/server/v3 ;;
        pause) echo ./pause ;;
        containerd* | ctr) echo "github.com/containerd/containerd/v2/cmd/$1" ;;
        crictl) echo sigs.k8s.io/cri-tools/cmd/crictl ;;
        kind) echo sigs.k8s.io/kind ;;
        coredns) echo github.com/coredns/coredns ;;
        local-path-provisioner) echo github.com/rancher/local-path-provisioner ;;
        *) fail "no module below tests/control_plane has a program $1" ;;
    esac
}
version_of() {
    case $1 in
        .) echo "kubernetes-v$KUBERNETES" ;;
        containerd) echo "containerd-v$CONTAINERD" ;;
        crictl) echo "crictl-v$CRITOOLS" ;;
        kind) echo "kind-v$KIND" ;;
        coredns) echo "coredns-v$COREDNS" ;;
        local-path-provisioner) echo "local-path-provisioner-v$LOCALPATH" ;;
    esac
}
# programs_folder MODULE: where that module's programs are or will be. Another version is another folder.
programs_folder() {
    decides=$(cat "$modules/$1/go.mod" "$modules/$1/go.sum" | cksum | cut -d" " -f1)
    echo "$cache/programs/$(version_of "$1")-$decides"
}

# follow PID WHAT LOG: says on stderr how far it is until it ends (each second on a terminal, else every 30 s); its exit
# code is that of PID, after the end of the log.
[ -t 2 ] && every=1 || every=30
follow() {
    trap 'kill "$1" 2>/dev/null; exit 130' INT TERM
    follow_began=$(date +%s)
    tick=0
    while kill -0 "$1" 2>/dev/null; do
        sleep 1
        tick=$((tick + 1))
        [ $((tick % every)) -eq 0 ] || continue
        said="$2: $(progress "$3"), $(($(date +%s) - follow_began)) s"
        if [ -t 2 ]; then printf '  %s\033[K\r' "$said" >&2; else echo "  $said" >&2; fi
    done
    trap - INT TERM
    wait "$1" || { tail -n 15 "$3" >&2; fail "$2 failed: see above, or $3; $again"; }
    [ ! -t 2 ] || printf '\033[K' >&2
}
# progress LOG: what go or debootstrap has done so far, in words.
progress() {
    fetched=$(grep -Ec '^go: downloading|^I: Retrieving' "$1" || true)
    made=$(grep -Ecv '^go: |^I: Retrieving' "$1" || true)
    echo "$fetched fetched, $made done"
}

require_go() {
    found=$(go env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9.]*\).*/\1/p')
    [ "$(printf '%s\n' "$GO" "${found:-0}" | sort -V | head -n 1)" = "$GO" ] ||
        fail "Go $GO or newer builds Kubernetes v$KUBERNETES and is not here: install it (https://go.dev/dl)$1" $ABSENT
}

# build_programs MODULE PROGRAM...: builds those that its folder lacks, in one run of go.
build_programs() {
    module=$1
    shift
    built=$(programs_folder "$module")
    mkdir -p "$built" 2>/dev/null || fail "cannot write to $built: set WATCHBILL_CACHE to a folder that you may write to"
    (
        ! command -v flock >/dev/null 2>&1 || flock 9 # two builds at once would do everything twice
        missing=
        packages=
        for program; do
            has "$built" "$program" || {
                missing="$missing $program"
                packages="$packages $(package_of "$program")"
            }
        done
        [ -n "$missing" ] || exit 0
        work=$(mktemp -d "$built/.work.XXXXXX")
        trap 'rm -rf "$work"' EXIT
        log=$built/build.log
        : >"$log"
        (
            cd "$modules/$module"
            about=k8s.io/component-base/version
            minor=${KUBERNETES#*.}
            stamp="-s -w -X $about.gitVersion=v$KUBERNETES -X $about.gitMajor=${KUBERNETES%%.*} -X $about.gitMinor=${minor%%.*}"
            stamp="$stamp -X $about.gitTreeState=clean -X github.com/containerd/containerd/v2/version.Version=v$CONTAINERD"
            # The node needs none of containerd's other snapshotters, nor its tracing.
            export GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false" CGO_ENABLED=0
            # shellcheck disable=SC2086  # names of packages, a word each
            exec go build -v -tags "no_btrfs no_zfs no_devmapper" -ldflags "$stamp" -o "$work/" $packages
        ) >>"$log" 2>&1 9>&- &
        follow $! "building$missing" "$log"
        [ ! -e "$work/server" ] || mv "$work/server" "$work/etcd" # go names it by the folder of its package
        for program in $missing; do mv "$work/$program" "$built/$program"; done
    ) 9>"$built/.lock" || exit $?
}
