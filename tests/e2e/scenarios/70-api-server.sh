# shellcheck shell=bash
# The API server and its etcd: stopped, killed and started again, in the middle of the work.

scenario_limit an_api_server_that_stops_and_dies_costs_nothing 300

# Each time in the midst of a drain of 100 a second, with requests under way; windows of failed Jobs end meanwhile.
scenario_an_api_server_that_stops_and_dies_costs_nothing() {
	local classes="CASE substr(name, 1, instr(name, '-') - 1) WHEN 'ok' THEN 0 WHEN 'bad' THEN 20000 WHEN 'late' THEN 8000 END" round=0
	namespaces_create shaken
	config_write 'delete-qps = 100' $'ttl-after-success = 0s\nttl-after-failure = 20s'
	network_start net
	SEXTON_VIA=net sexton_start
	sexton_stop
	register_trace
	jobs_create shaken ok 900
	jobs_create shaken bad 100
	jobs_create shaken held 30 '{"annotations": {"sexton.dev/hold": "true"}}'
	jobs_create shaken late 48 '{"annotations": {"sexton.dev/ttl-after-success": "8s"}}'
	jobs_create shaken open 10
	jobs_finish shaken ok 900 Complete
	jobs_finish shaken held 30 Complete
	jobs_finish shaken bad 100 Failed
	truth_look
	SEXTON_VIA=net sexton_spawn run
	wait_until 20 "the drain to begin" deleted_count_ge 20

	shake "API server stopped" 8 part_signal STOP kube-apiserver -- part_signal CONT kube-apiserver
	shake "etcd stopped" 8 part_signal STOP etcd -- part_signal CONT etcd
	shake "etcd killed" 8 part_signal KILL etcd -- etcd_start
	shake "both killed" 6 kill_both -- start_both

	wait_until 120 "all that is to go to be gone" jobs_count_is shaken 40
	wait_until 20 "that to be recorded" deleted_count_is 1048
	sexton_stop
	truth_end
	judge "$classes" sexton
	expect_eq "Jobs left" $'held 30\nopen 10' "$(jobs_list | cut -f 3 | sed 's/-.*//' | sort | uniq -c | awk '{print $2, $1}')"
	note "$(judged_summary | paste -sd ''); $(wc -l <"$SCENARIO_DIR/run.log") lines of log"
}
kill_both() {
	part_signal KILL etcd
	part_signal KILL kube-apiserver
}
start_both() {
	etcd_start
	apiserver_start
}

# shake WHAT SECONDS BREAK... -- MEND...: breaks it, mends it after so long, has some more Jobs finish, and waits until
# the work has gone on by itself.
shake() {
	local what=$1 seconds=$2 begun mended ready resumed before cpu pauses break=() connections refused
	shift 2
	while [[ $1 != -- ]]; do
		break+=("$1")
		shift
	done
	shift
	cpu=$(cpu_cs "$SEXTON_PID")
	pauses=$(grep -c 'deletions pause' "$SCENARIO_DIR/run.log" || true)
	begun=$(now_ms)
	"${break[@]}"
	sleep "$seconds"
	cpu=$(($(cpu_cs "$SEXTON_PID") - cpu))
	mended=$(now_ms)
	pauses=$(($(grep -c 'deletions pause' "$SCENARIO_DIR/run.log" || true) - pauses))
	"$@"
	ready=$(now_ms)
	before=$(register "SELECT count(*) FROM runs WHERE delete_state = 'deleted'")
	alive "$SEXTON_PID" || fail "$what: sexton ended: $(tail -n 3 "$SCENARIO_DIR/run.log")"
	wait_until 30 "$what: the API server to answer" jobs_count_ge shaken 1
	seq -f 'shaken late-%05g' $((round * 12)) $((round * 12 + 11)) | finish_bodies Complete | bulk_expect 200
	truth_look
	round=$((round + 1))
	wait_until 90 "$what: the work to go on" deleted_count_ge $((before + 30))
	resumed=$(now_ms)
	read -r connections refused < <(requests_between net "$begun" "$mended")
	note "$what for $((mended - begun)) ms: $connections connections, $refused requests refused, $pauses pauses, $cpu/100 s of CPU; 30 more deletions $((resumed - ready)) ms after it was back"
	# Watches and the lease, and after each pause as many deletions as may be in flight: 32.
	expect_le "$what: pauses of all deletions in $seconds s" 6 "$pauses"
	expect_le "$what: connections and refused requests in $seconds s" $((40 + 32 * pauses)) $((connections + refused))
	expect_le "$what: CPU, in 1/100 s" 100 "$cpu"
}
jobs_count_ge() { [[ $(jobs_count "$1") -ge $2 ]]; }
