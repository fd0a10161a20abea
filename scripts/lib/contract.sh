# shellcheck shell=bash
# The rules of docs/contract.md and the tests that show them, out of what cargo test has printed.

# list_tests: from the output of cargo test, one line a test: target, name without its module, result.
list_tests() {
    awk '/^ *Running / { target = $2 == "unittests" ? $3 : $2 }
        match($0, /^test [^ ]+ \.\.\. /) {
            name = $2; sub(/.*::/, "", name)
            result = $0 ~ / (ok|FAILED)$/ ? $NF : "?"
            if (result == "?" && !/ignored/) { pending = target " " name; next }
            if (result != "?") print target, name, result
        }
        # What a test prints may stand between its name and its result.
        pending != "" && /(^|[^a-zA-Z])(ok|FAILED)$/ { sub(/.*[^a-zA-Z]/, "", $0); print pending, $0; pending = "" }'
}

# contract_table TESTS: every rule with how many tests have shown it, from outside and inside, and
# every test that the claims name; fails where a rule has none or one that failed.
contract_table() {
    awk -F ' *[|] *' -v tests="$1" '
        function count(rule, target, result) {
            if (result == "FAILED") failed[rule]++
            else if (target ~ /^tests\/(e2e|edge|crash|client|shop|tetherctl)\//) outside[rule]++
            else inside[rule]++
        }
        BEGIN {
            while ((getline line < tests) > 0) {
                split(line, test, " ")
                seen[test[2]] = test[3]
                parts = split(test[2], word, "_")
                for (i = 1; i <= parts && word[i] ~ /^[rtspbl][0-9]+$/; i++)
                    count(toupper(word[i]), test[1], test[3])
            }
            printf "%-5s %-8s %-8s %-7s %s\n", "rule", "outside", "inside", "", "what is promised"
        }
        $2 ~ /^[RTSPBL][0-9]+$/ {
            state = failed[$2] ? "FAILED" : outside[$2] + inside[$2] ? "ok" : "NO TEST"
            if (state != "ok") bad = 1
            printf "%-5s %-8d %-8d %-7s %s\n", $2, outside[$2], inside[$2], state, substr($3, 1, 90)
            rules++
        }
        $2 ~ /^[0-9, ]+:/ {
            rest = $4
            while (match(rest, /`[a-z0-9_]+`/)) {
                name = substr(rest, RSTART + 1, RLENGTH - 2); rest = substr(rest, RSTART + RLENGTH)
                if (seen[name] != "ok") { print "claims " $2 ": " name " has not passed"; bad = 1 }
                claims++
            }
        }
        END {
            if (rules != 40 || claims < 11) { print "docs/contract.md: " rules " rules, " claims " tests of claims"; bad = 1 }
            exit bad
        }' docs/contract.md
}
