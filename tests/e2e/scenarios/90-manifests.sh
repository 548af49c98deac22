# shellcheck shell=bash
# The manifests, as somebody would apply them: the binary under their own ServiceAccount, with their configuration and the
# arguments of their Deployment, does its work, uses each right that they give, and has no other.

scenarios_once the_base_does_its_work_and_uses_each_right_that_it_has \
	the_base_gives_nothing_that_is_not_needed \
	the_namespaced_overlay_has_rights_in_its_namespaces_alone \
	the_dry_run_overlay_explains_and_changes_nothing \
	the_ephemeral_overlay_begins_anew_with_each_pod \
	the_monitoring_overlay_is_the_base_and_is_taken_whole

readonly ACCOUNT=system:serviceaccount:sexton:sexton

# installed FOLDER [CHANGES]: manifests/FOLDER is applied, and sexton, sexton_start and their like are what runs in its Pod.
# Two things cannot be as they are there: where the register is, and the port.
installed() {
	manifests_apply "$1"
	expect_pod_taken
	api GET /api/v1/namespaces/sexton/configmaps/sexton | jq -r '.data["sexton.ini"]' >"$SCENARIO_DIR/config.ini"
	api POST /api/v1/namespaces/sexton/serviceaccounts/sexton/token \
		'{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}' | jq -rj .status.token >"$SCENARIO_DIR/token"
	network_start installed
	API=https://127.0.0.1:${NETWORK_PORT[installed]} KUBECONFIG_NAMESPACE=sexton kubeconfig_write "$(kubeconfig_of installed)" "{token: \"$(<"$SCENARIO_DIR/token")\"}"
	SEXTON_AS=$ACCOUNT SEXTON_VIA=installed
	PORT=$(free_ports 1)
}
# The API server takes the Pod as the Deployment has it, and drops nothing of it. (With kubectl apply, that holds for the rest.)
expect_pod_taken() {
	jq -c 'select(.kind == "Deployment") | {apiVersion: "v1", kind: "Pod", metadata: (.spec.template.metadata + {name: "sexton"}), spec: .spec.template.spec}' "$E2E/manifests.json" >"$SCENARIO_DIR/pod.json"
	api POST '/api/v1/namespaces/sexton/pods?dryRun=All' "$(<"$SCENARIO_DIR/pod.json")" >"$SCENARIO_DIR/pod-taken.json" || fail "the Pod is refused: $(<"$SCENARIO_DIR/pod-taken.json")"
	expect_eq "fields of the Pod that were dropped" "" "$(jq -rn --slurpfile sent "$SCENARIO_DIR/pod.json" --slurpfile taken "$SCENARIO_DIR/pod-taken.json" \
		'$sent[0] as $sent | $taken[0] as $taken | $sent | paths(scalars) as $path | select((try ($taken | getpath($path)) catch null) == null) | $path | map(tostring) | join(".")')"
	expect_eq "priority" "$(jq -r 'if .spec.priorityClassName then "1000 Never" else "0 PreemptLowerPriority" end' "$SCENARIO_DIR/pod.json")" \
		"$(jq -r '"\(.spec.priority) \(.spec.preemptionPolicy)"' "$SCENARIO_DIR/pod-taken.json")"
}
# installed_start [VARIABLES...]: sexton_start for it
installed_start() {
	local args watches
	mapfile -t args < <(api GET /apis/apps/v1/namespaces/sexton/deployments/sexton | jq -r --arg config "$SCENARIO_DIR/config.ini" \
		'.spec.template.spec.containers[0].args[] | if . == "/etc/sexton/sexton.ini" then $config else . end')
	watches=$(audit_requests "$ACCOUNT" | grep -c '^watch jobs' || true)
	env POD_NAME=sexton-0 POD_NAMESPACE=sexton POD_UID=11111111-2222-4333-8444-555555555555 "$@" "$SEXTON" "${args[@]}" --kubeconfig "$(kubeconfig_of installed)" --store "sqlite:$SCENARIO_DIR/history.db" --listen "127.0.0.1:$PORT" >>"$SCENARIO_DIR/run.log" 2>&1 </dev/null &
	SEXTON_PID=$!
	echo "$SEXTON_PID" >>"$SCENARIO_DIR/pids"
	wait_until 20 "sexton to watch Jobs" sexton_watches_again "$((watches + 1))"
	wait_until 20 "it to be ready" is_ready
}
is_ready() { curl -sf -m 5 -o "$SCENARIO_DIR/readyz" "http://127.0.0.1:$PORT/readyz"; }
# in_haste SPEED: variables for installed_start, by which the intervals and backoffs of minutes are shorter by this factor
in_haste() {
	head -c 72 /dev/zero >"$SCENARIO_DIR/clock" # struct shim_clock
	printf "\\x$(printf %02x "$1")" | dd of="$SCENARIO_DIR/clock" bs=1 seek=40 conv=notrunc status=none
	HASTE=(LD_PRELOAD="$E2E_ROOT/build/shim-clock.so" SEXTON_TEST_CLOCK="$SCENARIO_DIR/clock")
}
installed_check() { POD_NAMESPACE=sexton sexton check --store "sqlite:$SCENARIO_DIR/history.db" "$@"; }

