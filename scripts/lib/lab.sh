# shellcheck shell=bash
# A lab: hosts (network namespaces) on a switch, the processes that run on them, and their end.
#
#     client ────┐            data     10.9.0.0/24  fd00:9::/64   what clients send
#     forwarder ─┤ switch     control  10.8.0.0/24  fd00:8::/64   signals and health checks
#     shop-1..3 ─┘
#
# The forwarder's end of `data` belongs to DPDK: the kernel has no address there. The shops have
# the VIP on their loopback and answer clients directly. All that a lab is lies in its directory
# $LAB, so that another run of a script can end it; its namespaces are named after that directory.

LABS=${TETHER_LABS:-${TMPDIR:-/tmp}/tether-lab}
VIP=10.9.0.100
VIP6=fd00:9::100
CLIENT=10.9.0.1
OTHER_CLIENT=10.9.0.3
SHOPS=(shop-1 shop-2 shop-3)

# The last byte of a host's addresses.
declare -A NUMBER=([client]=1 [forwarder]=2 [shop-1]=11 [shop-2]=12 [shop-3]=13)

# namespace HOST: the name of its namespace, the same prefix for the whole lab.
namespace() { echo "${LAB##*/}-$1"; }

# on HOST COMMAND...: runs the command there.
on() {
    local host=$1
    shift
    ip netns exec "$(namespace "$host")" "$@"
}

# run_in_lab WORK: runs the command in a new lab and destroys it, also after ^C, TERM or a lost
# terminal; returns the command's status. With KEEP=true the lab stays where the command came to its
# end.
#
# The work is a process group of its own, to be ended whole. This shell does nothing but wait for
# it: bash 5.2 stumbles over a trap that fires while it expands a $(..).
run_in_lab() {
    local status=0
    LAB=$(mktemp -d "$LABS.XXXXXX")
    mkdir "$LAB/processes" "$LAB/state" "$LAB/dpdk"
    echo $$ >"$LAB/script"
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM
    trap 'interrupted 129' HUP
    set -m
    "$1" </dev/null &
    WORKER=$!
    set +m
    wait "$WORKER" || status=$?
    trap '' INT TERM HUP
    ${KEEP:-false} || lab_destroy
    return "$status"
}

# interrupted STATUS: ends the work and the lab.
interrupted() {
    trap '' INT TERM HUP
    set +e # whatever is not there any more, the rest goes on
    kill -KILL -- "-$WORKER" 2>/dev/null
    wait "$WORKER" 2>/dev/null
    sleep 0.1 # what was about to enter a namespace has done so
    local host
    for host in "${!NUMBER[@]}"; do
        ip netns pids "$(namespace "$host")" 2>/dev/null | xargs -r kill -KILL
    done
    lab_destroy
    exit "$1"
}

# lab_create: the hosts and their network.
lab_create() {
    local host
    for host in switch "${!NUMBER[@]}"; do
        ip netns add "$(namespace "$host")"
    done
    create_switch
    for host in "${!NUMBER[@]}"; do
        connect "$host" data
        [[ $host == client ]] || connect "$host" control
    done
    give_addresses
}

create_switch() {
    local bridge
    for bridge in data control; do add_bridge $bridge; done
}

# add_bridge NETWORK: to the switch.
add_bridge() {
    ip -n "$(namespace switch)" link add "$1" type bridge mcast_snooping 0
    ip -n "$(namespace switch)" link set "$1" up
}

# connect HOST NETWORK [INTERFACE]: a cable between the host's interface of that name, or else of the
# network's, and the switch.
connect() {
    local host=$1 network=$2 interface=${3:-$2} port=${2:0:1}-$1
    ip link add "$interface" netns "$(namespace "$host")" type veth \
        peer "$port" netns "$(namespace switch)"
    ip -n "$(namespace switch)" link set "$port" master "$network" up
    ip -n "$(namespace "$host")" link set lo up
    # Frames with half a checksum or longer than the MTU are a kernel's secret with itself.
    on "$host" ethtool -K "$interface" tx off tso off gso off gro off >/dev/null
    on switch ethtool -K "$port" tx off tso off gso off gro off >/dev/null
    if [[ $host == forwarder && $network != control ]]; then
        # Its kernel sees the frames of DPDK's port too and must keep silent.
        on forwarder sysctl -qw net.ipv4.ip_forward=0 "net.ipv6.conf.$interface.disable_ipv6=1"
    fi
    ip -n "$(namespace "$host")" link set "$interface" up
}

