# shellcheck shell=bash
# The drain: so many finished Jobs, and who deletes them how fast. And single Jobs: how long from finish to gone.
#
# To be sourced after lib.sh.

# drain CONTENDER SIZE [WINDOW-S]: a line of JSON to "drain". With a window it is ended after that time, done or not.
drain() {
	local began cpu_api cpu_etcd cpu_own rss
	bench_begin
	ln -s "$E2E/snapshots/$2/deletes" "$SCENARIO_DIR/deletes"
	cpu_api=$(cpu_ns "$(part_pid kube-apiserver)") cpu_etcd=$(cpu_ns "$(part_pid etcd)")
	began=$(now_us)
	"start_$1"
	if [[ -n ${3:-} ]]; then sleep "$3"; else drain_wait "$2"; fi
	if alive "$BENCH_PID"; then
		cpu_own=$(cpu_ns "$BENCH_PID") rss=$(rss_peak_kb "$BENCH_PID")
	else
		cpu_own=$(jq '.cpu_seconds * 1e9 | floor' "$SCENARIO_DIR/bare.json") rss=null
	fi
	cpu_api=$(($(cpu_ns "$(part_pid kube-apiserver)") - cpu_api)) cpu_etcd=$(($(cpu_ns "$(part_pid etcd)") - cpu_etcd))
	stop_contender
	[[ -n ${3:-} || $1 == native* ]] || expect_eq "Jobs left" 0 "$(jobs_count)"
	drain_tell "$1" "$2" "${3:-null}" "$began" "{\"own\":$cpu_own,\"apiserver\":$cpu_api,\"etcd\":$cpu_etcd}" "$rss" | result drain
	rm -r "$SCENARIO_DIR"
}
# The audit log stands still when all is done. It is asked for its size first, so that little is taken from who is measured.
# The native controller is done with a Job when its DELETE is answered: the garbage collector that lets it go is not run.
drain_wait() { # drain_wait SIZE
	local end=$((SECONDS + BENCH_LIMIT_S)) size last=-1 still=0
	while [[ $SECONDS -lt $end ]]; do
		sleep 0.5
		size=$(stat -c %s "$E2E/log/audit.log")
		still=$((size == last ? still + 1 : 0))
		last=$size
		if [[ $still -ge 3 ]] || ! alive "$BENCH_PID"; then
			[[ $(drained) -lt $1 ]] || return 0
			alive "$BENCH_PID" || break
			still=0
		fi
	done
	fail "$BENCH_USER did not get done: $(tail -qn 3 "$SCENARIO_DIR"/*.log "$E2E/log/native.log" 2>/dev/null)"
}
drained() { audit_since | grep -F "\"username\":\"$BENCH_USER\"" | grep -F '"verb":"delete"' | grep -F '"stage":"ResponseComplete"' | grep -cF '"code":200' || true; }
# All that there is to say comes from the audit log's microseconds: from the first DELETE received to the last one answered.
drain_tell() {
	audit_since | grep -F "\"username\":\"$BENCH_USER\"" | grep -F '"stage":"ResponseComplete"' | jq -nR --arg contender "$1" --argjson jobs "$2" --argjson window "$3" --argjson began "$4" \
		--argjson cpu "$5" --argjson rss "$6" "$AUDIT_US"' reduce (inputs | fromjson) as $e ({requests: {}, deleted: 0, first: null, last: null, answered: null};
		.requests["\($e.verb) \($e.objectRef.resource // $e.requestURI)"] += 1
		| if $e.verb == "delete" and $e.objectRef.resource == "jobs" and $e.responseStatus.code == 200 then
			.deleted += 1 | ($e.requestReceivedTimestamp | us) as $from | ($e.stageTimestamp | us) as $to
			| .first = ([.first // $from, $from] | min) | .last = ([.last // $to, $to] | max) | .answered = ([.answered // $to, $to] | min)
		else . end)
		| {contender: $contender, jobs: $jobs, window_s: $window, deleted: .deleted,
			per_second: (if .deleted > 0 then .deleted * 1e6 / (.last - .first) else 0 end),
			first_ms: (if .answered then (.answered - $began) / 1000 else null end), all_ms: (if .last then (.last - $began) / 1000 else null end),
			peak_rss_kb: $rss, cpu_us: ($cpu | map_values(. / 1000)), requests: .requests}' -c
}

# drains SIZE ROUNDS CONTENDER...: by turns, each on the server as it was
drains() {
	local size=$1 rounds=$2 i contender
	shift 2
	for ((i = 0; i < rounds; i++)); do
		for contender in "$@"; do
			snapshot_use "$size"
			drain "$contender" "$size"
			drain_say
		done
	done
}
drain_say() { tail -n 1 "$E2E/results/drain" | jq -r '"  \(.jobs) Jobs, \(.contender): \(.per_second | round) deletions/s"' >&2; }

part_drain() {
	local size contender
	for size in "${SIZES[@]}"; do
		drains "$size" "$ROUNDS" sexton_unlimited bare bare_watching
		drains "$size" 1 native_lifted native_workers
	done
	# At their defaults these two take a fixed number a second, whatever there is.
	for contender in sexton_defaults native_defaults; do
		snapshot_use "${SIZES[0]}"
		drain "$contender" "${SIZES[0]}" "$DEFAULTS_S"
		drain_say
	done
}

# single CONTENDER COUNT: Jobs that are finished one after the other, on a server without others
single() {
	local line i name gone
	bench_begin
	[[ $1 != native_defaults ]] || collector_start
	[[ $1 != native_lifted ]] || collector_start "${LIFTED[@]}"
	"start_$1"
	bench_names "$2" "single" | jobs_make
	wait_until 30 "$1 to watch" audit_watches "$BENCH_USER" jobs
	mkfifo "$SCENARIO_DIR/gone" "$SCENARIO_DIR/finish" "$SCENARIO_DIR/finished"
	curl -sSN --cacert "$E2E/tls/ca.crt" -H "Authorization: Bearer $(token_of admin)" \
		"$API/apis/batch/v1/jobs?watch=1&resourceVersion=$(api GET '/apis/batch/v1/jobs?limit=1' | jq -r .metadata.resourceVersion)" 2>/dev/null \
		> >(grep --line-buffered -o '^{"type":"DELETED"' >"$SCENARIO_DIR/gone") &
	WATCH_PID=$!
	client admin -i <"$SCENARIO_DIR/finish" >"$SCENARIO_DIR/finished" &
	exec 7>"$SCENARIO_DIR/finish" 8<"$SCENARIO_DIR/finished" 9<"$SCENARIO_DIR/gone"
	i=0
	while read -r line; do
		name=${line#* }
		printf '%s\n' "$line" | expand PATCH "$FINISH_PATH" application/merge-patch+json "$(finish_body)" >&7
		read -r -t 60 -u 8 gone || fail "$name could not be finished"
		expect_eq "answer to the finish of $name" 200 "$gone"
		read -r -t 60 -u 9 gone || fail "$name did not go within a minute"
		i=$((i + 1))
	done < <(bench_names "$2" "single")
	exec 7>&- 8<&- 9<&-
	stop_contender
	part_stop collector
	watch_stop
	single_tell "$1" "$i" | result latency
	tail -n 1 "$E2E/results/latency" | jq -r '"  \(.contender): p50 \(.gone.p50_ms) ms, p99 \(.gone.p99_ms) ms"' >&2
	rm -r "$SCENARIO_DIR"
}
# From the answer to the patch that finishes the Job to the answer to its DELETE; and to the answer to the last request
# about it, which is another one where the DELETE was in the foreground.
single_tell() {
	audit_filter admin 'select(.verb == "patch" and .objectRef.subresource == "status" and .stage == "ResponseComplete") | [.objectRef.name, (.stageTimestamp | us)] | @tsv' |
		sort >"$SCENARIO_DIR/finished.tsv"
	audit_filter "$BENCH_USER" 'select((.verb == "delete" or .verb == "patch") and .objectRef.resource == "jobs" and .stage == "ResponseComplete" and .responseStatus.code == 200) |
		[.objectRef.name, .verb, (.stageTimestamp | us)] | @tsv' |
		awk -F '\t' -v OFS='\t' '$2 == "delete" {answered[$1] = $3} {last[$1] = $3} END {for (name in answered) print name, answered[name], last[name]}' | sort >"$SCENARIO_DIR/deleted.tsv"
	join -t $'\t' "$SCENARIO_DIR/finished.tsv" "$SCENARIO_DIR/deleted.tsv" | jq -nRc --arg contender "$1" --argjson count "$2" 'def percentiles: sort | {p50_ms: .[(length - 1) * 0.5 | floor],
		p90_ms: .[(length - 1) * 0.9 | floor], p99_ms: .[(length - 1) * 0.99 | floor], max_ms: .[-1]};
		[inputs | split("\t") | map(tonumber? // .)] | {contender: $contender, finished: $count, jobs: length, answered: (map((.[2] - .[1]) / 1000) | percentiles), gone: (map((.[3] - .[1]) / 1000) | percentiles)}'
}

part_latency() {
	local contender
	for contender in sexton_defaults native_defaults native_lifted; do
		snapshot_use 0
		single "$contender" "$SINGLES"
	done
}
