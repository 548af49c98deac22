# shellcheck shell=bash
# Jobs that wait: how long until all of them are known, how much memory they take, and what is done while nothing happens.
#
# To be sourced after lib.sh.

# sexton_up: until it is in sync. Sets UP_MS, by the log's own time: it is not looked at often, so as to take nothing away.
UP_MS=
is_logged_by_now() {
	sleep 0.2
	is_logged "$1"
}
sexton_up() {
	local began
	began=$(now_us)
	start_waiting
	wait_until 300 "sexton to be in sync" is_logged_by_now 'in sync'
	UP_MS=$(($(logged_ms 'in sync') - began / 1000))
}
# curl_list URLS: what curl takes to download these, one after the other over one connection. Sets UP_MS.
curl_list() {
	local began
	began=$(now_us)
	curl -sS --fail --http1.1 -K "$1" >/dev/null
	UP_MS=$((($(now_us) - began) / 1000))
}
# curl_config TOKENS: the requests that list all Jobs, a page each; without tokens, the whole list at once
curl_config() {
	local token
	printf 'cacert = "%s"\nheader = "Authorization: Bearer %s"\nheader = "Accept: %s"\n' "$E2E/tls/ca.crt" "$(token_of twin)" "$BENCH_PROTOBUF"
	[[ $1 != none ]] || { printf 'url = "%s/apis/batch/v1/jobs"\noutput = /dev/null\n' "$API" && return; }
	printf 'url = "%s/apis/batch/v1/jobs?limit=500"\noutput = /dev/null\n' "$API"
	[[ ! -s $1 ]] || while read -r token; do printf 'url = "%s/apis/batch/v1/jobs?limit=500&continue=%s"\noutput = /dev/null\n' "$API" "$token"; done <"$1"
}

started() { # started WHAT SIZE [VmHWM]
	jq -nc --arg what "$1" --argjson jobs "$2" --argjson ms "$UP_MS" --argjson rss "${3:-null}" '{what: $what, jobs: $jobs, ms: $ms, peak_rss_kb: $rss}' | result startup
	tail -n 1 "$E2E/results/startup" | jq -r '"  \(.jobs) Jobs, \(.what): \(.ms) ms"' >&2
}
# What each does is done by turns, ROUNDS_START times.
startup() {
	local i size=$1
	snapshot_use "$size"
	bench_begin
	curl_config "$E2E/snapshots/$size/tokens" >"$SCENARIO_DIR/pages.curl"
	curl_config none >"$SCENARIO_DIR/whole.curl"
	curl_list "$SCENARIO_DIR/pages.curl" # not counted: the first of all finds a server that has not done it yet
	for ((i = 0; i < ROUNDS_START; i++)); do
		rm -f "$SCENARIO_DIR"/history.db* "$SCENARIO_DIR/run.log"
		sexton_up
		wait_until 300 "all to be on record" all_recorded "$size"
		started sexton_new "$size" "$(rss_peak_kb "$SEXTON_PID")"
		sexton_stop
		rm "$SCENARIO_DIR/run.log"
		curl_list "$SCENARIO_DIR/pages.curl"
		started curl_pages "$size"
		sexton_up
		sleep 1
		started sexton_known "$size" "$(rss_peak_kb "$SEXTON_PID")"
		sexton_stop
		curl_list "$SCENARIO_DIR/whole.curl"
		started curl_whole "$size"
	done
	rm -r "$SCENARIO_DIR"
}
part_startup() {
	local size
	for size in "${SIZES[@]}"; do startup "$size"; done
}

