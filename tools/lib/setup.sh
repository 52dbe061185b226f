# Set-up shared by tools/demo and tools/test: sourced, not run.
# shellcheck shell=bash

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

# Outside the clone, so that a fresh clone does not build CTranslate2 again.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${PODRUN_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/podrun/target}}

say() { printf '%s\n' "$*" >&2; }

# need COMMAND PACKAGE...: installs Debian packages where that is possible, else remembers the name.
missing=()
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null 2>&1 || missing+=("$@")
}

install_missing() {
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing: ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q >/dev/null
        apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
        missing=()
        return 0
    fi
    say "these programs are missing; install them and run this again."
    say "Their Debian packages: ${missing[*]}"
    if [ "$(uname -s)" = Darwin ]; then
        say "With Homebrew: brew install cmake ffmpeg espeak-ng nginx"
    fi
    exit 4
}

need_rust() {
    command -v cargo >/dev/null 2>&1 && return 0
    say "cargo is missing: install Rust with rustup (https://rustup.rs), then run this again."
    exit 4
}

# What a build needs: CTranslate2 is C++ built by CMake.
need_build_tools() {
    need_rust
    need c++ g++
    need make make
    need cmake cmake
}
