# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by those who source it
# What every script needs: where it is, how it talks, how it waits. Source it; it runs nothing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# What cargo builds with --release.
RELEASE=${CARGO_TARGET_DIR:-$ROOT/target}/release

# Rustup's default place, where a profile that has not been read again does not lead to it.
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH

# Colours where a person looks at both streams (https://no-color.org).
BOLD='' DIM='' GREEN='' RED='' PLAIN=''
if [[ -t 1 && -t 2 && -z ${NO_COLOR:-} ]]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
fi

# note TEXT: progress; on standard error, because standard output belongs to the result.
note() { printf '%s%s%s\n' "$DIM" "$*" "$PLAIN" >&2; }

# die TEXT: why it cannot go on and what to do about it.
die() {
    printf '%s%s: %s%s\n' "$RED" "${0##*/}" "$*" "$PLAIN" >&2
    exit 1
}

# usage TEXT: what is wrong with the arguments.
usage() {
    note "${0##*/}: $1; see scripts/${0##*/} --help"
    exit 2
}

# show_help: the comment at the head of the script.
show_help() {
    sed -n '2,/^set/{/^set/d;s/^# \?//;p}' "$0"
    exit
}

# wait_until SECONDS COMMAND...: repeats the command until it succeeds; fails after so many seconds.
wait_until() {
    local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
    shift
    until "$@"; do
        ((${EPOCHREALTIME/[.,]/} < deadline)) || return 1
        sleep 0.02
    done
}

# milliseconds: now, for differences.
milliseconds() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# seconds MILLISECONDS: the same with a decimal point, 1234 -> 1.23.
seconds() { printf '%d.%02d' $(($1 / 1000)) $(($1 % 1000 / 10)); }

# as_root COMMAND...: through sudo where that is needed.
as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# become_root ARGUMENTS...: starts this script again as root with these arguments, unless it is; it
# has built what it needs by then.
become_root() {
    ((EUID == 0)) && return
    local name kept=(TETHER_BUILT=yes)
    for name in PATH HOME CARGO_TARGET_DIR TETHER_LABS TMPDIR NO_COLOR; do
        [[ -z ${!name:-} ]] || kept+=("$name=${!name}")
    done
    note "network namespaces and DPDK ports need root: going on through sudo"
    exec sudo env "${kept[@]}" "$ROOT/scripts/${0##*/}" "$@"
}

has_miri() { cargo +nightly miri --version &>/dev/null; }
