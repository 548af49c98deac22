# shellcheck shell=bash
# What the cluster does to the controller.

scenario_without_the_right_to_delete_it_says_so_and_stays_calm() {
	local before requests cpu rc=0 reader
	namespaces_create forbidden
	jobs_create forbidden job 5
	jobs_finish forbidden job 5 Complete
	config_write
	SEXTON_AS=reader sexton_start
	reader=$SEXTON_PID
	cpu=$(cpu_cs "$reader")
	sleep 20 # requests within a given time are what this is about
	alive "$reader" || fail "sexton ended by itself: $(tail -n 3 "$SCENARIO_DIR/run.log")"
	cpu=$(($(cpu_cs "$reader") - cpu))
	audit_requests reader | sort | uniq -c | sort -rn >"$SCENARIO_DIR/requests"
	requests=$(audit_requests reader | wc -l)
	note "in 20 s: $requests requests ($(awk '{print $1 "x " $2, $3, $4}' "$SCENARIO_DIR/requests" | paste -sd , | sed 's/,/, /g')), $cpu/100 s of CPU, $(wc -l <"$SCENARIO_DIR/run.log") lines of log"
	expect_ge "DELETEs tried" 1 "$(audit_deletes reader | wc -l)"
	expect_le "requests in 20 s with 5 Jobs" 60 "$requests"
	expect_le "CPU, in 1/100 s" 100 "$cpu"
	expect_le "lines of log" 100 "$(wc -l <"$SCENARIO_DIR/run.log")"
	grep -qi forbidden "$SCENARIO_DIR/run.log" || fail "the log does not say that it is forbidden"
	expect_eq "Jobs left" 5 "$(jobs_count forbidden)"
	expect_eq "rows, and those that say deleted" "5 0" "$(register "SELECT count(*) || ' ' || count(*) FILTER (WHERE delete_state = 'deleted') FROM runs")"
	sexton_stop
	# The same by hand: one clear line, exit status 1.
	SEXTON_AS=reader sexton sweep >"$SCENARIO_DIR/sweep.out" 2>&1 || rc=$?
	expect_eq "exit status of sweep" 1 "$rc"
	grep -qi forbidden "$SCENARIO_DIR/sweep.out" || fail "sweep does not say that it is forbidden"
	# Once the right is given, the work is done.
	audit_mark
	before=$(now_ms)
	SEXTON_AS=sexton sexton_start
	wait_until 20 "the Jobs to go" jobs_count_is forbidden 0
	note "with the right to: all gone after $(($(now_ms) - before)) ms"
	sexton_stop
}

scenario_without_any_rights_it_says_so_and_stays_calm() {
	local end rc=0
	namespaces_create blind
	jobs_create blind job 5
	jobs_finish blind job 5 Complete
	config_write
	SEXTON_AS=nobody sexton_spawn run
	end=$((SECONDS + 10))
	while alive "$SEXTON_PID" && [[ $SECONDS -lt $end ]]; do sleep 0.2; done
	expect_le "requests in 10 s" 30 "$(audit_requests nobody | wc -l)"
	grep -qi forbidden "$SCENARIO_DIR/run.log" || fail "the log does not say that it is forbidden"
	if alive "$SEXTON_PID"; then
		sexton_stop
	else
		wait "$SEXTON_PID" || rc=$?
		expect_eq "exit status" 1 "$rc"
	fi
	note "$(audit_requests nobody | wc -l) requests"
	expect_eq "Jobs left" 5 "$(jobs_count blind)"
}

scenario_one_forbidden_namespace_does_not_stop_the_others() {
	namespaces_create mine-a theirs mine-c
	kubectl apply -f - >/dev/null <<-'RBAC'
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRole
		metadata: {name: e2e-one-namespace}
		rules:
		- {apiGroups: [batch], resources: [jobs, cronjobs], verbs: [get, list, watch, delete]}
		- {apiGroups: [""], resources: [namespaces], verbs: [get, watch]}
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: RoleBinding
		metadata: {name: e2e-sexton, namespace: mine-a}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-one-namespace}
		subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}]
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: RoleBinding
		metadata: {name: e2e-sexton, namespace: mine-c}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-one-namespace}
		subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}]
	RBAC
	config_write $'delete-qps = 0\nleader-elect = false\nnamespaces = mine-a, theirs, mine-c'
	for ns in mine-a theirs mine-c; do jobs_create "$ns" job 3; done
	for ns in mine-a theirs mine-c; do names "$ns" job 3; done | finish_bodies Complete | bulk_expect 200
	SEXTON_AS=nobody sexton_spawn run
	wait_until 20 "the Jobs of the two others to go" jobs_count_is '' 3
	expect_eq "Jobs left" 3 "$(jobs_count theirs)"
	grep -i forbidden "$SCENARIO_DIR/run.log" | grep -q theirs || fail "the log does not say that theirs is forbidden"
	SEXTON_AS=nobody sexton_stop
}

