# shellcheck shell=bash
# Never the wrong one, never early, nothing lost and nothing twice, whatever happens in between.

# Due in 6 s, then held from 0.1 s before on, as fast as one connection goes, while deletions go at 150 a second.
scenario_a_hold_set_at_the_last_moment_is_honoured() {
	local due
	namespaces_create last
	config_write 'delete-qps = 150' 'ttl-after-success = 15s'
	sexton_start
	jobs_create last job 600
	names last job 600 | finish_bodies Complete >"$SCENARIO_DIR/finish"
	due=$(($(jq -r '.body.status.completionTime | fromdate' "$SCENARIO_DIR/finish" | sed -n 1p) * 1000 + 15000))
	bulk_expect 200 <"$SCENARIO_DIR/finish"
	jobs_list last >"$SCENARIO_DIR/jobs.tsv"
	expect_eq "Jobs that are there before they are due" 600 "$(wc -l <"$SCENARIO_DIR/jobs.tsv")"
	names last job 600 | tac | jq -cR 'split(" ") | {method: "PATCH", path: "/apis/batch/v1/namespaces/\(.[0])/jobs/\(.[1])",
		type: "application/merge-patch+json", body: {metadata: {annotations: {"sexton.dev/hold": "true"}}}}' | bulk_config >"$SCENARIO_DIR/holds"
	sleep_until_ms $((due - 100))
	E2E_PARALLEL=1 bulk_run <"$SCENARIO_DIR/holds" | sed 's,^\([0-9]*\) .*/,\1 ,' | sort >"$SCENARIO_DIR/answers"
	sed -n 's/^200 //p' "$SCENARIO_DIR/answers" | sort >"$SCENARIO_DIR/held"
	sed -n 's/^404 //p' "$SCENARIO_DIR/answers" | sort >"$SCENARIO_DIR/too-late"
	expect_eq "answers" 600 $(($(wc -l <"$SCENARIO_DIR/held") + $(wc -l <"$SCENARIO_DIR/too-late")))
	wait_until 15 "those that were not held to be recorded as deleted" deleted_count_ge "$(wc -l <"$SCENARIO_DIR/too-late")"
	# Another Job comes and goes: by then sexton has decided about all of these.
	job_create last control '{"annotations": {"sexton.dev/ttl-after-success": "0s"}}'
	job_finish last control Complete
	wait_until 15 "another Job to come and go" job_gone last control
	jobs_list last | cut -f 3 | sort | diff -u "$SCENARIO_DIR/held" - || fail "what is left is not what was held"
	audit_deletes sexton | awk -F '\t' '$4 == 200 {print $8}' | sort | comm -12 - "$SCENARIO_DIR/held" >"$SCENARIO_DIR/wrong"
	[[ ! -s $SCENARIO_DIR/wrong ]] || fail "deleted although held: $(paste -sd ' ' "$SCENARIO_DIR/wrong")"
	expect_eq "DELETEs before they were due" "" "$(audit_deletes sexton | awk -F '\t' -v due="$due" '$8 ~ /^job/ && $5 < due * 1000' | sed -n 1,3p)"
	note "$(wc -l <"$SCENARIO_DIR/held") held in time, $(wc -l <"$SCENARIO_DIR/too-late") not, $(audit_deletes sexton | cut -f 4 | grep -c 409 || true) DELETEs answered 409"
	sexton_stop
}

# The hold is set, and the due time passes, while the controller is stopped: it wakes up with an old picture.
scenario_a_hold_set_while_nobody_looked_is_honoured() {
	local due
	namespaces_create unseen
	config_write 'delete-qps = 0' 'ttl-after-success = 6s'
	sexton_start
	jobs_create unseen job 50
	names unseen job 50 | finish_bodies Complete >"$SCENARIO_DIR/finish"
	due=$(($(jq -r '.body.status.completionTime | fromdate' "$SCENARIO_DIR/finish" | sed -n 1p) * 1000 + 6000))
	bulk_expect 200 <"$SCENARIO_DIR/finish"
	wait_until 5 "all to be recorded" register_is 'SELECT count(*) FROM runs' 50
	kill -STOP "$SEXTON_PID"
	names unseen job 50 | jq -cR 'split(" ") | {method: "PATCH", path: "/apis/batch/v1/namespaces/\(.[0])/jobs/\(.[1])",
		type: "application/merge-patch+json", body: {metadata: {annotations: {"sexton.dev/hold": "true"}}}}' | bulk_expect 200
	sleep_until_ms $((due + 200))
	kill -CONT "$SEXTON_PID"
	job_create unseen control '{"annotations": {"sexton.dev/ttl-after-success": "0s"}}'
	job_finish unseen control Complete
	wait_until 15 "another Job to come and go" job_gone unseen control
	expect_eq "Jobs left" 50 "$(jobs_count unseen)"
	expect_eq "names of what was deleted" control "$(audit_deletes sexton | awk -F '\t' '$4 == 200 {print $8}')"
	note "$(audit_deletes sexton | cut -f 4 | grep -c 409 || true) DELETEs answered 409"
	sexton_stop
}

