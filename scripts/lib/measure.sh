# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by those who source it
# The programs of scripts/bench: how each is run, and where its figures go.

OUT=${CARGO_TARGET_DIR:-$ROOT/target}/bench
RESULTS=$OUT/results.jsonl
# Frames that a pool needs for the largest file, and those on the way.
BUFFERS=1100000
# Of 2 MB each: for a pool of that many frames or the largest table, and for tetherd alone.
HUGEPAGES=1800
FEW_HUGEPAGES=100
SIGNAL=127.0.0.1:17470
METRICS=127.0.0.1:19470

# build_benches: everything that is run, as users have it.
build_benches() {
    note "building tetherd and the benches"
    cargo build --release --manifest-path "$ROOT/Cargo.toml" --bins \
        -p tether-controlplane -p tether-benches >&2
}

# prepare: cores, hugepages, captures, a directory that goes away in the end.
prepare() {
    local cores
    mapfile -t cores < <(allowed_cores)
    ((${#cores[@]} >= 2)) || die "two cores are needed: one for the worker, one for all else"
    CONTROL_CORE=${cores[0]} WORKER_CORE=${cores[-1]}
    EAL=(--no-pci --in-memory --no-telemetry "--lcores=0@$CONTROL_CORE" --log-level=error)
    mkdir -p "$OUT"
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/tether-bench.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    reserve_hugepages
    make_captures
    : >"$RESULTS"
    machine | record machine
}

# allowed_cores: those that this script may run on, one a line.
allowed_cores() {
    taskset -cp $$ | sed 's/.*: //' | tr , '\n' | while IFS=- read -r first last; do
        seq "$first" "${last:-$first}"
    done
}

# reserve_hugepages: as many as the parts need.
reserve_hugepages() {
    local needed=$FEW_HUGEPAGES part
    for part in "${PARTS[@]}"; do
        [[ $part =~ ^(control|signals|start|instructions)$ ]] || needed=$HUGEPAGES
    done
    HUGEPAGES_BEFORE=$(sysctl -n vm.nr_hugepages)
    has_hugepages "$needed" && return
    # What files are cached in, and small pieces, may stand in the way.
    sync
    sysctl -qw vm.drop_caches=1 vm.compact_memory=1
    has_hugepages "$needed" || die "$needed hugepages of 2 MB cannot be had: free some memory"
}

has_hugepages() {
    (($(sysctl -n vm.nr_hugepages) >= $1)) || sysctl -qw "vm.nr_hugepages=$1"
    (($(sysctl -n vm.nr_hugepages) >= $1))
}

clean_up() {
    stop_testpmd
    stop_tetherd KILL
    sysctl -qw "vm.nr_hugepages=${HUGEPAGES_BEFORE:-0}"
    rm -rf "$WORK"
}

# make_captures: the files are the same in every run.
make_captures() {
    note "making captures"
    capture 1000 --flows 1000
    capture 200000 --flows 200000
    capture other --flows 200000 --first 200000
    capture 1000000 --flows 1000000 --services 100
    capture syn --flows 1000000 --syn
    # For tetherd, whose pool holds some ten thousand frames; its backend answers in it.
    capture tetherd --flows 4000 --packets 8000 --backends 1
}

capture() { "$RELEASE/make-capture" "$WORK/$1.pcap" "${@:2}"; }

# source_port NAME[,NAME]: the port that repeats the captures, one queue for each.
source_port() {
    local name port=net_pcap0 names
    IFS=, read -ra names <<<"$1"
    for name in "${names[@]}"; do port+=",rx_pcap=$WORK/$name.pcap"; done
    echo "$port,infinite_rx=1"
}

# tether_bench CAPTURE OPTION...: one measurement with one worker, as JSON.
tether_bench() { tether_bench_on "$WORKER_CORE" "$@"; }

# tether_bench_on CORES CAPTURE OPTION...: with a worker on each of the cores.
tether_bench_on() {
    local cores=$1
    shift
    "$RELEASE/tether-bench" "${EAL[@]}" "--vdev=$(source_port "$1")" --vdev=net_null0,no-rx=1 -- \
        --json --cores "$cores" --mbufs "$(buffers "$1")" --seconds "$SECONDS_EACH" "${@:2}"
}

# testpmd MODE CAPTURE: the same for testpmd, by its own statistics; its first seconds are no seconds.
testpmd() {
    local log=$WORK/testpmd.log
    : >"$log"
    dpdk-testpmd --no-pci --in-memory --no-telemetry --log-level=error \
        "--lcores=0@$CONTROL_CORE,1@$WORKER_CORE" \
        "--vdev=$(source_port "$2")" --vdev=net_null0,no-rx=1 -- \
        "--forward-mode=$1" --nb-cores=1 --burst=64 "--total-num-mbufs=$(buffers "$2")" \
        --no-lsc-interrupt --stats-period=1 </dev/null >"$log" 2>&1 &
    TESTPMD=$!
    wait_until 120 has_rates_or_is_gone $((SECONDS_EACH + 2)) || true
    stop_testpmd
    has_rates 3 || { tail -n 20 "$log" >&2 && die "testpmd does not forward, see above"; }
    rates | jq -sc '.[2:] | sort | {packets_per_second: .[length / 2 | floor]}'
}

# rates: what testpmd has told until now, packets a second, one a line.
rates() { sed -n 's/.*Rx-pps: *\([1-9][0-9]*\).*/\1/p' "$WORK/testpmd.log"; }

has_rates() { (($(rates | wc -l) >= $1)); }

has_rates_or_is_gone() { has_rates "$1" || ! kill -0 "$TESTPMD" 2>/dev/null; }

stop_testpmd() {
    [[ -n ${TESTPMD:-} ]] || return 0
    kill -TERM "$TESTPMD" 2>/dev/null || true
    wait "$TESTPMD" 2>/dev/null || true
    TESTPMD=''
}

# buffers CAPTURE: frames that a pool needs for it. testpmd has one pool for all ports.
buffers() {
    case $1 in
        1000000 | syn) echo "$BUFFERS" ;;
        *) echo 250000 ;;
    esac
}

# record WHAT [KEY=VALUE]...: adds each JSON object on standard input, with its conditions.
record() {
    local what=$1 pair arguments=()
    shift
    for pair in "$@"; do
        if [[ ${pair#*=} =~ ^[0-9]+$ ]]; then
            arguments+=(--argjson "${pair%%=*}" "${pair#*=}")
        else
            arguments+=(--arg "${pair%%=*}" "${pair#*=}")
        fi
    done
    jq -c "${arguments[@]}" --arg what "$what" '$ARGS.named + {result: .}' >>"$RESULTS"
}

# machine: what all was measured on.
machine() {
    local commit
    commit=$(git -C "$ROOT" -c safe.directory='*' describe --always --dirty 2>/dev/null) || commit=unknown
    jq -nc --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
        --arg kernel "$(uname -r)" --arg dpdk "DPDK $(pkg-config --modversion libdpdk)" \
        --arg commit "$commit" --arg date "$(date -u +%F)" \
        --argjson rounds "$ROUNDS" --argjson seconds "$SECONDS_EACH" \
        --argjson cores "$(nproc)" --argjson quick "$QUICK" '$ARGS.named'
}

# write_configuration: one service, one server known by its certificate, a journal.
write_configuration() {
    rm -rf "$WORK/state"
    mkdir "$WORK/state"
    [[ -d $WORK/certificates ]] || "$RELEASE/signal-load" certificates "$WORK/certificates"
    cat >"$WORK/tether.toml" <<END
[dpdk]
args = ["--no-pci", "--in-memory", "--log-level=error", "--vdev=$(source_port tetherd)"]

[workers]
cores = [$WORKER_CORE]

[[port]]
device = "net_pcap0"
addresses = ["10.9.0.2/16"]

[control]
signal = "$SIGNAL"
auth = "mtls"
operator = "$WORK/operator.sock"
metrics = "$METRICS"
state = "$WORK/state"

[control.tls]
certificate = "$WORK/certificates/forwarder.pem"
key = "$WORK/certificates/forwarder.key"
client_ca = "$WORK/certificates/ca.pem"

[limits]
affinities = 4000000
affinities_per_backend = 4000000
signals_per_second_per_backend = 10000000

[[service]]
name = "shop"
address = "10.9.0.100"
port = 80

[service.health]
check = "none"

[[service.backend]]
name = "shop-1"
address = "10.9.1.1"
END
}

start_tetherd() {
    "$RELEASE/tetherd" --config "$WORK/tether.toml" --log warn </dev/null >"$WORK/tetherd.log" 2>&1 &
    TETHERD=$!
    wait_until 60 forwards_or_is_gone || true
    forwards || { tail -n 20 "$WORK/tetherd.log" >&2 && die "tetherd does not forward, see above"; }
}

forwards() {
    curl -fs "http://$METRICS/metrics" | grep -q 'fate="forwarded"} [1-9]'
}

forwards_or_is_gone() { forwards || ! kill -0 "$TETHERD" 2>/dev/null; }

# stop_tetherd SIGNAL: if it runs.
stop_tetherd() {
    [[ -n ${TETHERD:-} ]] || return 0
    kill "-$1" "$TETHERD" 2>/dev/null || true
    wait "$TETHERD" 2>/dev/null || true
    TETHERD=''
}

# load KIND OPTION...: signals to the running tetherd, from the core that does not forward.
load() {
    taskset -c "$CONTROL_CORE" "$RELEASE/signal-load" "$1" --to "https://$SIGNAL" \
        --certificates "$WORK/certificates" "${@:2}"
}
