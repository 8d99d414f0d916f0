#!/bin/sh
# Sets the project up: `lock` makes .venv as requirements.lock says, `project` puts asgard into it,
# `compile` writes requirements.lock anew. uv comes from the registry by pip into .tools.
set -eu

UV_VERSION=0.13.9
uv=.tools/bin/uv

say() { echo "setup: $*" >&2; }

find_python() {
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    say "no Python 3.11 or newer found (tried python3.13, python3.12, python3.11, python3)."
    say "Install one (Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3 setup"
    exit 1
}

get_uv() {
    if [ -x "$uv" ] && [ "$("$uv" --version | cut -d' ' -f2)" = "$UV_VERSION" ]; then return; fi
    python=$(find_python)
    rm -rf .tools
    if ! "$python" -m venv .tools >/dev/null 2>&1; then
        # Debian without python3-venv has no ensurepip; a pip of the machine does as well.
        rm -rf .tools
        "$python" -m venv --without-pip .tools
        "$python" -m pip --version >/dev/null 2>&1 || {
            say "$python can neither make a venv with pip nor has pip. Debian: apt-get install python3-venv"
            exit 1
        }
        installer="$python -m pip --python .tools/bin/python"
    else
        installer=".tools/bin/python -m pip"
    fi
    $installer install --quiet --disable-pip-version-check "uv==$UV_VERSION" || {
        say "pip could not install uv==$UV_VERSION; it says why above."
        say "Behind a proxy or a mirror, tell pip: PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY (or pip.conf)."
        exit 1
    }
}

# What pip was told about mirrors and certificates holds for uv too.
as_pip_does() {
    if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"; fi
    if [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"; fi
    export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}" UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
}

# .tools has a pip of its own, unless Debian left it out; then the machine's.
with_pip() {
    pip=.tools/bin/python
    "$pip" -m pip --version >/dev/null 2>&1 || pip=$(find_python)
    "$pip" -m pip --python .venv/bin/python install --quiet --disable-pip-version-check "$@"
}

lock() {
    get_uv
    as_pip_does
    if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$(find_python)
        "$uv" venv --quiet --clear --python "$python" .venv
    fi
    say "installing requirements.lock into .venv"
    if ! "$uv" pip sync --quiet --require-hashes --python .venv/bin/python requirements.lock; then
        say "uv could not install requirements.lock (above); trying pip, which is slower."
        with_pip --require-hashes -r requirements.lock || {
            say "neither uv nor pip could install requirements.lock. If a download failed, tell both where to look:"
            say "UV_DEFAULT_INDEX and PIP_INDEX_URL for a mirror, SSL_CERT_FILE and PIP_CERT for its certificates, HTTPS_PROXY."
            say "If a hash did not match, the mirror changed a file: do not go on."
            exit 1
        }
    fi
    touch .venv/.locked
}

project() {
    get_uv
    as_pip_does
    if ! "$uv" pip install --quiet --no-deps --python .venv/bin/python --editable .; then
        say "uv could not install asgard itself (above); trying pip."
        with_pip --no-deps --editable . || {
            say "neither uv nor pip could install asgard itself; its build needs hatchling from the registry."
            exit 1
        }
    fi
    touch .venv/.ready
}

compile() {
    get_uv
    as_pip_does
    "$uv" pip compile --quiet --upgrade pyproject.toml --all-extras --group dev --universal --generate-hashes \
        --no-annotate --no-header --python-version 3.11 -o requirements.lock
}

cd "$(dirname "$0")/.."
case "${1:-}" in
    lock | project | compile) "$1" ;;
    *) say "use make setup or make lock"; exit 2 ;;
esac