# All Jobs of the largest size wait, and nothing happens.
part_idle() {
	local size=${SIZES[-1]} cpu woken watches began took
	snapshot_use "$size"
	bench_begin
	sexton_up
	wait_until 300 "all to be on record" all_recorded "$size"
	sleep 5
	audit_mark
	cpu=$(cpu_ns "$SEXTON_PID") woken=$(switches "$SEXTON_PID") began=$(now_us)
	sleep "$IDLE_S"
	cpu=$(($(cpu_ns "$SEXTON_PID") - cpu)) woken=$(($(switches "$SEXTON_PID") - woken)) took=$(($(now_us) - began))
	watches=$(audit_requests sexton | sort | uniq -c | jq -nR '[inputs | capture("^ *(?<n>[0-9]+) (?<what>.*)") | {(.what): (.n | tonumber)}] | add // {}' -c)
	jq -nc --argjson jobs "$size" --argjson took "$took" --argjson cpu "$cpu" --argjson woken "$woken" --argjson requests "$watches" --argjson rss "$(rss_kb "$SEXTON_PID")" \
		--argjson peak "$(rss_peak_kb "$SEXTON_PID")" '($took / 1e6) as $s | {jobs: $jobs, seconds: $s, wakeups_per_second: ($woken / $s), cpu_ms_per_second: ($cpu / 1e6 / $s),
			requests: $requests, rss_kb: $rss, peak_rss_kb: $peak}' | result idle
	sexton_stop
	rm -r "$SCENARIO_DIR"
}

# A watch that is cut is resumed: what is asked for after the network was cut and healed.
part_cut() {
	local size=${SIZES[0]} port listed
	snapshot_use "$size"
	bench_begin
	port=$(free_ports 1)
	part_spawn proxy "$BENCH_PROXY" "$port" "$API_PORT"
	API=https://127.0.0.1:$port kubeconfig_write "$(kubeconfig_of cut)" "{token: \"$(token_of sexton)\"}"
	SEXTON_VIA="cut" sexton_up
	wait_until 60 "all to be on record" all_recorded "$size"
	wait_until 20 "the watches" audit_watches sexton cronjobs
	listed=$(audit_requests sexton | grep -c '^list jobs' || true)
	audit_mark
	part_signal USR1 proxy
	sleep 2
	part_signal USR2 proxy
	wait_until 60 "the watch of Jobs again" audit_watches sexton jobs
	sleep 2
	audit_requests sexton | sort | uniq -c | jq -nRc --argjson jobs "$size" --argjson before "$listed" '[inputs | capture("^ *(?<n>[0-9]+) (?<what>.*)") | {(.what): (.n | tonumber)}] | add // {} |
		{jobs: $jobs, lists_before: $before, lists_after: ([to_entries[] | select(.key | startswith("list jobs")) | .value] | add // 0), watches_after: .["watch jobs begun"], requests: .}' | result cut
	sexton_stop
	part_stop proxy
	rm -r "$SCENARIO_DIR"
}

# Memory, and how it grows: against the simulated API server, over TLS, for it can hold more Jobs than the machine has
# memory to list from a real one.
memory() {
	local dir began
	bench_begin
	dir=$SCENARIO_DIR
	part_spawn kubesim "$BENCH_KUBESIM" --jobs "$1" --job-bytes 13000 --namespaces "$BENCH_NAMESPACES" --failed-percent 10 --kubeconfig-out "$E2E/kubeconfig/kubesim" \
		--tls-cert "$E2E/tls/apiserver.crt" --tls-key "$E2E/tls/apiserver.key" --tls-ca "$E2E/tls/ca.crt" --watch-window 1000
	wait_until 300 "kubesim" test -s "$E2E/kubeconfig/kubesim"
	cat >"$dir/config.ini" <<-C
		[policy]
		ttl-after-success = 400d
		ttl-after-failure = 400d
		[history]
		store = sqlite:$dir/history.db
	C
	began=$(now_us)
	SEXTON_VIA=kubesim sexton_spawn run
	wait_until 600 "sexton to be in sync" is_logged_by_now 'in sync'
	wait_until 600 "all to be on record" all_recorded "$1"
	jq -nc --argjson jobs "$1" --argjson rss "$(rss_kb "$SEXTON_PID")" --argjson peak "$(rss_peak_kb "$SEXTON_PID")" \
		--argjson ms $(($(logged_ms 'in sync') - began / 1000)) '{jobs: $jobs, rss_kb: $rss, peak_rss_kb: $peak, ms: $ms}' | result memory
	sexton_stop
	part_stop kubesim
	rm -r "$SCENARIO_DIR" "$E2E/kubeconfig/kubesim"
}
part_memory() {
	local size
	server_stop
	for size in "${MEMORY_SIZES[@]}"; do memory "$size"; done
}