# ---------------------------------------------------------------- rights

# Those that the manifests give, a line each of JSON: the role's path, the rule's and the verb's place in it, and what it is.
rights() {
	jq -c 'select(.kind == "ClusterRole" or .kind == "Role") | .metadata.namespace as $namespace |
		"/apis/rbac.authorization.k8s.io/v1/\(if $namespace then "namespaces/\($namespace)/roles" else "clusterroles" end)/\(.metadata.name)" as $path |
		.rules | to_entries[] | .key as $rule | .value | .resourceNames as $names | .apiGroups[] as $group | .resources[] as $resource | .verbs[] as $verb |
		{$path, $rule, $namespace, $group, $resource, $verb, $names}' "$E2E/manifests.json"
}
# As check says it: a Namespace is in itself.
readonly RIGHT_TEXT='"\(.verb) \(.resource)\(if .group == "" then "" else "." + .group end)\(if .names then " " + (.names | join(",")) else "" end)\(
	if .namespace == null then "" elif .resource == "namespaces" then " " + .namespace else " in " + .namespace end)"'

# rights_used: lines of "used N RIGHT", for each right that the manifests give, of the account's requests since the mark; and of
# "not granted: REQUEST", for each that took another, or was refused.
rights_used() {
	rights | jq -s . >"$SCENARIO_DIR/rights.json"
	audit_filter "$ACCOUNT" 'select(if .verb == "watch" then .stage == "RequestReceived" else .stage == "ResponseComplete" end)' | jq -rn --slurpfile rights "$SCENARIO_DIR/rights.json" '
		[inputs | select(.objectRef.apiGroup != "authorization.k8s.io") |
			if .objectRef then {verb, group: (.objectRef.apiGroup // ""), resource: .objectRef.resource, name: .objectRef.name, namespace: .objectRef.namespace, subresource: .objectRef.subresource, code: .responseStatus.code}
			else {verb, url: .requestURI, code: .responseStatus.code} end] as $requests |
		[$requests[] | . as $request | if .url then {request: ., discovery: (.verb == "get" and (.url | test("^/(api|apis|version)(/(batch|coordination.k8s.io|events.k8s.io)(/v1(beta1)?)?)?$")))} else
			{request: ., right: first($rights[0] | to_entries[] | select(.value | .verb == $request.verb and .group == $request.group and .resource == $request.resource and
				$request.subresource == null and (.namespace == null or .namespace == $request.namespace) and (.names == null or (.names | index([$request.name])))).key)} end] as $judged |
		($judged[] | select(.request.code == 403 or (.right == null and .discovery != true)) | "not granted: \(.request | tostring)"),
		($rights[0] | to_entries[] | . as $right | "used \([$judged[] | select(.right == $right.key)] | length) \(.value | '"$RIGHT_TEXT"')")'
}
# expect_rights: what was asked for is what the manifests give, no more and no less
expect_rights() {
	local used
	used=$(rights_used | sort | uniq)
	expect_eq "requests beyond what is granted" "" "$(grep -v '^used ' <<<"$used" || true)"
	expect_eq "rights that nothing uses" "" "$(grep '^used 0 ' <<<"$used" || true)"
	note "$(grep -c '^used' <<<"$used") rights, each used, in $(sed -E 's/^used ([0-9]+) .*/\1/' <<<"$used" | awk '{n += $1} END {print n}') requests"
}

# expect_check_names_each_right [CHECK-ARGS...]: with all of them, check is content. Without one, it names that one.
expect_check_names_each_right() {
	local right what began role changed=''
	began=$(now_ms)
	wait_until 20 "check to be content" check_is "" "$@"
	while read -r right; do
		what=$(jq -r "$RIGHT_TEXT" <<<"$right")
		role=$(jq -r .path <<<"$right")
		[[ -z $changed || $changed == "$role" ]] || rights_restore "$changed"
		changed=$role
		rights_of "$role" | jq -c --argjson without "$right" '.rules |= [to_entries[] | if .key == $without.rule then .value as $rule |
			($rule | .verbs -= [$without.verb]), ($rule | .resources -= [$without.resource] | .verbs = [$without.verb]) else .value end | select((.verbs | length) > 0 and (.resources | length) > 0)]' |
			rights_put "$role"
		wait_until 20 "check to miss only \"$what\"" check_is "$what" "$@"
	done < <(rights)
	rights_restore "$changed"
	wait_until 20 "check to be content again" check_is "" "$@"
	note "$(rights | wc -l) rights taken away one by one in $(($(now_ms) - began)) ms"
}
rights_of() { # rights_of PATH: the role there, as the manifests have it
	jq -c --arg path "$1" 'select(.kind == "ClusterRole" or .kind == "Role") | .metadata as $role |
		select($path | endswith("\(if $role.namespace then "/namespaces/\($role.namespace)/roles" else "/clusterroles" end)/\($role.name)"))' "$E2E/manifests.json"
}
rights_put() { api PUT "$1" "$(cat)" >/dev/null; }
rights_restore() { rights_of "$1" | rights_put "$1"; }
# check_is MISSING [CHECK-ARGS...]: it says that this right is missing, and no other; "" for none
check_is() {
	local rc=0 missing
	installed_check "${@:2}" >"$SCENARIO_DIR/check.out" 2>&1 || rc=$?
	# Of all Namespaces, it needs to get that one.
	missing=$(sed -nE 's/^(missing|failed) +(([^: ]| [^: ])*).*/\2/p' "$SCENARIO_DIR/check.out" | sed 's/^get namespaces kube-system$/get namespaces/')
	[[ $missing == "$1" && $rc == "${1:+1}" || $missing == "$1" && -z $1 && $rc == 0 ]]
}

# What the account may do in a Namespace, according to the API server itself, is what the manifests give; beside what everybody may.
expect_nothing_else() {
	local namespace
	for namespace in "$@"; do
		expect_eq "asking for the rights in $namespace" 201 "$(as_account POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews "$SCENARIO_DIR/rules-$namespace.json" \
			"{\"apiVersion\": \"authorization.k8s.io/v1\", \"kind\": \"SelfSubjectRulesReview\", \"spec\": {\"namespace\": \"$namespace\"}}")"
		diff -u <(rights | jq -r --arg namespace "$namespace" 'select(.namespace == null or .namespace == $namespace) | .namespace = null | '"$RIGHT_TEXT" | sort) \
			<(jq -r '.status | (.incomplete | select(. != false)), (.resourceRules[] | .resourceNames as $names | .apiGroups[] as $group | .resources[] as $resource | .verbs[] as $verb | {$group, $resource, $verb, $names, namespace: null} |
				select(.group | IN("authorization.k8s.io", "authentication.k8s.io") | not) | '"$RIGHT_TEXT"')' "$SCENARIO_DIR/rules-$namespace.json" | sort) || fail "its rights in $namespace are others"
	done
}
as_account() { # as_account METHOD PATH ANSWER [BODY]: with its token; prints the status
	curl -s -o "$3" -w '%{http_code}' --cacert "$E2E/tls/ca.crt" -H "Authorization: Bearer $(<"$SCENARIO_DIR/token")" -X "$1" \
		-H 'Content-Type: application/json' ${4:+--data-binary "$4"} "$API$2"
}
expect_refused() { expect_eq "$1 $2" 403 "$(as_account "$1" "$2" "$SCENARIO_DIR/refused.json" "${3:-}")"; }
expect_others_refused() { # expect_others_refused NAMESPACE: where it looks after Jobs
	local ns=/api/v1/namespaces/$1 job='{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}'
	expect_refused GET "$ns/secrets"
	expect_refused GET "$ns/pods"
	expect_refused GET "$ns/configmaps"
	expect_refused GET "$ns/events"
	expect_refused GET /api/v1/namespaces/sexton/configmaps/sexton
	expect_refused GET /api/v1/namespaces/sexton/secrets
	expect_refused DELETE "$ns/pods/x"
	expect_refused DELETE "$ns"
	expect_refused POST "$(jobs_path "$1")" "$job"
	expect_refused PUT "$(jobs_path "$1" x)" "$job"
	expect_refused PUT "$(jobs_path "$1" x)/status" "$job"
	expect_refused DELETE "$(jobs_path "$1")" # all of them
	expect_refused DELETE "/apis/$CRONJOB_API/namespaces/$1/cronjobs/x"
	expect_refused GET "/apis/apps/v1/namespaces/sexton/deployments"
	expect_refused GET /api/v1/nodes
	expect_refused GET /apis/coordination.k8s.io/v1/namespaces/sexton/leases
	expect_refused PUT /apis/coordination.k8s.io/v1/namespaces/sexton/leases/other '{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "other"}}'
	expect_refused DELETE /apis/coordination.k8s.io/v1/namespaces/sexton/leases/sexton
	expect_refused POST /apis/coordination.k8s.io/v1/namespaces/kube-system/leases '{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "sexton"}}'
	expect_refused POST /api/v1/namespaces/sexton/serviceaccounts/sexton/token '{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}'
	expect_refused POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "x"},
		"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": []}'
}

