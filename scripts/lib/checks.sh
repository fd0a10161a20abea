# shellcheck shell=bash
# The stages of scripts/test that are more than one command.

TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

# check_unsafe: the house allows unsafe code in few places (docs/architecture.md).
check_unsafe() {
    local allowed='^(dataplane/src/(huge|rcu|simd)\.rs:|dataplane/src/tables/affinity/)' found
    # The keyword before what it makes unsafe, or a lint that is lifted; not the word in a comment.
    found=$(grep -rnE --include='*.rs' --exclude-dir=target \
        '^[^/"]*(\bunsafe +(\{|fn|impl|trait|extern)|#\[unsafe\(|(allow|expect)\(unsafe_code)' \
        dataplane controlplane benches | grep -vE "$allowed") || return 0
    printf 'unsafe code where the house does not allow it:\n%s\n' "$found"
    return 1
}

# compile_with_clippy: from here on cargo's compiler for the workspace is clippy, as `cargo clippy` has it,
# and a warning is an error. So nothing is compiled once for its lints and once more for its tests.
compile_with_clippy() {
    local space=__CLIPPY_HACKERY__
    export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D${space}warnings$space
}

# build_workspace: everything that there is to build, and a list of it.
build_workspace() {
    compile_with_clippy
    cargo build --workspace --all-targets --message-format=json-render-diagnostics >"$OUTPUT/built"
}

# built_tests: what was built and holds tests, a line each: its name, its package's directory, its source
# in there, its program.
built_tests() {
    jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable and .target.kind != ["bench"])
        | (.manifest_path | rtrimstr("Cargo.toml")) as $directory
        | [.target.name, $directory, (.target.src_path | ltrimstr($directory)), .executable] | @tsv' "$OUTPUT/built"
}

# run_tests DIRECTORY SOURCE COMMAND...: as cargo would, by which the table of rules knows them.
run_tests() {
    echo "     Running $2"
    (cd "$1" && "${@:3}")
}

# test_workspace: all but the end-to-end tests, which need root and the machine for themselves. What kills
# the daemon again and again waits more than it works: the others run meanwhile.
test_workspace() {
    local name directory source program crash status=0
    compile_with_clippy
    read -r _ directory source program < <(built_tests | grep '^crash\>')
    run_tests "$directory" "$source" "$program" &>"$OUTPUT/crash" &
    crash=$!
    while read -r name directory source program; do
        case $name in
            crash | e2e) ;;
            *) run_tests "$directory" "$source" "$program" || status=$? ;;
        esac
    done < <(built_tests)
    wait "$crash" || status=$?
    cat "$OUTPUT/crash"
    return "$status"
}

# test_with_loom: in a directory of its own, because another --cfg builds everything anew. Only loom itself
# is worth an optimiser's time.
test_with_loom() {
    CARGO_TARGET_DIR=$TARGET/loom RUSTFLAGS='--cfg tether_loom' \
        cargo test -p tether-dataplane --no-default-features --lib \
        --config profile.dev.package.loom.opt-level=2 --config profile.dev.package.generator.opt-level=2 loom
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

test_without_dpdk() {
    compile_with_clippy
    cargo test -p tether-dataplane --no-default-features --no-fail-fast "$@"
}

test_documentation() {
    compile_with_clippy
    cargo test --workspace --doc --no-fail-fast
}

test_end_to_end() {
    local directory source program sudo=()
    compile_with_clippy
    ((EUID == 0)) || sudo=(sudo -E)
    read -r _ directory source program < <(built_tests | grep '^e2e\>')
    run_tests "$directory" "$source" "${sudo[@]}" "$program" --test-threads=1 --show-output
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
