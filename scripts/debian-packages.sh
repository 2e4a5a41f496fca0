# Sourced by scripts/docker-engine and scripts/kind-node, never run: programs of Debian's packages without installing
# anything. `fail`, $ABSENT and $cache are the caller's. $unpacked is where they go, $again what a failure adds.

unpacked=$cache/debian

# use_unpacked: lets programs and libraries that were unpacked be found, after those of the machine.
use_unpacked() {
    [ -d "$unpacked" ] || return 0
    PATH=$PATH:$unpacked/usr/sbin:$unpacked/usr/bin:$unpacked/sbin:$unpacked/bin
    libraries=
    for each in "$unpacked"/usr/lib/*-linux-gnu* "$unpacked"/lib/*-linux-gnu*; do
        [ ! -d "$each" ] || libraries=$libraries:$each
        [ ! -d "$each/xtables" ] || [ -d "${each#"$unpacked"}/xtables" ] || export XTABLES_LIBDIR="$each/xtables"
    done
    [ -z "$libraries" ] || export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}$libraries"
    [ ! -d "$unpacked/usr/share/debootstrap" ] || export DEBOOTSTRAP_DIR="$unpacked/usr/share/debootstrap"
    export PATH
}

# unpack_debian PACKAGE...: fetches these packages, and those they need that the machine has not, and unpacks them.
unpack_debian() {
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
        fail "this is neither Debian nor Ubuntu, so that $1 cannot be unpacked from a package: install $* by hand" "$ABSENT"
    fi
    mkdir -p "$unpacked/.debs" 2>/dev/null || fail "cannot write to $unpacked: set WATCHBILL_CACHE to a folder that you may write to"
    log=$unpacked/.apt.log
    : >"$log"
    if ! packages_for "$@" >/dev/null; then
        echo "  apt-get update: the package lists of this machine lack $*" >&2
        apt-get update >>"$log" 2>&1 || true
    fi
    names=$(packages_for "$@") || {
        tail -n 5 "$log" >&2
        fail "apt-get finds no $*: see above; is a package archive reachable?" "$ABSENT"
    }
    echo "  unpacking into $unpacked, nothing is installed: $(echo "$names" | tr '\n' ' ')" >&2
    # shellcheck disable=SC2086  # names of packages, a word each
    (cd "$unpacked/.debs" && apt-get -o APT::Sandbox::User=root download $names) >>"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        fail "the packages could not be fetched: see above; $again" "$ABSENT"
    }
    for each in "$unpacked"/.debs/*.deb; do dpkg-deb -x "$each" "$unpacked" && rm "$each"; done
    # What Debian would link by its alternatives.
    for each in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        [ ! -e "$unpacked/usr/sbin/xtables-nft-multi" ] || ln -sf xtables-nft-multi "$unpacked/usr/sbin/$each"
    done
    use_unpacked
}
packages_for() {
    apt-get -s -o Debug::NoLocking=true --no-install-recommends install "$@" 2>>"$log" >"$unpacked/.plan" || return 1
    sed -n 's/^Inst \([^ ]*\) .*/\1/p' "$unpacked/.plan"
}

# pack FOLDER FILE: the folder as FILE, a tar.zst. A pipe ends with zstd's code alone, so tar's is looked at too.
pack() {
    rm -f "$2.torn"
    { tar -C "$1" --numeric-owner --sort=name -c . || : >"$2.torn"; } | zstd -q -f -T0 -o "$2"
    ! [ -e "$2.torn" ] || { rm -f "$2" "$2.torn"; fail "$1 could not be packed"; }
}
