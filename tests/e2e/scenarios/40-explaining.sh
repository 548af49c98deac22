# shellcheck shell=bash
# plan, check and history: what they say is what is.

scenarios_once check_names_each_right_that_is_missing

# plan_world NAME: a Job of each kind, in the namespaces NAME-a and NAME-b.
plan_world() {
	local a=$1-a b=$1-b name
	namespaces_create "$a"
	E2E_NS_ANNOTATIONS='{"sexton.dev/ttl-after-failure": "10m"}' namespaces_create "$b"
	jobs_create "$a" ok 3
	jobs_create "$a" failed 2
	jobs_create "$a" running 2
	jobs_create "$a" held 1 '{"annotations": {"sexton.dev/hold": "true"}}'
	jobs_create "$a" never 1 '{"annotations": {"sexton.dev/ttl-after-success": "never"}}'
	jobs_create "$a" doubt 1 '{"annotations": {"sexton.dev/ttl-after-success": "30"}}'
	jobs_create "$a" soon 1 '{"annotations": {"sexton.dev/ttl-after-success": "1h"}}'
	names "$a" spec 1 | job_bodies 0 | jq -c '.body.spec.ttlSecondsAfterFinished = 5' | bulk_expect 201
	jobs_create "$b" failed-long-ago 2
	jobs_create "$b" failed-now 2
	{
		names "$a" ok 3
		for name in held never doubt soon spec; do names "$a" $name 1; done
	} | finish_bodies Complete 60 | bulk_expect 200
	{
		names "$a" failed 2
		names "$b" failed-now 2
	} | finish_bodies Failed 60 | bulk_expect 200
	names "$b" failed-long-ago 2 | finish_bodies Failed 3600 | bulk_expect 200
}

scenario_plan_says_what_then_happens() {
	local plan=$SCENARIO_DIR/plan.json
	plan_world plan
	config_write
	sexton plan -o json >"$plan"
	expect_eq "what plan changed" "" "$(audit_changes sexton)"
	expect_eq "keys, in order" namespace,name,uid,outcome,finishedAt,dueAt,action,policy,source,reason "$(jq -r 'map(keys_unsorted | join(",")) | unique[]' "$plan")"
	expect_eq "sorted" true "$(jq 'map([.namespace, .name]) | . == sort' "$plan")"
	expect_eq "one row a Job" "$(jobs_list | cut -f 1 | sort)" "$(jq -r '.[].uid' "$plan" | sort)"
	expect_eq "actions" 'plan-a/doubt-00000 keep
plan-a/failed-00000 wait
plan-a/failed-00001 wait
plan-a/held-00000 keep
plan-a/never-00000 keep
plan-a/ok-00000 delete
plan-a/ok-00001 delete
plan-a/ok-00002 delete
plan-a/running-00000 none
plan-a/running-00001 none
plan-a/soon-00000 wait
plan-a/spec-00000 delete
plan-b/failed-long-ago-00000 delete
plan-b/failed-long-ago-00001 delete
plan-b/failed-now-00000 wait
plan-b/failed-now-00001 wait' "$(jq -r '.[] | "\(.namespace)/\(.name) \(.action)"' "$plan")"
	jq -r '.[] | select(.action == "delete") | .uid' "$plan" | sort >"$SCENARIO_DIR/announced"
	sexton plan >"$SCENARIO_DIR/plan.txt"
	grep -q 'plan-b.*failed-now-00001' "$SCENARIO_DIR/plan.txt" || fail "no row for a Job in the table"
	expect_eq "rows as CSV, with the heading" 17 "$(sexton plan -o csv | wc -l)"
	audit_mark
	sexton sweep >"$SCENARIO_DIR/sweep.out" 2>&1
	audit_deletes sexton | awk -F '\t' '$4 == 200 {print $1}' | sort | diff -u "$SCENARIO_DIR/announced" - || fail "sweep did something else than plan announced"
	expect_eq "Jobs left" 10 "$(jobs_count)"
	jobs_list | awk '$4 != "-"' | cut -f 1 | sort >"$SCENARIO_DIR/kept"
	expect_eq "kept Jobs that have no record" "" "$(register 'SELECT job_uid FROM runs' | sort | comm -13 - "$SCENARIO_DIR/kept")"
}

