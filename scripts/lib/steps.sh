# shellcheck shell=bash
# The steps of the demo. Each does what a client would, judges what came back, reports.

# How many connections show that they are spread: one of three servers is left out with p < 1e-10.
MANY=60
# What a login that expires soon asks for.
SHORT_MS=1500

# The entries of the JSON document, whether all is well, and what became of packets.
STEPS='[]' OK=true PACKETS='{}'

# report NAME CHECK TEXT [JQ OPTION...]: whether the step did what it should, which the command CHECK
# tells; as a line, and as an entry of the JSON document with the arguments named to jq as its facts.
report() {
    local name=$1 check=$2 text=$3 ok=true
    $check || OK=false ok=false
    STEPS=$(jq -nc "${@:4}" --argjson servers "$SERVERS" --arg name "$name" --argjson ok $ok \
        --argjson steps "$STEPS" '$steps + [{name: $name, ok: $ok} + ($ARGS.named | del(.steps))]')
    tell "$name" $ok "$text"
}

# tell NAME TRUTH TEXT: a line.
tell() {
    local mark="$GREEN✓"
    $2 || mark="$RED✗"
    printf ' %s%s %s%-13s%s %s\n' "$mark" "$PLAIN" "$BOLD" "$1" "$PLAIN" "$3"
}

show_spread() {
    local ipv6 both=true
    VIP="[$VIP6]" connections $MANY
    ipv6=$SERVERS
    is_spread || both=false
    connections $MANY
    is_spread || both=false
    report spread $both "$MANY connections reached $(counts "$SERVERS"); over IPv6 $(counts "$ipv6")" \
        --argjson servers_ipv6 "$ipv6"
}

show_affinity() {
    local basket='["apple","bread","cheese","dates","eggs"]' item cart by
    log_in /login
    connections 20
    for item in $(jq -r '.[]' <<<"$basket"); do
        request POST "/cart?item=$item" >/dev/null || true
    done
    cart=$(request GET /cart | jq -c '.cart // []') || cart='[]'
    by=$(ctl explain tcp $CLIENT $VIP:80 | jq -r .by) || by='?'
    report affinity is_kept "$OWNER: $CODE for $(seconds "$GRANTED_MS") s; \
20 connections reached $(counts "$SERVERS"); the cart holds $(jq -r 'join(", ")' <<<"$cart")" \
        --arg owner "$OWNER" --arg outcome "$CODE" --argjson granted_ms "$GRANTED_MS" \
        --argjson cart "$cart" --arg explained_by "$by"
}

is_kept() { [[ $CODE == CREATED && $by == affinity && $cart == "$basket" ]] && is_all_at "$OWNER"; }

show_other_client() {
    connections $MANY --interface $OTHER_CLIENT
    report other_client is_spread "$MANY connections of $OTHER_CLIENT reached $(counts "$SERVERS")" \
        --arg client $OTHER_CLIENT
}

show_end() {
    local outcome left
    outcome=$(request POST /logout | jq -r .code) || outcome='?'
    left=$(affinities)
    connections $MANY
    report end is_ended "logout: $outcome; $MANY connections reached $(counts "$SERVERS")" \
        --arg outcome "$outcome" --argjson affinities "$left"
}

is_ended() { [[ $outcome == ENDED && $left == 0 ]] && is_spread; }

show_expire() {
    local before kept=true began waited_ms
    log_in "/login?duration_ms=$SHORT_MS"
    connections 20
    before=$SERVERS
    is_all_at "$OWNER" || kept=false
    began=$LAST_MS # every packet has extended it
    wait_until 10 has_no_affinity || true
    waited_ms=$(($(milliseconds) - began))
    connections $MANY
    report expire is_expired "$OWNER: $CODE for $(seconds "$GRANTED_MS") s; ended $(seconds $waited_ms) s \
after the last packet; then $MANY connections reached $(counts "$SERVERS")" \
        --arg owner "$OWNER" --argjson granted_ms "$GRANTED_MS" --argjson waited_ms $waited_ms \
        --argjson servers_before "$before"
}

has_no_affinity() { [[ $(affinities) == 0 ]]; }

is_expired() {
    # Not before its time but for a tick; how late it is seen depends on how busy the machine is.
    $kept && ((GRANTED_MS == SHORT_MS && waited_ms > SHORT_MS - 250 && waited_ms < SHORT_MS + 3000)) && is_spread
}

show_owner_down() {
    local began lost_ms=-1 switch_ms failed=0 hung=0
    log_in /login
    open_download
    began=$(milliseconds)
    stop "$OWNER" KILL
    wait_until 10 is_switched || true
    switch_ms=$((LAST_MS - began))
    connections $MANY
    report owner_down is_survived "$OWNER killed: its open connection ended in $(seconds $lost_ms) s, \
$failed new ones failed and $hung hung until all was well after $(seconds $switch_ms) s; then $MANY reached $(counts "$SERVERS")" \
        --arg owner "$OWNER" --argjson open_connection_ended_ms $lost_ms \
        --argjson switch_ms $switch_ms --argjson failed $failed --argjson hung $hung
}

# open_download: a connection to the owner that lasts.
open_download() {
    start download client curl -s -o "$LAB/download" --limit-rate 1M --max-time 30 \
        "http://$VIP/download?bytes=1000000000"
    wait_until 5 test -s "$LAB/download" || note "the download did not begin"
}

# is_switched: makes new connections, each of which has PATIENCE_S, until they get through; and
# looks after the open one.
is_switched() {
    connections 4
    failed=$((failed + FAILED)) hung=$((hung + HUNG))
    ((lost_ms >= 0)) || ! is_gone download || lost_ms=$((LAST_MS - began))
    ((FAILED == 0 && lost_ms >= 0))
}

is_survived() {
    ((FAILED == 0 && hung == 0 && lost_ms >= 0)) &&
        holds "$SERVERS" 'keys == ($ARGS.positional - [$owner])' --arg owner "$OWNER" --args "${SHOPS[@]}"
}

# show_packets: not a step, but it counts: every packet that was received has exactly one fate.
show_packets() {
    local ok=true
    PACKETS=$(packets) || PACKETS='{}'
    holds "$PACKETS" .accounted || OK=false ok=false
    tell packets $ok "$(jq -r '"\(.received) received = " +
        ((.fates // {} | to_entries | map("\(.value) \(.key)")) + ["\(.held) held"] | join(" + "))' <<<"$PACKETS")"
}