# address HOST INTERFACE ADDRESS/LENGTH...
address() {
    local host=$1 interface=$2 one
    for one in "${@:3}"; do
        if [[ $one == *:* ]]; then
            ip -n "$(namespace "$host")" address add "$one" dev "$interface" nodad
        else
            ip -n "$(namespace "$host")" address add "$one" dev "$interface"
        fi
    done
}

give_addresses() {
    local shop number
    address client data "$CLIENT/24" "$OTHER_CLIENT/24" fd00:9::1/64
    address forwarder control 10.8.0.2/24 fd00:8::2/64
    for shop in "${SHOPS[@]}"; do
        number=${NUMBER[$shop]}
        # Only the forwarder may answer for the VIP on `data`, and no ARP may speak in its name.
        on "$shop" sysctl -qw net.ipv4.conf.data.arp_ignore=1 net.ipv4.conf.data.arp_announce=2
        address "$shop" lo "$VIP/32" "$VIP6/128"
        address "$shop" data "10.9.0.$number/24" "fd00:9::$number/64"
        address "$shop" control "10.8.0.$number/24" "fd00:8::$number/64"
        # Health checks go to the addresses that serve, over the kernel's network.
        ip -n "$(namespace forwarder)" route add "10.9.0.$number" via "10.8.0.$number"
        ip -n "$(namespace forwarder)" route add "fd00:9::$number" via "fd00:8::$number"
    done
}

# start NAME HOST COMMAND...: a process of the lab; its output goes to $LAB/NAME.log.
start() {
    local name=$1 host=$2
    shift 2
    # A session of its own: ^C is for the script, which ends its processes in order.
    setsid ip netns exec "$(namespace "$host")" "$@" </dev/null >>"$LAB/$name.log" 2>&1 3>&- &
    disown # or the shell tells of its end
    echo "$! $host" >"$LAB/processes/$name"
    wait_until 5 has_arrived "$name" "$!"
}

# has_arrived NAME PID: whether it is in its namespace already, or was and is gone.
has_arrived() { is_running "$1" || ! kill -0 "$2" 2>/dev/null; }

# is_running NAME: whether that process is there, and is the one that was started.
is_running() {
    local pid host
    read -r pid host 2>/dev/null <"$LAB/processes/$1" || return 1
    [[ $(ip netns identify "$pid" 2>/dev/null) == "$(namespace "$host")" ]]
}

# stop NAME [SIGNAL]: ends a process and waits until it is gone; after 5 s it is killed.
stop() {
    local name=$1 signal=${2:-TERM} pid
    if is_running "$name"; then
        read -r pid _ <"$LAB/processes/$name"
        kill "-$signal" "$pid" 2>/dev/null || true
        wait_until 5 is_gone "$name" || kill -KILL "$pid" 2>/dev/null || true
        wait_until 5 is_gone "$name" || note "process $pid ($name) does not end"
    fi
    rm -f "$LAB/processes/$name"
}

is_gone() { ! is_running "$1"; }

# lab_destroy: ends what LAB names; nothing of it is left. Does no harm when called twice.
lab_destroy() {
    [[ -d ${LAB:-} ]] || return 0
    local process host
    for process in "$LAB"/processes/*; do
        [[ -e $process ]] && stop "${process##*/}"
    done
    for host in switch "${!NUMBER[@]}"; do
        ip netns delete "$(namespace "$host")" 2>/dev/null || true
    done
    rm -rf "$LAB"
}

# labs_clean: destroys every lab of ours whose script is gone: kept ones and those of killed scripts.
labs_clean() {
    local script
    for LAB in "$LABS".*; do
        # Only a directory of our own says which processes to end.
        [[ -d $LAB && -O $LAB ]] || continue
        read -r script <"$LAB/script" && kill -0 "$script" 2>/dev/null && continue
        note "removing $LAB"
        lab_destroy
    done
}

# show_logs LINES: the end of every log of the lab, on standard error.
show_logs() {
    local log
    for log in "$LAB"/*.log; do
        [[ -s $log ]] || continue
        printf '%s--- %s%s\n' "$BOLD" "${log##*/}" "$PLAIN" >&2
        tail -n "$1" "$log" >&2
    done
}
