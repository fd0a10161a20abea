# shellcheck shell=bash
# The steps of the demo. Each does what a client would, judges what came back, reports.

# How many connections show that they are spread: one of three servers is left out with p < 1e-10.
MANY=60
# What a login that expires soon asks for.
SHORT_MS=1500

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
    connections $MANY
    report spread is_spread "$MANY connections reached $(counts)"
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
    report affinity is_kept "$OWNER says $CODE for $(seconds "$GRANTED_MS") s; \
20 connections reached $(counts); the cart holds $(jq -r 'join(", ")' <<<"$cart")" \
        --arg owner "$OWNER" --arg outcome "$CODE" --argjson granted_ms "$GRANTED_MS" \
        --argjson cart "$cart" --arg explained_by "$by"
}

is_kept() { [[ $CODE == CREATED && $by == affinity && $cart == "$basket" ]] && is_all_at "$OWNER"; }

show_other_client() {
    connections $MANY --interface $OTHER_CLIENT
    report other_client is_spread "$MANY connections of $OTHER_CLIENT reached $(counts)" \
        --arg client $OTHER_CLIENT
}

show_end() {
    local outcome left
    outcome=$(request POST /logout | jq -r .code) || outcome='?'
    left=$(affinities)
    connections $MANY
    report end is_ended "logout says $outcome; $MANY connections reached $(counts)" \
        --arg outcome "$outcome" --argjson affinities "$left"
}

is_ended() { [[ $outcome == ENDED && $left == 0 ]] && is_spread; }

show_expire() {
    local before kept=true began waited_ms
    log_in "/login?duration_ms=$SHORT_MS"
    connections 20
    before=$SERVERS
    is_all_at "$OWNER" || kept=false
    began=$(milliseconds) # every packet has extended it
    wait_until 10 has_no_affinity || true
    waited_ms=$(($(milliseconds) - began))
    connections $MANY
    report expire is_expired "$OWNER got $(seconds "$GRANTED_MS") s; it ended $(seconds $waited_ms) s \
after the last packet; then $MANY connections reached $(counts)" \
        --arg owner "$OWNER" --argjson granted_ms "$GRANTED_MS" --argjson waited_ms $waited_ms \
        --argjson servers_before "$before"
}

has_no_affinity() { [[ $(affinities) == 0 ]]; }

is_expired() {
    # Not before its time but for a tick; how late it is seen depends on how busy the machine is.
    $kept && ((GRANTED_MS == SHORT_MS && waited_ms > SHORT_MS - 250 && waited_ms < SHORT_MS + 3000)) && is_spread
}

show_owner_down() {
    local began switch_ms cut_ms failed=0 hung=0
    log_in /login
    open_download
    began=$(milliseconds)
    stop "$OWNER" KILL
    wait_until 10 has_lost_download || true
    cut_ms=$(($(milliseconds) - began))
    wait_until 10 is_switched || true
    switch_ms=$(($(milliseconds) - began))
    connections $MANY
    failed=$((failed + FAILED)) hung=$((hung + HUNG))
    report owner_down is_survived "$OWNER was killed: its open connection ended after $(seconds $cut_ms) s, \
new ones failed $failed× and hung $hung× in the $(seconds $switch_ms) s until they were balanced; \
then $MANY reached $(counts)" \
        --arg owner "$OWNER" --argjson open_connection_ended_ms $cut_ms --argjson switch_ms $switch_ms \
        --argjson failed $failed --argjson hung $hung
}

# open_download: a connection to the owner that lasts.
open_download() {
    start download client curl -s -o "$LAB/download" --limit-rate 1M --max-time 30 \
        "http://$VIP/download?bytes=1000000000"
    wait_until 5 test -s "$LAB/download" || note "the download did not begin"
}

has_lost_download() { is_gone download; }

# is_switched: tries new connections until they get through; each has PATIENCE_S.
is_switched() {
    connections 4
    failed=$((failed + FAILED)) hung=$((hung + HUNG))
    ((FAILED == 0))
}

is_survived() {
    ((FAILED == 0 && hung == 0)) && is_gone download &&
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
