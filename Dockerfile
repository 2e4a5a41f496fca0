# The images of Watchbill: docker build --target operator|agent|broker .    (scripts/images build makes all three)
#
# BASE        Debian or the official Python image, with Python 3.11 or newer as `python3` and the public authorities
# AUTHORITIES PEM text of authorities that downloads need here besides the public ones; in no image that results
# PIP_INDEX_URL, PIP_EXTRA_INDEX_URL   another index of packages; in no image that results either
# VERSION, REVISION, SOURCE, LICENSES   what the labels say
#
# Dependencies stand in layers of their own that pyproject.toml alone decides; the code comes last and is small.
# Nothing is compiled: packages come as wheels. Stages stand in the order in which builders without BuildKit, which make
# all stages up to the target, have least to do.
ARG BASE=python:3.11-slim-bookworm
ARG VERSION=unknown

# --- what every image begins with: an own user, and `python` at one path whatever the base ---
FROM ${BASE} AS runtime
ENV PATH=/opt/watchbill/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# The official image brings the standard library without bytecode, and with a read-only root it would be compiled anew
# at every start; where it is there already, nothing happens.
RUN set -eu; \
    echo 'watchbill:x:65532:' >> /etc/group; \
    echo 'watchbill:x:65532:65532:Watchbill:/tmp:/usr/sbin/nologin' >> /etc/passwd; \
    python3 -c "import compileall, re, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, rx=re.compile('/(test|tests|idlelib|lib2to3|ensurepip|tkinter|turtledemo|site-packages|dist-packages)/'))"

# --- pip and the build backend; nothing of this stage is copied but what it installs ---
FROM runtime AS tools
ARG AUTHORITIES=""
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN set -eu; \
    python3 -c 'import ensurepip' 2>/dev/null || { apt-get update; apt-get install -y --no-install-recommends python3-venv; }; \
    python3 -m venv /tools; \
    cp /etc/ssl/certs/ca-certificates.crt /tools/authorities.pem; \
    printf '%s\n' "$AUTHORITIES" >> /tools/authorities.pem; \
    [ -z "${PIP_INDEX_URL:-}" ] || /tools/bin/pip config --site set global.index-url "$PIP_INDEX_URL"; \
    [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || /tools/bin/pip config --site set global.extra-index-url "$PIP_EXTRA_INDEX_URL"
ENV PIP_CERT=/tools/authorities.pem \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_PROGRESS_BAR=off
WORKDIR /build
COPY pyproject.toml scripts/image_requirements.py ./
RUN python3 image_requirements.py build > build.txt && /tools/bin/pip install --quiet -r build.txt

FROM tools AS broker-dependencies
RUN set -eu; \
    python3 image_requirements.py broker > needed.txt; \
    python3 -m venv --without-pip /opt/watchbill; \
    /tools/bin/pip --python /opt/watchbill/bin/python install --quiet -r needed.txt

FROM tools AS operator-dependencies
RUN set -eu; \
    python3 image_requirements.py operator > needed.txt; \
    python3 -m venv --without-pip /opt/watchbill; \
    /tools/bin/pip --python /opt/watchbill/bin/python install --quiet -r needed.txt

FROM tools AS agent-dependencies
RUN set -eu; \
    python3 image_requirements.py agent > needed.txt; \
    python3 -m venv --without-pip /opt/watchbill; \
    /tools/bin/pip --python /opt/watchbill/bin/python install --quiet -r needed.txt

# --- our wheel, and of it what each image needs; bytecode names the files where they will be, and not their times of
# change, so that a change of the operator makes no other agent (nor is the cluster told to replace them) ---
FROM tools AS code
RUN python3 -m venv --without-pip /opt/watchbill
COPY . .
RUN set -eu; \
    /tools/bin/hatchling build --target wheel --directory /wheel; \
    /tools/bin/pip --python /opt/watchbill/bin/python install --quiet --no-deps --no-index --no-compile --prefix /operator /wheel/*.whl; \
    python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /operator -p /opt/watchbill /operator; \
    site=$(cd /operator && echo lib/python3.*/site-packages); \
    mkdir -p "/broker/$site" "/agent/$site"; \
    mv "/operator/$site/watchbill_broker" "/broker/$site/"; \
    mv "/operator/$site/watchbill_agent" "/agent/$site/"; \
    cp -R -p "/broker/$site/watchbill_broker" "/operator/$site/watchbill_coordination" "/agent/$site/"

# --- the images ---
FROM runtime AS broker
LABEL org.opencontainers.image.title="watchbill-broker" \
      org.opencontainers.image.description="Holds the credential of the model for one Watchbill agent, counts, keeps budgets"
COPY --from=broker-dependencies /opt/watchbill /opt/watchbill
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["python", "-m", "watchbill_broker"]
ARG VERSION
ARG REVISION=unknown
ARG SOURCE=""
ARG LICENSES=NOASSERTION
COPY --from=code /broker /opt/watchbill
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="${LICENSES}"

FROM runtime AS operator
LABEL org.opencontainers.image.title="watchbill-operator" \
      org.opencontainers.image.description="The Watchbill operator, and the watchbill command"
COPY --from=operator-dependencies /opt/watchbill /opt/watchbill
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["python", "-m", "watchbill_operator"]
ARG VERSION
ARG REVISION=unknown
ARG SOURCE=""
ARG LICENSES=NOASSERTION
COPY --from=code /operator /opt/watchbill
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="${LICENSES}"

# Claude Code's own tools want git, bash and procps; apt's lists and what nobody reads go again in the same layer.
FROM runtime AS agent-system
RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends bash ca-certificates git procps; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt \
        /usr/share/locale/* /usr/share/man/* /usr/share/info/*; \
    find /usr/share/doc ! -type d ! -name copyright -delete

FROM agent-system AS agent
LABEL org.opencontainers.image.title="watchbill-agent" \
      org.opencontainers.image.description="A Watchbill agent with Claude Code"
COPY --from=agent-dependencies /opt/watchbill /opt/watchbill
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["python", "-m", "watchbill_agent"]
ARG VERSION
ARG REVISION=unknown
ARG SOURCE=""
ARG LICENSES=NOASSERTION
COPY --from=code /agent /opt/watchbill
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="${LICENSES}"
