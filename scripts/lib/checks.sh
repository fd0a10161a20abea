# shellcheck shell=bash
# The stages of scripts/test that are more than one command.

TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

# check_unsafe: the house allows unsafe code in few places (docs/architecture.md).
check_unsafe() {
    local allowed='^(dataplane/src/(rcu|simd)\.rs:|dataplane/src/tables/affinity/)' found
    # The keyword before what it makes unsafe, or a lint that is lifted; not the word in a comment.
    found=$(grep -rnE --include='*.rs' --exclude-dir=target \
        '^[^/"]*(\bunsafe +(\{|fn|impl|trait|extern)|#\[unsafe\(|(allow|expect)\(unsafe_code)' \
        dataplane controlplane benches | grep -vE "$allowed") || return 0
    printf 'unsafe code where the house does not allow it:\n%s\n' "$found"
    return 1
}

# test_workspace: all but the end-to-end tests, which need root and the machine for themselves, and
# those that ask scapy, a stage of their own.
test_workspace() {
    local integration
    mapfile -t integration < <(cargo metadata --no-deps --format-version 1 | jq -r '
        [.packages[].targets[] | select(.kind == ["test"]).name] | unique - ["e2e", "scapy"] | .[] | "--test=" + .')
    cargo test --workspace --lib --bins --examples "${integration[@]}" --no-fail-fast
}

# test_with_loom: in a directory of its own, because another --cfg builds everything anew.
test_with_loom() {
    CARGO_TARGET_DIR=$TARGET/loom RUSTFLAGS='--cfg tether_loom' \
        cargo test -p tether-dataplane --no-default-features --lib --release loom
}

# test_with_miri: what has no FFI and more to it than arithmetic (the schedulers are just that, and take it
# minutes). Miri runs on one core, so there are two
# of it; what the second says is kept until the first is done.
test_with_miri() {
    local second status=0
    interpreted --no-run
    interpreted -- tables:: &>"$OUTPUT/miri" &
    second=$!
    interpreted -- rcu:: flow_table:: held:: sessions:: exchange:: || status=$?
    wait "$second" || status=$?
    cat "$OUTPUT/miri"
    return "$status"
}

# interpreted ARGUMENT...: cargo test under Miri. A table that is dropped before its readers leaks its
# buckets on purpose.
interpreted() {
    MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-ignore-leaks' \
        cargo +nightly miri test -p tether-dataplane --no-default-features --lib "$@"
}

test_end_to_end() {
    local runner="CARGO_TARGET_$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')_RUNNER"
    ((EUID == 0)) || export "$runner=sudo -E"
    cargo test --workspace --test e2e -- --test-threads=1 --show-output
}

# check_demo DRIVER: every step is there and was right, and nothing is left.
check_demo() {
    local result
    result=$(TETHER_LABS=$LABS scripts/demo --json --port-driver "$1")
    jq . <<<"$result"
    jq -e '.ok and all(.steps[]; .ok) and
        [.steps[].name] == ["spread", "affinity", "other_client", "end", "expire", "owner_down"]' <<<"$result"
    nothing_is_left
}

# check_interrupted_demo: TERM while the forwarder runs leaves nothing either.
check_interrupted_demo() {
    local demo status=0
    TETHER_LABS=$LABS scripts/demo &
    demo=$!
    wait_until 60 pgrep -f "tetherd --config $LABS"
    as_root kill -TERM "$demo"
    wait "$demo" || status=$?
    ((status == 143)) || { echo "exit $status instead of 143" && return 1; }
    nothing_is_left
}

# nothing_is_left: of the labs called $LABS.
nothing_is_left() {
    local left
    left=$({ ip netns list && find "${LABS%/*}" -maxdepth 1 && ps -eo pid,args; } |
        grep -F "${LABS##*/}" | grep -vF grep) || return 0
    printf 'left behind:\n%s\n' "$left"
    return 1
}