scenario_plan_from_a_file_is_the_same_as_from_the_cluster() {
	local at
	plan_world file
	config_write
	at=$(date -u -d '+10 sec' +%FT%TZ)
	sexton plan -o json --at "$at" >"$SCENARIO_DIR/online.json"
	{
		kubectl get jobs -A -o json
		kubectl get namespaces -o json
		kubectl get cronjobs -A -o json
	} >"$SCENARIO_DIR/all.json"
	KUBECONFIG=/nonexistent "$SEXTON" plan --config "$SCENARIO_DIR/config.ini" -o json --at "$at" -f - <"$SCENARIO_DIR/all.json" >"$SCENARIO_DIR/offline.json"
	diff -u <(jq . "$SCENARIO_DIR/online.json") <(jq . "$SCENARIO_DIR/offline.json") || fail "with the namespaces in the file the plan is another"
	# Without them, the Jobs that no Namespace annotation is about come out the same.
	kubectl get jobs -n file-a -o json >"$SCENARIO_DIR/jobs.json"
	sexton plan -o json --at "$at" -n file-a >"$SCENARIO_DIR/online.json"
	KUBECONFIG=/nonexistent "$SEXTON" plan --config "$SCENARIO_DIR/config.ini" -o json --at "$at" -f "$SCENARIO_DIR/jobs.json" >"$SCENARIO_DIR/offline.json"
	diff -u <(jq . "$SCENARIO_DIR/online.json") <(jq . "$SCENARIO_DIR/offline.json") || fail "without namespaces in the file the plan is another"
	# And all that at the time it says: in an hour the failed ones of file-b are due.
	expect_eq "due in an hour" 4 "$(sexton plan -o json --at "$(date -u -d '+1 hour' +%FT%TZ)" -n file-b | jq 'map(select(.action == "delete")) | length')"
}

scenario_check_names_each_right_that_is_missing() {
	local rc=0
	config_write
	sexton check >"$SCENARIO_DIR/sexton.out" 2>&1 || fail "check as sexton: $(cat "$SCENARIO_DIR/sexton.out")"
	SEXTON_AS=reader sexton check >"$SCENARIO_DIR/reader.out" 2>&1 || rc=$?
	expect_eq "exit status as reader" 1 "$rc"
	grep -i delete "$SCENARIO_DIR/reader.out" | grep -qi jobs || fail "check does not name the right to delete Jobs: $(cat "$SCENARIO_DIR/reader.out")"
	rc=0
	SEXTON_AS=nobody sexton check >"$SCENARIO_DIR/nobody.out" 2>&1 || rc=$?
	expect_eq "exit status as nobody" 1 "$rc"
	# One line for each right, the same ones whoever asks
	expect_eq "rights that are asked about" "$(grep -cE 'list|watch|delete' "$SCENARIO_DIR/sexton.out")" "$(grep -cE 'list|watch|delete' "$SCENARIO_DIR/nobody.out")"
	expect_eq "what check changed" "" "$(audit_changes sexton)"
	rc=0
	config_write 'delete-qps = fast'
	sexton check >"$SCENARIO_DIR/bad.out" 2>&1 || rc=$?
	expect_eq "exit status with a bad configuration" 2 "$rc"
	expect_match "where the mistake is" 'config.ini:2' "$(cat "$SCENARIO_DIR/bad.out")"
}

scenario_history_needs_no_api_server() {
	namespaces_create hist
	config_write
	jobs_create hist ok 10
	jobs_create hist bad 5
	jobs_finish hist ok 10 Complete 30
	jobs_finish hist bad 5 Failed 10
	sexton sweep >"$SCENARIO_DIR/sweep.out" 2>&1
	history_of() { KUBECONFIG=/nonexistent "$SEXTON" history "$1" --config "$SCENARIO_DIR/config.ini" "${@:2}"; }
	history_of list -o json >"$SCENARIO_DIR/history.json"
	expect_eq "runs" 15 "$(jq length "$SCENARIO_DIR/history.json")"
	expect_eq "failed runs" 5 "$(history_of list -o json --outcome Failed | jq length)"
	expect_eq "runs of one Job" 1 "$(history_of list -o json -n hist --job ok-00003 | jq length)"
	expect_eq "the newest three" 3 "$(history_of list -o json --limit 3 | jq length)"
	expect_eq "rows as CSV, with the heading" 16 "$(history_of list -o csv | wc -l)"
	history_of list >"$SCENARIO_DIR/history.txt"
	grep -q ok-00003 "$SCENARIO_DIR/history.txt" || fail "no row for a run in the table"
	history_of show "$(register "SELECT job_uid FROM runs WHERE job_name = 'bad-00001'")" >"$SCENARIO_DIR/show.txt"
	grep -q BackoffLimitExceeded "$SCENARIO_DIR/show.txt" || fail "show does not tell the reason"
}