scenario_a_job_created_again_under_the_same_name_is_not_touched() {
	local due
	namespaces_create again
	config_write 'delete-qps = 0' 'ttl-after-success = 6s'
	sexton_start
	jobs_create again seen 20
	jobs_create again unseen 20
	job_create again control
	{
		names again seen 20
		names again unseen 20
		echo again control
	} | finish_bodies Complete >"$SCENARIO_DIR/finish"
	due=$(($(jq -r '.body.status.completionTime | fromdate' "$SCENARIO_DIR/finish" | sed -n 1p) * 1000 + 6000))
	bulk_expect 200 <"$SCENARIO_DIR/finish"
	jobs_list again >"$SCENARIO_DIR/old.tsv"
	# Half of them while the controller looks on, half while it does not.
	names again seen 20 | replace_jobs
	wait_until 5 "all to be recorded" register_is 'SELECT count(*) FROM runs' 41
	kill -STOP "$SEXTON_PID"
	names again unseen 20 | replace_jobs
	jobs_list again | grep -v control >"$SCENARIO_DIR/new.tsv"
	expect_ge "ms until they would have been due" 0 $((due - $(now_ms)))
	sleep_until_ms $((due + 200))
	kill -CONT "$SEXTON_PID"
	wait_until 15 "the Job that was left alone to go" job_gone again control
	wait_until 15 "all the old ones to be settled" deleted_count_is 41
	jobs_list again | diff -u "$SCENARIO_DIR/new.tsv" - || fail "the new Jobs are not all there"
	cut -f 1 "$SCENARIO_DIR/new.tsv" >"$SCENARIO_DIR/new-uids"
	expect_eq "DELETEs of a new one" "" "$(audit_deletes sexton | grep -Ff "$SCENARIO_DIR/new-uids" || true)"
	expect_eq "DELETEs that succeeded" control "$(audit_deletes sexton | awk -F '\t' '$4 == 200 {print $8}')"
	expect_eq "deletions by cause" $'external 40\nttl 1' "$(register "SELECT delete_cause || ' ' || count(*) FROM runs GROUP BY delete_cause ORDER BY 1")"
	sexton_stop
	expect_agreement "$SCENARIO_DIR/old.tsv"
}
replace_jobs() { # reads names: deletes those Jobs and creates them again
	tee "$SCENARIO_DIR/replace" | jq -cR 'split(" ") | {method: "DELETE", path: "/apis/batch/v1/namespaces/\(.[0])/jobs/\(.[1])",
		body: {kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: "Background"}}' | bulk_expect 200
	job_bodies 0 <"$SCENARIO_DIR/replace" | bulk_expect 201
}

# Without the lease, of which they would take turns: what they do not know of each other must not matter.
scenario_sweep_and_run_side_by_side_do_no_harm() {
	local rc=0 pid
	namespaces_create both
	config_write $'delete-qps = 150\nleader-elect = false'
	jobs_create both job 500
	jobs_finish both job 400 Complete
	jobs_list both | grep -v -- '-$' >"$SCENARIO_DIR/jobs.tsv"
	mkdir "$SCENARIO_DIR/sweep"
	SEXTON_DIR=$SCENARIO_DIR/sweep config_write $'delete-qps = 150\nleader-elect = false'
	sexton_start
	SEXTON_DIR=$SCENARIO_DIR/sweep SEXTON_AS=twin sexton sweep >"$SCENARIO_DIR/sweep.out" 2>&1 &
	pid=$!
	wait "$pid" || rc=$?
	expect_eq "exit status of sweep" 0 "$rc"
	wait_until 15 "all that finished to be deleted" jobs_count_is both 100
	wait_until 10 "that to be recorded" deleted_count_is 400
	sexton_stop
	expect_agreement "$SCENARIO_DIR/jobs.tsv"
	SEXTON_DIR=$SCENARIO_DIR/sweep register 'SELECT job_uid FROM runs WHERE outcome IS NOT NULL' >"$SCENARIO_DIR/swept"
	grep -Ff "$SCENARIO_DIR/swept" "$SCENARIO_DIR/jobs.tsv" >"$SCENARIO_DIR/swept.tsv"
	SEXTON_DIR=$SCENARIO_DIR/sweep SEXTON_AS=twin expect_agreement "$SCENARIO_DIR/swept.tsv"
	expect_ge "deletions by the sweep" 1 "$(audit_deletes twin | awk -F '\t' '$4 == 200' | wc -l)"
	note "$(audit_deletes sexton | wc -l) and $(audit_deletes twin | wc -l) DELETEs for 400 Jobs"
}

scenario_a_controller_restarted_in_the_middle_loses_and_repeats_nothing() {
	local at
	namespaces_create restart
	config_write 'delete-qps = 200'
	jobs_create restart job 600
	jobs_finish restart job 600 Complete
	jobs_list restart >"$SCENARIO_DIR/jobs.tsv"
	for at in 100 250 400; do
		sexton_start
		wait_until 20 "$at Jobs to be gone" deleted_count_ge "$at"
		sexton_stop
		expect_ge "Jobs that are left for the next" 1 "$(jobs_count restart)"
	done
	sexton_start
	wait_until 20 "all to be gone" jobs_count_is restart 0
	wait_until 10 "that to be recorded" deleted_count_is 600
	sexton_stop
	expect_agreement "$SCENARIO_DIR/jobs.tsv" strict
}