scenario_a_short_cut_of_the_network_costs_no_list() {
	namespaces_create cut
	config_write 'delete-qps = 0' 'ttl-after-failure = 1h'
	network_start net
	jobs_create cut kept 30
	jobs_finish cut kept 30 Failed
	jobs_create cut meanwhile 10
	SEXTON_VIA=net sexton_start
	wait_until 30 "all to be recorded" register_is 'SELECT count(*) FROM runs' 30
	audit_mark
	network_cut net
	jobs_finish cut meanwhile 10 Complete
	sleep 2
	network_heal net
	wait_until 60 "the Jobs to go that finished during the cut" jobs_count_is cut 30
	wait_until 30 "that to be recorded" deleted_count_is 10
	expect_eq "LISTs: the watches should have been resumed" 0 "$(audit_requests sexton | grep -c '^list' || true)"
	expect_ge "watches of Jobs" 1 "$(audit_requests sexton | grep -c '^watch jobs' || true)"
	expect_eq "DELETEs" 10 "$(audit_deletes sexton | wc -l)"
	sexton_stop
}

scenario_a_watch_is_resumed_after_the_api_server_was_away() {
	local began lists
	namespaces_create away
	config_write 'delete-qps = 0' 'ttl-after-failure = 1h'
	jobs_create away kept 30
	jobs_finish away kept 30 Failed
	job_create away before
	job_create away while-away
	sexton_start
	wait_until 10 "all to be recorded" register_is 'SELECT count(*) FROM runs' 30
	# The last change that etcd sees is one of a Job: so the API server that starts again can go on from there.
	job_annotate away kept-00000 '{"example.test/touched": "yes"}'
	apiserver_stop
	alive "$SEXTON_PID" || fail "sexton ended when the API server went away: $(tail -n 3 "$SCENARIO_DIR/run.log")"
	audit_mark
	apiserver_start
	began=$(now_ms)
	job_finish away before Complete
	wait_until 60 "a Job to go that finished after the API server came back" job_gone away before
	note "back after $(($(now_ms) - began)) ms; $(audit_requests sexton | sort | uniq -c | awk '{print $1 "x " $2, $3, $4}' | paste -sd , | sed 's/,/, /g')"
	lists=$(audit_requests sexton | grep -c '^list jobs' || true)
	expect_eq "LISTs of Jobs: the watch should have been resumed" 0 "$lists"
	expect_ge "watches of Jobs" 1 "$(audit_requests sexton | grep -c '^watch jobs' || true)"
	expect_eq "watches of Jobs from nowhere" 0 "$(audit_filter sexton 'select(.verb == "watch" and .objectRef.resource == "jobs" and .stage == "RequestReceived") | .requestURI' |
		grep -vcE '[?&]resourceVersion=[1-9]' || true)"
	# Nothing is lost that happens while it is away from a server that is killed without a word.
	job_annotate away kept-00000 '{"example.test/touched": "again"}'
	part_signal KILL kube-apiserver
	apiserver_stop
	apiserver_start
	job_finish away while-away Complete
	wait_until 60 "a Job to go after the second time" job_gone away while-away
	wait_until 10 "both to be recorded" deleted_count_is 2
	expect_le "lines of log" 100 "$(wc -l <"$SCENARIO_DIR/run.log")"
	sexton_stop
}

scenario_a_changed_configuration_is_taken_over_on_sighup() {
	namespaces_create hup
	config_write 'delete-qps = 0' 'ttl-after-failure = 1h'
	sexton_start
	jobs_create hup job 2
	jobs_finish hup job 1 Failed
	wait_until 10 "it to be recorded" register_is 'SELECT count(*) FROM runs' 1
	config_write 'delete-qps = 0' 'ttl-after-failure = soon'
	kill -HUP "$SEXTON_PID"
	wait_until 10 "a word about the configuration that makes no sense" grep -q ttl-after-failure "$SCENARIO_DIR/run.log"
	expect_eq "DELETEs on a configuration that was not understood" "" "$(audit_deletes sexton)"
	config_write 'delete-qps = 0' 'ttl-after-failure = 1s'
	kill -HUP "$SEXTON_PID"
	wait_until 10 "the Job to go" job_gone hup job-00000
	sexton_stop
}
