# shellcheck shell=bash
# The main job: what finishes is recorded, and deleted when its time is up.

scenario_every_finished_job_is_recorded_and_deleted_as_policy_says() {
	local ns slow=() quick=()
	needs_kcm
	mapfile -t slow < <(seq -f 'fleet-%02g' 0 9)
	mapfile -t quick < <(seq -f 'fleet-%02g' 10 19)
	namespaces_create "${slow[@]}"
	E2E_NS_ANNOTATIONS='{"sexton.dev/ttl-after-failure": "2s"}' namespaces_create "${quick[@]}"
	config_write 'delete-qps = 0' $'ttl-after-success = 0s\nttl-after-failure = 1h'
	sexton_start

	# 1,000 Jobs in 20 namespaces: 34 that succeed, 1 that does and is held, 15 that fail.
	for ns in "${slow[@]}" "${quick[@]}"; do
		names "$ns" ok 34
		names "$ns" bad 15
	done | job_bodies 1 | bulk_expect 201
	for ns in "${slow[@]}" "${quick[@]}"; do names "$ns" held 1; done |
		job_bodies 1 '{"annotations": {"sexton.dev/hold": "true"}}' | bulk_expect 201
	wait_until 60 "the Job controller to make 1,000 Pods" api_count_is /api/v1/pods 1000
	jobs_list | awk -F '\t' -v OFS='\t' '{$4 = $3 ~ /^bad/ ? "Failed" : "Succeeded"; print}' >"$SCENARIO_DIR/jobs.tsv"
	expect_eq "Jobs before they finish" 1000 "$(wc -l <"$SCENARIO_DIR/jobs.tsv")"
	pods_finish

	# What stays is the 20 that are held, and those that failed in the 10 namespaces that give an hour to look at it.
	wait_until 90 "all 1,000 runs to be recorded" register_is 'SELECT count(*) FROM runs' 1000
	wait_until 90 "830 runs to be deleted" deleted_count_is 830
	wait_until 30 "the Pods to go with their Jobs" api_count_is /api/v1/pods 170
	jobs_list | cut -f 2,3 | sort >"$SCENARIO_DIR/left"
	awk -F '\t' -v OFS='\t' '$3 ~ /^held/ || $3 ~ /^bad/ && $2 < "fleet-10" {print $2, $3}' "$SCENARIO_DIR/jobs.tsv" | sort >"$SCENARIO_DIR/wanted"
	diff -u "$SCENARIO_DIR/wanted" "$SCENARIO_DIR/left" || fail "other Jobs are left than policy says"
	expect_eq "Pods whose Job is gone" 0 "$(api GET /api/v1/pods | jq -r '.items[].metadata.ownerReferences[0].uid' |
		grep -cvxFf <(jobs_list | cut -f 1) || true)"

	sexton_stop
	expect_agreement "$SCENARIO_DIR/jobs.tsv" strict
	expect_eq "runs by outcome and reason" $'Failed BackoffLimitExceeded 300\nSucceeded  700' \
		"$(register "SELECT outcome || ' ' || coalesce(reason, '') || ' ' || count(*) FROM runs GROUP BY outcome, reason ORDER BY 1")"
	expect_eq "rows that say deleted by ttl" 830 "$(register "SELECT count(*) FROM runs WHERE (delete_state, delete_cause) = ('deleted', 'ttl')")"
	expect_eq "finish times that are not known" 0 "$(register 'SELECT count(*) FROM runs WHERE finished_at IS NULL')"
	expect_eq "GETs of single Jobs" 0 "$(audit_requests sexton | grep -c '^get jobs' || true)"
}

scenario_a_job_deleted_by_kubectl_is_on_record_as_external() {
	namespaces_create ext
	config_write 'delete-qps = 0' 'ttl-after-failure = 1h'
	sexton_start
	jobs_create ext gone 2
	job_create ext unfinished
	jobs_finish ext gone 2 Failed
	wait_until 10 "both to be recorded" register_is 'SELECT count(*) FROM runs' 2
	kubectl delete job -n ext gone-00000 unfinished >/dev/null
	wait_until 10 "the deletions to be recorded" deleted_count_is 2
	expect_eq "the runs that kubectl deleted" $'gone-00000 Failed external\nunfinished - external' \
		"$(register "SELECT job_name || ' ' || coalesce(outcome, '-') || ' ' || delete_cause FROM runs WHERE delete_state = 'deleted' ORDER BY 1")"
	expect_eq "when that was" 1 "$(register "SELECT deleted_at >= finished_at AND delete_requested_at IS NULL FROM runs WHERE job_name = 'gone-00000'")"
	expect_eq "DELETEs by sexton" "" "$(audit_deletes sexton)"
	sexton_stop
	# And while nobody was watching
	kubectl delete job -n ext gone-00001 >/dev/null
	sexton_start
	wait_until 10 "the deletion to be noticed afterwards" deleted_count_is 3
	expect_eq "DELETEs by sexton" "" "$(audit_deletes sexton)"
	sexton_stop
}

