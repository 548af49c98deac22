# shellcheck shell=bash
# What people are told by Kubernetes Events, as the API server takes them and as kubectl shows them.

# kubectl_events NAMESPACE: a line each: type, reason, kind/name, count
kubectl_events() {
	kubectl get events.events.k8s.io -n "$1" -o json | jq -r '.items[] | select(.reportingController == "sexton.dev/sexton") |
		"\(.type) \(.reason) \(.regarding.kind)/\(.regarding.name) \(.series.count // 1)"' | sort
}
events_are() { [[ $(kubectl_events "$1") == "$2" ]]; }
# described KIND NAME: what kubectl describe says of its Events, with one space between words
described() { kubectl describe "$1" -n "$2" "$3" | sed -n '/^Events:/,$p' | tr -s ' '; }
events_answers() { audit_requests sexton | grep ' events ' | sort | uniq -c | awk '{print $1, $2, $4}' | paste -sd ,; }
# nightly_create NAMESPACE: a CronJob that makes no Jobs by itself. Prints its uid.
nightly_create() {
	api POST "/apis/$CRONJOB_API/namespaces/$1/cronjobs" "$(jq -nc --arg v "$CRONJOB_API" '{apiVersion: $v, kind: "CronJob", metadata: {name: "nightly"}, spec: {schedule: "0 0 1 1 *", suspend: true,
		jobTemplate: {spec: {template: {spec: {restartPolicy: "Never", containers: [{name: "work", image: "example.test/work:1"}]}}}}}}')" | jq -r .metadata.uid
}
nightly_job() { # nightly_job NAMESPACE NAME UID: a Job of it, which has just succeeded
	job_create "$1" "$2" "$(jq -nc --arg v "$CRONJOB_API" --arg uid "$3" '{ownerReferences: [{apiVersion: $v, kind: "CronJob", name: "nightly", uid: $uid, controller: true}]}')"
	job_finish "$1" "$2" Complete
}

scenario_events_say_what_is_kept_and_why_and_what_was_deleted() {
	local uid text
	namespaces_create told untold
	uid=$(nightly_create told)
	config_write $'delete-qps = 0\ncronjob-settle = 0s'
	audit_mark
	sexton_start
	job_create told typo '{"annotations": {"sexton.dev/ttl-after-success": "10"}}'
	job_create told hook '{"annotations": {"helm.sh/hook": "post-install"}}'
	job_create told held '{"annotations": {"sexton.dev/hold": "true"}}'
	job_finish told typo Complete
	job_finish told hook Complete
	job_finish told held Complete
	namespace_annotate untold '{"sexton.dev/ttl-after-succes": "1h"}'
	nightly_job told nightly-1 "$uid"
	wait_until 20 "an Event for each" events_are told $'Normal JobDeleted CronJob/nightly 1\nNormal LeftToTool Job/hook 1\nWarning AnnotationNotUnderstood Job/typo 1'
	wait_until 20 "the Namespace's Event, in itself" events_are untold 'Warning AnnotationNotUnderstood Namespace/untold 1'
	# Again: no other Event, but the same one once more
	nightly_job told nightly-2 "$uid"
	wait_until 20 "the Event to be counted" events_are told $'Normal JobDeleted CronJob/nightly 2\nNormal LeftToTool Job/hook 1\nWarning AnnotationNotUnderstood Job/typo 1'
	text=$(described job told typo)
	expect_match "kubectl describe job" 'Warning AnnotationNotUnderstood .*sexton.dev/sexton.* Kept: sexton.dev/ttl-after-success: 10 is not a duration' "$text"
	note "kubectl describe job: $(tail -1 <<<"$text")"
	text=$(described job told hook)
	expect_match "kubectl describe job, of a hook" 'Normal LeftToTool .*left to Helm, whose hook it is' "$text"
	expect_match "kubectl describe job, of a held one" '<none>' "$(described job told held)"
	text=$(described cronjob told nightly)
	expect_match "kubectl describe cronjob" 'Normal JobDeleted .*sexton.dev/sexton.* Deleted Job nightly-1, which succeeded at 20.*sexton history list -n told --cronjob nightly' "$text"
	note "kubectl describe cronjob: $(tail -1 <<<"$text")"
	expect_match "kubectl get events" 'job/typo +Kept: sexton.dev/ttl-after-success' "$(kubectl get events -n told)"
	expect_eq "what the API server answered" "4 create 201,1 patch 200" "$(events_answers)"
	# One that has expired, or was deleted, is not missed.
	kubectl delete events.events.k8s.io -n told --all >/dev/null
	sexton_stop
	sexton_start
	wait_until 20 "what is not understood to be told again, and that alone" events_are told 'Warning AnnotationNotUnderstood Job/typo 1'
	sexton_stop
	expect_eq "lines about Events that could not be written" "" "$(grep -c 'Kubernetes Events' "$SCENARIO_DIR/run.log" | grep -v '^0$' || true)"
	namespace_annotate untold '{"sexton.dev/ttl-after-succes": null}' # those who come later look after all Namespaces
}

scenario_without_the_right_to_write_events_everything_else_goes_on() {
	namespaces_create mute
	config_write 'delete-qps = 0'
	audit_mark
	kubectl get clusterrole sexton -o json | jq '.rules |= map(select(.apiGroups != ["events.k8s.io"]))' | kubectl replace -f - >/dev/null
	sexton_start
	jobs_create mute typo 3 '{"annotations": {"sexton.dev/ttl-after-success": "10"}}'
	jobs_create mute fine 5
	jobs_finish mute typo 3 Complete
	jobs_finish mute fine 5 Complete
	wait_until 20 "the others to be deleted" deleted_count_is 5
	wait_until 20 "that to be said" grep -q 'Kubernetes Events may not be written' "$SCENARIO_DIR/run.log"
	sexton_stop
	manifests_apply base
	expect_eq "how often that was said" 1 "$(grep -c 'Kubernetes Events may not be written' "$SCENARIO_DIR/run.log")"
	expect_match "what the API server answered" '^[12] create 403$' "$(events_answers)"
}