# ---------------------------------------------------------------- the work

# some_jobs NAMESPACE: 20 that succeed, 4 that fail, one that is held, one that runs
some_jobs() {
	jobs_create "$1" ok 20
	jobs_create "$1" bad 4
	job_create "$1" held '{"annotations": {"sexton.dev/hold": "true"}}'
	job_create "$1" running
	jobs_finish "$1" ok 20 Complete
	jobs_finish "$1" bad 4 Failed
	job_finish "$1" held Complete
}
some_jobs_are_left() { [[ $(jobs_list "$1" | cut -f 3 | sed 's/-.*//' | sort | uniq -c | awk '{print $2, $1}' | paste -sd ' ') == "bad 4 held 1 running 1" ]]; }
expect_work_done() { # expect_work_done NAMESPACE...
	local namespace
	for namespace in "$@"; do wait_until 20 "policy to be carried out in $namespace" some_jobs_are_left "$namespace"; done
	wait_until 20 "that to be recorded" deleted_count_is $((20 * $#))
	expect_eq "on record" "$(for namespace in "$@"; do printf '%s\n' "$namespace Failed kept 4" "$namespace Succeeded deleted 20" "$namespace Succeeded kept 1"; done | sort)" \
		"$(register "SELECT namespace || ' ' || outcome || ' ' || iif(delete_state = 'deleted', 'deleted', 'kept') AS what, count(*) FROM runs GROUP BY what ORDER BY what" | tr '\t' ' ')"
}
# The answers to DELETEs are lost: they are sent while the network swallows everything. It has to look what became of the Jobs.
lose_answers() { # lose_answers NAMESPACE...
	local namespace due
	for namespace in "$@"; do names "$namespace" lost 3; done >"$SCENARIO_DIR/lost"
	job_bodies 0 '{"annotations": {"sexton.dev/ttl-after-success": "8s"}}' <"$SCENARIO_DIR/lost" | bulk_expect 201
	finish_bodies Complete <"$SCENARIO_DIR/lost" >"$SCENARIO_DIR/finish"
	due=$(($(jq -r '.body.status.completionTime | fromdate' "$SCENARIO_DIR/finish" | sed -n 1p) * 1000 + 8000))
	bulk_expect 200 <"$SCENARIO_DIR/finish"
	wait_until 20 "them to be recorded" register_is "SELECT count(*) FROM runs WHERE job_name LIKE 'lost-%'" $((3 * $#))
	expect_le "when all were recorded, before they are due" "$((due - 200))" "$(now_ms)"
	sleep_until_ms $((due - 200))
	network_cut installed
	# With the intents on record, the DELETEs follow within milliseconds.
	wait_until 20 "the intents" register_is "SELECT count(*) FROM runs WHERE job_name LIKE 'lost-%' AND delete_state = 'deleting'" $((3 * $#))
	sleep_until_ms $(($(now_ms) + 500))
	network_heal installed
	for namespace in "$@"; do
		wait_until 20 "them to be gone" register_is "SELECT count(*) FROM runs WHERE job_name LIKE 'lost-%' AND delete_state = 'deleted' AND namespace = '$namespace'" 3
		expect_ge "second looks in $namespace" 1 "$(audit_filter "$ACCOUNT" 'select(.verb == "get" and .objectRef.resource == "jobs") | .objectRef.namespace' | grep -cx "$namespace" || true)"
	done
}
# A CronJob has an Event when its Jobs are deleted; for the second and the third, it is the same one, told again a minute later.
cronjob_has_events() { # cronjob_has_events NAMESPACE...
	local namespace uid name
	for namespace in "$@"; do
		api POST "/apis/$CRONJOB_API/namespaces/$namespace/cronjobs" '{"metadata": {"name": "tidy"}, "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec":
			{"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "work", "image": "example.test/work:1"}]}}}}}}' >"$SCENARIO_DIR/cronjob.json"
		uid=$(jq -r .metadata.uid "$SCENARIO_DIR/cronjob.json")
		for name in tidy-one tidy-two tidy-three; do
			job_create "$namespace" $name "{\"annotations\": {\"cronjob.kubernetes.io/instantiate\": \"manual\"}, \"ownerReferences\":
				[{\"apiVersion\": \"$CRONJOB_API\", \"kind\": \"CronJob\", \"name\": \"tidy\", \"uid\": \"$uid\", \"controller\": true, \"blockOwnerDeletion\": true}]}"
			job_finish "$namespace" $name Complete
			wait_until 20 "the Job of the CronJob to go" job_gone "$namespace" $name
		done
	done
	for namespace in "$@"; do wait_until 30 "an Event that counts the three" events_count_is "$namespace" CronJob JobDeleted 3; done
}
events_count_is() { # events_count_is NAMESPACE KIND REASON COUNT
	[[ $(api GET "/apis/events.k8s.io/v1/namespaces/$1/events" | jq --arg kind "$2" --arg reason "$3" '[.items[] | select(.regarding.kind == $kind and .reason == $reason) | .series.count // 1] | add') == "$4" ]]
}
# A new configuration that is refused has an Event on the Pod; the second time, it is told that it was so again.
refused_configuration_has_events() {
	local round
	cp "$SCENARIO_DIR/config.ini" "$SCENARIO_DIR/good.ini"
	for round in 1 2; do
		echo 'ttl-after-sucess = 1h' >>"$SCENARIO_DIR/config.ini"
		wait_until 20 "the new configuration to be refused" log_tells "$round" 'the old one stays'
		cp "$SCENARIO_DIR/good.ini" "$SCENARIO_DIR/config.ini"
		wait_until 20 "the old one to be read again" log_tells "$round" 'msg="configuration read again"'
	done
	wait_until 30 "an Event that counts both" events_count_is sexton Pod ConfigurationRefused 2
}
scenario_the_base_does_its_work_and_uses_each_right_that_it_has() {
	namespaces_create base-work
	installed base
	audit_mark
	installed_start
	some_jobs base-work
	expect_work_done base-work
	lose_answers base-work
	sexton_stop
	in_haste 10
	installed_start "${HASTE[@]}"
	cronjob_has_events base-work
	sexton_stop
	expect_rights
}

scenario_the_base_gives_nothing_that_is_not_needed() {
	namespaces_create base-rights
	installed base
	expect_nothing_else sexton base-rights kube-system default
	expect_others_refused base-rights
	expect_check_names_each_right
	# And what is applied is looked at: a field that does not exist is not taken.
	jq -c 'select(.kind == "Deployment") | .spec.template.spec.containers[0].livenessProb = {}' "$E2E/manifests.json" >"$SCENARIO_DIR/wrong.json"
	! kubectl apply -f "$SCENARIO_DIR/wrong.json" >"$SCENARIO_DIR/wrong.out" 2>&1 || fail "a field that does not exist goes unnoticed"
}

scenario_the_namespaced_overlay_has_rights_in_its_namespaces_alone() {
	namespaces_create shop ml not-listed
	installed overlays/namespaced
	expect_nothing_else sexton shop ml not-listed kube-system
	expect_others_refused shop
	expect_others_refused not-listed
	expect_refused GET /api/v1/namespaces
	expect_refused GET /api/v1/namespaces/kube-system
	expect_refused GET /api/v1/namespaces/not-listed
	expect_refused GET /apis/batch/v1/jobs
	expect_refused GET "$(jobs_path not-listed)"
	expect_refused DELETE "$(jobs_path not-listed x)"
	expect_check_names_each_right
	audit_mark
	installed_start
	for namespace in shop ml not-listed; do some_jobs "$namespace"; done
	expect_work_done shop ml
	lose_answers shop ml
	sexton_stop
	in_haste 10
	installed_start "${HASTE[@]}"
	cronjob_has_events shop ml
	refused_configuration_has_events
	sexton_stop
	expect_rights
	expect_eq "Jobs in a Namespace that is not listed" 26 "$(jobs_count not-listed)"
	expect_eq "Namespaces in the register" 'ml shop' "$(register "SELECT group_concat(namespace, ' ') FROM (SELECT DISTINCT namespace FROM runs ORDER BY 1)")"
	expect_eq "the cluster's name in the register" main "$(register 'SELECT DISTINCT cluster FROM runs')"
}

scenario_the_dry_run_overlay_explains_and_changes_nothing() {
	namespaces_create dry-overlay
	installed overlays/dry-run
	expect_nothing_else sexton dry-overlay kube-system
	expect_others_refused dry-overlay
	expect_refused DELETE "$(jobs_path dry-overlay x)"
	expect_refused POST /apis/coordination.k8s.io/v1/namespaces/sexton/leases '{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "sexton"}}'
	expect_check_names_each_right --dry-run
	audit_mark
	installed_start
	some_jobs dry-overlay
	wait_until 10 "20 Jobs to be told" log_tells 20 'would delete'
	sexton_stop
	expect_eq "Jobs" 26 "$(jobs_count)"
	expect_eq "what it changed" "" "$(audit_changes "$ACCOUNT")"
	[[ ! -e $SCENARIO_DIR/history.db ]] || fail "it has made a register"
	expect_rights
}
log_tells() { [[ $(grep -c "$2" "$SCENARIO_DIR/run.log") == "$1" ]]; }

# What its README says it costs: with the Pod the register goes, and nothing else.
scenario_the_ephemeral_overlay_begins_anew_with_each_pod() {
	namespaces_create ephemeral
	installed overlays/ephemeral
	expect_nothing_else sexton ephemeral kube-system
	installed_start
	some_jobs ephemeral
	expect_work_done ephemeral
	sexton_stop
	rm "$SCENARIO_DIR"/history.db*
	installed_start
	wait_until 10 "the Jobs that are there to be recorded again" register_is 'SELECT count(*) FROM runs' 5
	job_create ephemeral later
	job_finish ephemeral later Complete
	wait_until 10 "another Job to go" job_gone ephemeral later
	some_jobs_are_left ephemeral || fail "other Jobs are left than policy says: $(jobs_list ephemeral)"
	sexton_stop
	expect_eq "DELETEs" 21 "$(audit_deletes "$ACCOUNT" | awk '$4 == 200' | wc -l)"
}

# ---------------------------------------------------------------- monitoring

# The Prometheus Operator's kinds, with those fields of https://prometheus-operator.dev/docs/api-reference/api/ that the overlay
# has. What an object has besides is dropped by the API server.
operator_kinds() {
	jq -n '
		def text: {type: "string"}; def texts: {type: "object", additionalProperties: text}; def list(of): {type: "array", items: of};
		def object(fields; required): {type: "object", properties: fields, required: required};
		def kind(kind; spec): "\(kind | ascii_downcase)s" as $plural | {apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: {name: "\($plural).monitoring.coreos.com"},
			spec: {group: "monitoring.coreos.com", scope: "Namespaced", names: {kind: kind, plural: $plural},
				versions: [{name: "v1", served: true, storage: true, schema: {openAPIV3Schema: object({spec: spec}; ["spec"])}}]}};
		kind("ServiceMonitor"; object({jobLabel: text, selector: object({matchLabels: texts}; []), namespaceSelector: object({any: {type: "boolean"}, matchNames: list(text)}; []),
			endpoints: list(object({port: text, path: text, scheme: text, interval: text, scrapeTimeout: text, honorLabels: {type: "boolean"}}; []))}; ["endpoints", "selector"])),
		kind("PrometheusRule"; object({groups: list(object({name: text, interval: text,
			rules: list(object({record: text, alert: text, expr: {"x-kubernetes-int-or-string": true}, for: text, labels: texts, annotations: texts}; ["expr"]))}; ["name", "rules"]))}; []))'
}
# What of the objects, as they were sent, is not in the cluster.
not_taken() { # not_taken FILE
	local path
	jq -c 'if .kind == "List" then .items[] else . end' "$1" | while read -r object; do
		path=$(jq -r '"\(if .apiVersion == "v1" then "/api/v1" else "/apis/\(.apiVersion)" end)/namespaces/\(.metadata.namespace)/\(.kind | ascii_downcase)s/\(.metadata.name)"' <<<"$object")
		jq -rn --argjson sent "$object" --argjson taken "$(api GET "$path")" '$sent | del(.metadata.creationTimestamp) | paths(scalars) as $path |
			select(getpath($path) != (try ($taken | getpath($path)) catch null)) | "\($sent.kind) \($path | map(tostring) | join("."))"'
	done
}
scenario_the_monitoring_overlay_is_the_base_and_is_taken_whole() {
	local kind
	operator_kinds | kubectl apply -f - >/dev/null
	for kind in servicemonitors prometheusrules; do wait_until 30 "the API server to have $kind" api_quiet GET "/apis/monitoring.coreos.com/v1/$kind"; done
	namespaces_create monitored
	installed overlays/monitoring
	expect_nothing_else sexton monitored kube-system
	# An older kubectl knows its own kinds only when it builds; with an API server, others as well.
	kubectl kustomize "$E2E_ROOT/manifests/overlays/monitoring/parts" >"$SCENARIO_DIR/parts.yaml"
	wait_until 30 "kubectl to know the kinds" kubectl apply -f "$SCENARIO_DIR/parts.yaml"
	kubectl create --dry-run=client -o json -f "$SCENARIO_DIR/parts.yaml" >"$SCENARIO_DIR/parts.json"
	expect_eq "objects of its own" "ConfigMap PrometheusRule ServiceMonitor" "$(jq -r 'if .kind == "List" then .items[] else . end | .kind' "$SCENARIO_DIR/parts.json" | sort | paste -sd ' ')"
	expect_eq "what the API server dropped" "" "$(not_taken "$SCENARIO_DIR/parts.json")"
	installed_start
	some_jobs monitored
	expect_work_done monitored
	sexton_stop
	for kind in servicemonitors prometheusrules; do api DELETE "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/$kind.monitoring.coreos.com" >/dev/null; done
}
