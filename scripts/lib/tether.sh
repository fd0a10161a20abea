# shellcheck shell=bash
# The programs in a lab: tetherd on the forwarder, the shop on three servers, tetherctl.

# build_release: tetherd, tetherctl and the shop, as users have them.
build_release() {
    note "building tetherd, tetherctl and the shop"
    # In one go: each set of packages would have features, and builds of what it needs, of its own.
    cargo build --release --manifest-path "$ROOT/Cargo.toml" --bins --example shop \
        -p tether-controlplane -p tether-ctl -p tether-client >&2
}

# last_core: the last one that this script may run on, for the worker.
last_core() { taskset -cp $$ | sed 's/.*[^0-9]//'; }

# vdev DRIVER [INTERFACE [NUMBER]]: the DPDK argument for a port of the forwarder (af_packet or
# af_xdp) on its `data` or another interface.
vdev() {
    local interface=${2:-data} number=${3:-0}
    case $1 in
        # blocksz is a page: larger ones may not be had without gaps in memory.
        af_packet) echo "net_af_packet$number,iface=$interface,blocksz=4096,framesz=2048,framecnt=2048,qpairs=1" ;;
        af_xdp) echo "net_af_xdp$number,iface=$interface,start_queue=0,queue_count=1" ;;
        *) usage "no port driver \"$1\": af_packet or af_xdp" ;;
    esac
}

# eal_arguments DRIVER: what tetherd and testpmd are given alike. Without hugepages none is left behind.
eal_arguments() {
    printf '%s\n' --no-pci --no-huge -m 512 "--file-prefix=${LAB##*/}" "--vdev=$(vdev "$1")"
}

# write_configuration DRIVER IDLE: $LAB/tether.toml without services; IDLE: what a worker does when
# there is nothing to do, poll or yield.
write_configuration() {
    local arguments device
    arguments=$(eal_arguments "$1" | jq -Rnc '[inputs]')
    device=$(vdev "$1")
    cat >"$LAB/tether.toml" <<END
[dpdk]
args = $arguments

[workers]
cores = [$(last_core)]
flows = 65536
idle = "$2"

[[port]]
device = "${device%%,*}"
addresses = ["10.9.0.2/24", "fd00:9::2/64"]

[control]
signal = "10.8.0.2:7470"
auth = "address"
operator = "$LAB/operator.sock"
metrics = "10.8.0.2:9470"
state = "$LAB/state"
END
}

# add_service NAME ADDRESS PORT CHECK SHOP...: to the configuration, with these shops as backends.
add_service() {
    local address=$2 shop network=10.9.0.
    [[ $address != *:* ]] || network=fd00:9::
    {
        cat <<END

[[service]]
name = "$1"
address = "$address"
port = $3
protocol = "tcp"
scheduler = "maglev"
forward = "dsr"

[service.affinity]
duration = "30s"

[service.health]
check = "$4"
path = "/health"
interval = "200ms"
timeout = "200ms"
rise = 1
fall = 2
END
        for shop in "${@:5}"; do
            cat <<END

[[service.backend]]
name = "$shop"
address = "$network${NUMBER[$shop]}"
signal_from = ["10.8.0.${NUMBER[$shop]}"]
END
        done
    } >>"$LAB/tether.toml"
}

# start_tetherd: as configured, with all that it leaves behind in the lab's directory.
start_tetherd() {
    # EAL keeps its sockets where RUNTIME_DIRECTORY says.
    RUNTIME_DIRECTORY=$LAB/dpdk start tetherd forwarder "$RELEASE/tetherd" --config "$LAB/tether.toml"
    wait_until 20 is_ready_or_gone || true
    is_ready || die "tetherd is not ready; its log says why"
}

# start_shop NAME
start_shop() {
    start "$1" "$1" "$RELEASE/examples/shop" --listen '[::]:80' --name "$1" --tether http://10.8.0.2:7470
}

# ctl VERB...: asks the daemon, answers in JSON.
ctl() { "$RELEASE/tetherctl" --json --socket "$LAB/operator.sock" "$@"; }

is_ready() { ctl status 2>/dev/null | jq -e .ready >/dev/null; }

is_ready_or_gone() { is_gone tetherd || is_ready; }

# affinities: how many there are.
affinities() { ctl affinity count | jq .total; }

# packets: what became of them, as JSON; `accounted` says whether each one has exactly one fate.
packets() {
    ctl stats | jq -c '.workers
        | (map(.fates | to_entries) | add | group_by(.key)
            | map({(.[0].key): map(.value) | add} | select(.[] > 0)) | add // {}) as $fates
        | {received: map(.received) | add, held: map(.held) | add, fates: $fates}
        | .accounted = (.received == ([.fates[]] | add // 0) + .held)'
}

# backends_are STATE COUNT: whether so many backends of the shop are in that state.
backends_are() {
    ctl backend list shop | jq -e --arg state "$1" --argjson count "$2" \
        'map(select(.state == $state)) | length == $count' >/dev/null
}