scenario_an_annotation_changed_on_the_fly_takes_effect() {
	local uid
	namespaces_create fly fly-ns
	config_write 'delete-qps = 0' $'ttl-after-success = 4s\nttl-after-failure = 1h'
	sexton_start
	for name in shortened held-before kept control; do job_create fly $name; done
	job_annotate fly held-before '{"sexton.dev/hold": "true"}'
	job_create fly-ns of-namespace
	job_finish fly shortened Failed
	job_finish fly held-before Complete
	job_finish fly-ns of-namespace Failed
	printf '%s\n' 'fly kept' 'fly control' | finish_bodies Complete | bulk_expect 200
	uid=$(job_uid fly kept)
	job_annotate fly kept '{"sexton.dev/ttl-after-success": "never"}'
	job_annotate fly shortened '{"sexton.dev/ttl-after-failure": "1s"}'
	wait_until 10 "the Job with the shortened TTL to go" job_gone fly shortened
	namespace_annotate fly-ns '{"sexton.dev/ttl-after-failure": "0s"}'
	wait_until 10 "the Job to go whose namespace got another default" job_gone fly-ns of-namespace
	wait_until 15 "the Job that was left alone to go" job_gone fly control
	expect_eq "the Job that is now kept for ever" "$uid" "$(job_uid fly kept)"
	job_exists fly held-before || fail "a held Job was deleted"
	job_annotate fly held-before '{"sexton.dev/hold": null}'
	wait_until 10 "the Job whose hold was taken away to go" job_gone fly held-before
	wait_until 10 "all of it to be recorded" deleted_count_is 4
	sexton_stop
}

scenario_a_value_that_cannot_be_understood_keeps_the_job() {
	local values=('5 minutes' 30 -1h '' 1h1h soon) i name
	namespaces_create odd
	config_write
	sexton_start
	for i in "${!values[@]}"; do
		job_create odd "odd-$i" "$(jq -nc --arg v "${values[i]}" '{annotations: {"sexton.dev/ttl-after-success": $v}}')"
	done
	job_create odd odd-hold '{"annotations": {"sexton.dev/hold": "perhaps"}}'
	job_create odd control
	api GET "$(jobs_path odd)" | jq -r '.items[].metadata.name | select(. != "control")' >"$SCENARIO_DIR/odd"
	sed 's/^/odd /' "$SCENARIO_DIR/odd" | finish_bodies Complete | bulk_expect 200
	job_finish odd control Complete
	wait_until 15 "the Job without such a value to go" job_gone odd control
	wait_until 10 "all to be recorded" register_is 'SELECT count(*) FROM runs' 8
	while read -r name; do
		job_exists odd "$name" || fail "odd/$name was deleted"
		grep -q "odd/${name}[^0-9a-z]" "$SCENARIO_DIR/run.log" || fail "no word in the log about odd/$name"
	done <"$SCENARIO_DIR/odd"
	sexton_stop
}

scenario_the_jobs_own_spec_is_obeyed() {
	namespaces_create spec
	config_write 'delete-qps = 0' $'ttl-after-success = never\nttl-after-failure = never'
	sexton_start
	names spec own 2 | job_bodies 0 | jq -c '.body.spec.ttlSecondsAfterFinished = 1' | bulk_expect 201
	job_create spec other
	job_annotate spec own-00001 '{"sexton.dev/ttl-after-success": "1h"}'
	jobs_finish spec own 2 Complete
	job_finish spec other Complete
	wait_until 10 "the Job to go whose spec says so" job_gone spec own-00000
	job_exists spec own-00001 || fail "its annotation should have come before its spec"
	job_exists spec other || fail "the configuration says never"
	expect_match "where the rule stood" spec "$(register "SELECT policy_source FROM runs WHERE job_name = 'own-00000'")"
	sexton_stop
}

scenario_a_dry_run_changes_nothing() {
	namespaces_create dry
	config_write
	jobs_create dry early 5
	jobs_finish dry early 5 Complete
	sexton sweep --dry-run >"$SCENARIO_DIR/sweep.out" 2>&1
	sexton_spawn run --dry-run
	wait_until 15 "sexton to watch Jobs" audit_watches sexton jobs
	job_create dry later
	job_finish dry later Complete
	wait_until 15 "a word about each Job" dry_run_names_all
	sexton_stop
	expect_eq "Jobs" 6 "$(jobs_count dry)"
	expect_eq "what sexton changed" "" "$(audit_changes sexton)"
}
dry_run_names_all() {
	grep -q dry/later "$SCENARIO_DIR/run.log" && [[ $(grep -o 'dry/early-0000[0-4]' "$SCENARIO_DIR/run.log" | sort -u | wc -l) -eq 5 ]]
}

scenario_jobs_of_a_cronjob_are_recorded_with_their_owner() {
	local owner
	namespaces_create owned
	config_write
	owner=$(api POST "/apis/$CRONJOB_API/namespaces/owned/cronjobs" "$(jq -nc --arg v "$CRONJOB_API" '{apiVersion: $v, kind: "CronJob", metadata: {name: "nightly"},
		spec: {schedule: "0 3 * * *", suspend: true, jobTemplate: {spec: {template: {spec: {restartPolicy: "Never", containers: [{name: "work", image: "example.test/work:1"}]}}}}}}')" | jq -r .metadata.uid)
	sexton_start
	jobs_create owned nightly 5 "$(jq -nc --arg v "$CRONJOB_API" --arg uid "$owner" \
		'{ownerReferences: [{apiVersion: $v, kind: "CronJob", name: "nightly", uid: $uid, controller: true, blockOwnerDeletion: true}]}')"
	jobs_finish owned nightly 5 Complete
	jobs_list owned >"$SCENARIO_DIR/seen" # they may be going already
	wait_until 75 "the Jobs to go" jobs_count_is owned 0
	wait_until 10 "that to be recorded" deleted_count_is 5
	expect_eq "owners" "CronJob nightly $owner nightly 5" \
		"$(register "SELECT owner_kind || ' ' || owner_name || ' ' || owner_uid || ' ' || cronjob || ' ' || count(*) FROM runs GROUP BY owner_kind, owner_name, owner_uid, cronjob")"
	sexton_stop
}
