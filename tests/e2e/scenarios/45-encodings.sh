# shellcheck shell=bash
# Jobs as protobuf and as JSON: what the API server sends, and that it comes to the same.

scenarios_once what_the_tests_take_for_protobuf_is_what_the_api_server_sends plan_and_register_are_the_same_in_both_encodings

readonly PROTOBUF='application/vnd.kubernetes.protobuf'

# encodings_world NAMESPACE: Jobs of many kinds, one of them with all that a Pod template can hold
encodings_world() {
	namespaces_create "$1"
	jq -c --arg path "$(jobs_path "$1")" '{method: "POST", path: $path, body: .}' "$E2E_ROOT/tests/protobuf/rich-job.json" | bulk_expect 201
	jobs_create "$1" ok 3 '{"annotations": {"note": "<b>&\"quoted\" ünïcode 🚀\n", "empty": ""}}'
	jobs_create "$1" failed 2 '{"annotations": {"sexton.dev/ttl-after-failure": "10m"}}'
	jobs_create "$1" running 1
	jobs_create "$1" held 1 '{"annotations": {"sexton.dev/hold": "true"}}'
	jobs_create "$1" doubt 1 '{"annotations": {"sexton.dev/ttl-after-success": "30"}}'
	{
		names "$1" ok 3
		names "$1" held 1
		names "$1" doubt 1
		echo "$1 rich"
	} | finish_bodies Complete 60 | bulk_expect 200
	names "$1" failed 2 | finish_bodies Failed 60 | bulk_expect 200
}

# both_agree WHAT PATH [events]: what tests/protobuf makes of the answer as JSON is the answer as protobuf. These are two
# requests, and others write to the API server: until there was nothing between them.
both_agree() { wait_until 60 "the API server to send $1 as tests/protobuf would (see both.pb, encoded.pb)" both_are_one "${@:2}"; }
both_are_one() {
	api_as "application/json" "$1" >"$SCENARIO_DIR/both.json" || return 1
	api_as "$PROTOBUF" "$1" >"$SCENARIO_DIR/both.pb" || return 1
	"$PROTO_ENCODE" --server 1.20 "${@:2}" <"$SCENARIO_DIR/both.json" >"$SCENARIO_DIR/encoded.pb" || return 1
	[[ -s $SCENARIO_DIR/both.pb ]] && cmp -s "$SCENARIO_DIR/encoded.pb" "$SCENARIO_DIR/both.pb"
}
scenario_what_the_tests_take_for_protobuf_is_what_the_api_server_sends() {
	local jobs began
	[[ $E2E_MINOR -eq 20 ]] || skip "tests/protobuf is compared with 1.20, this is 1.$E2E_MINOR"
	jobs=$(jobs_path bytes)
	began=$(api GET "$jobs" | jq -r .metadata.resourceVersion)
	encodings_world bytes
	both_agree "a list" "$jobs"
	both_agree "a page of a list" "$jobs?limit=3"
	both_agree "a Job" "$jobs/rich"
	both_agree "a Status" "$jobs/nobody"
	both_agree "a watch" "$jobs?watch=true&timeoutSeconds=4&resourceVersion=$began" events
}

encodings_rows() { # all columns but when a row was made, and what JSON alone can give
	local columns
	columns=$(register "SELECT group_concat('\"' || name || '\"') FROM pragma_table_info('runs') WHERE name NOT IN ('id', 'recorded_at', 'manifest')")
	register "SELECT $columns FROM runs ORDER BY job_uid"
}
scenario_plan_and_register_are_the_same_in_both_encodings() {
	local encoding
	encodings_world encodings
	for encoding in protobuf json; do
		export SEXTON_DIR=$SCENARIO_DIR/$encoding
		mkdir "$SEXTON_DIR"
		config_write 'delete-qps = 0' $'ttl-after-success = never\nttl-after-failure = 7d' "manifest = $([[ $encoding == json ]] && echo true || echo false)"
		sexton plan -o json | jq 'map(.reason |= sub(" in [0-9dhms]+$"; ""))' >"$SEXTON_DIR/plan.json"
		sexton sweep >"$SEXTON_DIR/sweep.out" 2>&1
		encodings_rows >"$SEXTON_DIR/rows"
	done
	expect_eq "Jobs in the plan" 9 "$(jq length "$SCENARIO_DIR/json/plan.json")"
	expect_eq "rows" 8 "$(wc -l <"$SCENARIO_DIR/json/rows")"
	diff "$SCENARIO_DIR/json/plan.json" "$SCENARIO_DIR/protobuf/plan.json" || fail "the plans differ"
	diff "$SCENARIO_DIR/json/rows" "$SCENARIO_DIR/protobuf/rows" || fail "the rows differ"
}
