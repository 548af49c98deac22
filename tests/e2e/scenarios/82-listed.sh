# shellcheck shell=bash
# A list of Namespaces: rights in these, and nowhere else.

# listed_rights NAMESPACE...: what README says for each of them, for the user nobody
listed_rights() {
	local namespace
	for namespace in "$@"; do
		cat <<-RBAC
			---
			apiVersion: rbac.authorization.k8s.io/v1
			kind: Role
			metadata: {name: e2e-listed, namespace: $namespace}
			rules:
			- {apiGroups: [batch], resources: [jobs], verbs: [get, list, watch, delete]}
			- {apiGroups: [batch], resources: [cronjobs], verbs: [list, watch]}
			- {apiGroups: [""], resources: [namespaces], verbs: [get, watch]}
			- {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
			---
			apiVersion: rbac.authorization.k8s.io/v1
			kind: RoleBinding
			metadata: {name: e2e-listed, namespace: $namespace}
			roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: e2e-listed}
			subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}]
		RBAC
	done | kubectl apply -f - >/dev/null
}
namespace_annotate() { api_merge "/api/v1/namespaces/$1" "$(jq -nc --argjson a "$2" '{metadata: {annotations: $a}}')" >/dev/null; }
allowed_to_watch() { kubectl --kubeconfig "$(kubeconfig_of nobody)" auth can-i watch namespaces/"$1" -n "$1" >/dev/null 2>&1; }
refused() { audit_filter nobody 'select(.stage == "ResponseComplete" and .responseStatus.code >= 400 and .responseStatus.code != 404) | "\(.verb) \(.requestURI) \(.responseStatus.code)"'; }
listed_world() { # listed_world NAMESPACE...: these are listed
	namespaces_create "$@"
	listed_rights "$@"
	lease_allow nobody 2>/dev/null || true # left over from a scenario that failed
	config_write $'delete-qps = 0\ncluster = e2e\nnamespaces = '"$*"
	export SEXTON_AS=nobody
	for namespace in "$@"; do wait_until 10 "the rights in $namespace" allowed_to_watch "$namespace"; done
	audit_mark
}

scenario_a_list_of_namespaces_needs_no_cluster_wide_right() {
	listed_world listed-a listed-b
	namespaces_create beside
	namespace_annotate listed-b '{"sexton.dev/ttl-after-success": "never"}'
	for namespace in listed-a listed-b beside; do
		jobs_create $namespace job 5
		jobs_finish $namespace job 5 Complete
	done
	sexton check >"$SCENARIO_DIR/check.out" || fail "check is not content: $(cat "$SCENARIO_DIR/check.out")"
	grep -q 'ok *watch namespaces listed-b' "$SCENARIO_DIR/check.out" || fail "check does not say what it asked for: $(cat "$SCENARIO_DIR/check.out")"
	sexton plan >"$SCENARIO_DIR/plan.out"
	expect_match "what plan says" '10 Jobs: 5 to delete, 0 waiting, 5 kept' "$(tail -n 1 "$SCENARIO_DIR/plan.out")"
	sexton_start
	wait_until 10 "the Jobs of listed-a to go" jobs_count_is listed-a 0
	wait_until 10 "those of listed-b to be on record" register_is "SELECT count(*) FROM runs WHERE namespace = 'listed-b' AND delete_state = 'kept'" 5

	# What a Namespace says is followed, while it is watched: one lets them go, the other holds them.
	expect_eq "Jobs of listed-b" 5 "$(jobs_count listed-b)"
	namespace_annotate listed-b '{"sexton.dev/ttl-after-success": null}'
	wait_until 10 "the Jobs of listed-b to go" jobs_count_is listed-b 0
	namespace_annotate listed-a '{"sexton.dev/hold": "true"}'
	# By events of two watches: nobody promises which comes first.
	wait_until 10 "the Namespace's hold to arrive" listed_hold_is_known
	jobs_create listed-a later 5
	jobs_finish listed-a later 5 Complete
	wait_until 10 "those to be on record" register_is "SELECT count(*) FROM runs WHERE job_name LIKE 'later%' AND delete_state = 'kept'" 5
	sexton_stop
	sexton sweep >"$SCENARIO_DIR/sweep.out" 2>&1 || fail "sweep failed: $(cat "$SCENARIO_DIR/sweep.out")"

	expect_eq "Jobs held" 5 "$(jobs_count listed-a)"
	expect_eq "Jobs beside" 5 "$(jobs_count beside)"
	expect_eq "rows of beside" 0 "$(register "SELECT count(*) FROM runs WHERE namespace = 'beside'")"
	expect_eq "requests refused" "" "$(refused)"
	expect_eq "requests beyond the two" "" "$(audit_filter nobody 'select(.objectRef.resource | IN("jobs", "cronjobs", "namespaces")) | select(.objectRef.namespace | IN("listed-a", "listed-b") | not) | "\(.verb) \(.requestURI)"')"
	lease_forbid nobody
}
# A Job that would go is held by what the Namespace says now.
listed_hold_is_known() {
	local n
	n=$(register "SELECT count(*) FROM runs WHERE job_name LIKE 'probe%'")
	job_create listed-a "probe-$n"
	job_finish listed-a "probe-$n" Complete
	wait_until 10 "probe-$n to be on record" register_is "SELECT count(*) FROM runs WHERE job_name = 'probe-$n' AND delete_state IN ('kept', 'deleted')" 1
	register_is "SELECT delete_state FROM runs WHERE job_name = 'probe-$n'" kept || return 1
	api DELETE "$(jobs_path listed-a "probe-$n")" >/dev/null
}

scenario_a_listed_namespace_that_comes_back_is_followed() {
	needs_kcm
	listed_world comes-back listed-beside
	namespace_annotate comes-back '{"sexton.dev/ttl-after-success": "never"}'
	jobs_create comes-back job 3
	jobs_finish comes-back job 3 Complete
	sexton_start
	wait_until 10 "the Jobs to be on record" register_is "SELECT count(*) FROM runs WHERE delete_state = 'kept'" 3
	api DELETE /api/v1/namespaces/comes-back >/dev/null
	wait_until 60 "the Namespace to go" api_is_gone /api/v1/namespaces/comes-back
	wait_until 10 "the Jobs that went with it to be on record" register_is "SELECT count(*) FROM runs WHERE delete_state = 'deleted' AND delete_cause = 'external'" 3
	namespaces_create comes-back
	listed_rights comes-back
	for namespace in comes-back listed-beside; do
		jobs_create $namespace again 3
		jobs_finish $namespace again 3 Complete
	done
	wait_until 60 "the Jobs of both to go" jobs_count_is '' 0
	wait_until 10 "all of them to be on record as deleted" deleted_count_is 9
	sexton_stop

	# With the Role it lost its rights: those of the other are enough for the other, and the log says what is missing.
	kubectl delete role e2e-listed --namespace=comes-back >/dev/null
	wait_until 10 "the rights to be gone" not_allowed_to_watch comes-back
	sexton_start
	jobs_create listed-beside more 2
	jobs_finish listed-beside more 2 Complete
	wait_until 10 "the Jobs of the other to go" jobs_count_is listed-beside 0
	expect_match "what the log says" 'cannot get resource ..?namespaces..? in API group .* in the namespace ..?comes-back' "$(grep 'get failed' "$SCENARIO_DIR/run.log" | head -n 1)"
	sexton_stop
	lease_forbid nobody
}
not_allowed_to_watch() { ! allowed_to_watch "$1"; }
api_is_gone() { [[ $(api GET "$1" 2>/dev/null | jq -r '.code // 0') == 404 ]]; }
