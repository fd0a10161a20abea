# shellcheck shell=bash
# The client of a lab: curl, and what it makes of the answers.

# What a connection may take at most.
PATIENCE_S=3

# connections COUNT [CURL OPTION...]: so many GET /, each over a connection of its own, some at once.
# Sets SERVERS, a JSON object (server -> how many it answered); FAILED, how many had no answer; and
# HUNG, how many of those had none within PATIENCE_S. LAST_MS is the time of the last packet.
connections() {
    local count=$1 answers
    answers=$(on client curl -s -o /dev/null --parallel --parallel-max 4 --max-time $PATIENCE_S \
        -H 'Connection: close' -w '%{exitcode} %{num_connects} %header{x-server}\n' \
        "${@:2}" "http://$VIP/?[1-$count]" 2>/dev/null) || true
    LAST_MS=$(milliseconds)
    SERVERS=$(jq -Rnc '[inputs / " " | select(.[0] == "0" and .[1] == "1") | .[2]]
        | group_by(.) | map({(.[0]): length}) | add // {}' <<<"$answers")
    FAILED=$((count - $(jq 'add // 0' <<<"$SERVERS" || echo 0)))
    HUNG=$(grep -c '^28 ' <<<"$answers") || true
}

# request METHOD PATH: one request within the client's session, over a connection of its own; prints
# the body.
request() {
    on client curl -sS --max-time $PATIENCE_S -X "$1" -b "$LAB/cookies" -c "$LAB/cookies" "http://$VIP$2"
}

# log_in PATH: sets OWNER, the server that took it; CODE, what came of its signal; and GRANTED_MS.
log_in() {
    local answer
    rm -f "$LAB/cookies"
    answer=$(request POST "$1") || answer='{}'
    read -r OWNER CODE GRANTED_MS < <(jq -r '"\(.server) \(.code) \(.granted_ms // 0)"' <<<"$answer")
}

# holds JSON FILTER [JQ OPTION...]: whether the filter is true of it.
holds() { jq -e "$2" "${@:3}" <<<"$1" >/dev/null; }

is_spread() { ((FAILED == 0)) && holds "$SERVERS" 'length == 3'; }

# is_all_at SERVER: whether every connection was answered, by this one.
is_all_at() { ((FAILED == 0)) && holds "$SERVERS" 'keys == [$server]' --arg server "$1"; }

# counts SERVERS: as people read it.
counts() { jq -r 'to_entries | map("\(.key) \(.value)×") | join(", ")' <<<"$1"; }