scenario_a_controller_killed_in_the_middle_loses_and_repeats_nothing() {
	local at
	namespaces_create killed
	config_write $'delete-qps = 200\nleader-elect = false' # the next would wait for the dead one's lease
	jobs_create killed job 600
	jobs_finish killed job 600 Complete
	jobs_list killed >"$SCENARIO_DIR/jobs.tsv"
	for at in 100 200 300 400; do
		sexton_start
		wait_until 20 "$at Jobs to be gone" deleted_count_ge "$at"
		sexton_kill
		# What a crash leaves behind: each DELETE that was sent has its record.
		# (One that was cut off on its way has no body in the audit log, and was refused with 500.)
		audit_deletes sexton | awk -F '\t' '!($1 == "-" && $4 == 500) {print $1}' | sort -u >"$SCENARIO_DIR/sent"
		register "SELECT job_uid FROM runs WHERE delete_requested_at IS NOT NULL" | sort >"$SCENARIO_DIR/intended"
		expect_eq "DELETEs without a record after kill -9" "" "$(comm -23 "$SCENARIO_DIR/sent" "$SCENARIO_DIR/intended" | sed -n 1,3p)"
	done
	sexton_start
	wait_until 20 "all to be gone" jobs_count_is killed 0
	wait_until 10 "that to be recorded" deleted_count_is 600
	sexton_stop
	expect_agreement "$SCENARIO_DIR/jobs.tsv" crashed
}

# Someone else has the register locked: no record can be committed.
scenario_while_nothing_can_be_recorded_nothing_is_deleted() {
	local dir=$SCENARIO_DIR
	namespaces_create locked
	config_write 'delete-qps = 0' 'ttl-after-success = 1s'
	sexton_start
	jobs_create locked on-record 20
	jobs_create locked job 20
	jobs_finish locked on-record 20 Complete
	wait_until 5 "the first 20 to be recorded and deleted" deleted_count_is 20
	mkfifo "$dir/sql"
	sqlite3 "$dir/history.db" <"$dir/sql" >"$dir/sql.out" 2>&1 &
	exec 7>"$dir/sql"
	echo "BEGIN IMMEDIATE; SELECT 'locked';" >&7
	wait_until 5 "the register to be locked" grep -q locked "$dir/sql.out"
	audit_mark
	jobs_finish locked job 20 Complete
	sleep 5 # in which nothing is to happen
	alive "$SEXTON_PID" || fail "sexton ended by itself: $(tail -n 3 "$dir/run.log")"
	expect_eq "DELETEs while the register is locked" "" "$(audit_deletes sexton | sed -n 1,3p)"
	expect_eq "Jobs left" 20 "$(jobs_count locked)"
	echo 'COMMIT;' >&7
	exec 7>&-
	wait_until 60 "the others to be deleted once they can be recorded" deleted_count_is 40
	expect_eq "Jobs left" 0 "$(jobs_count locked)"
	sexton_stop
}

scenario_deleting_a_namespace_is_recorded_and_disturbs_nothing() {
	needs_kcm
	namespaces_create doomed stays
	config_write 'delete-qps = 0' 'ttl-after-failure = 1h'
	sexton_start
	jobs_create doomed job 20
	jobs_finish doomed job 20 Failed
	wait_until 10 "all to be recorded" register_is 'SELECT count(*) FROM runs' 20
	kubectl delete namespace doomed --wait=false >/dev/null
	wait_until 30 "the deletions to be recorded" register_is "SELECT count(*) FROM runs WHERE (delete_state, delete_cause) = ('deleted', 'external')" 20
	wait_until 30 "the namespace to be gone" namespace_gone doomed
	job_create stays control
	job_finish stays control Complete
	wait_until 10 "a Job elsewhere to go" job_gone stays control
	sexton_stop
}
namespace_gone() { ! api_quiet GET "/api/v1/namespaces/$1"; }

scenario_a_sweep_keeps_within_its_bounds() {
	local began
	namespaces_create one two
	config_write
	jobs_create one plain 3
	jobs_create one marked 3 '{"labels": {"team": "blue"}}'
	jobs_create two marked 3 '{"labels": {"team": "blue"}}'
	{
		names one plain 3
		names one marked 3
		names two marked 3
	} | finish_bodies Complete | bulk_expect 200
	began=$(now_ms)
	sexton sweep -n one -l team=blue >"$SCENARIO_DIR/sweep.out" 2>&1
	expect_eq "Jobs left" $'one plain-00000\none plain-00001\none plain-00002\ntwo marked-00000\ntwo marked-00001\ntwo marked-00002' \
		"$(jobs_list | awk '{print $2, $3}' | sort)"
	sexton sweep >"$SCENARIO_DIR/sweep.out" 2>&1
	expect_eq "Jobs left" 0 "$(jobs_count)"
	expect_le "ms that two sweeps of a few Jobs took" 10000 $(($(now_ms) - began))
}
