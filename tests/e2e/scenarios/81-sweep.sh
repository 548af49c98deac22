# shellcheck shell=bash
# sweep and the lease.

scenario_a_sweep_says_who_leads_or_takes_the_lease_itself() {
	local rc=0 holder began
	namespaces_create swept
	config_write $'delete-qps = 0\nlease-duration = 5s\nrenew-deadline = 3s\nretry-period = 1s' 'ttl-after-failure = 1h'
	mkdir "$SCENARIO_DIR/sweep"
	SEXTON_DIR=$SCENARIO_DIR/sweep config_write 'delete-qps = 0' 'ttl-after-failure = 1h'
	sexton_start
	wait_until 10 "the controller to hold the lease" lease_held
	holder=$(lease_holder)
	jobs_create swept kept 5
	jobs_finish swept kept 5 Failed

	# A leader that lives: who it is, exit status 1, and nothing touched.
	audit_mark
	SEXTON_DIR=$SCENARIO_DIR/sweep SEXTON_AS=twin sexton sweep >"$SCENARIO_DIR/leads.out" 2>&1 || rc=$?
	expect_eq "exit status of sweep while a controller leads" 1 "$rc"
	grep -qF "$holder" "$SCENARIO_DIR/leads.out" || fail "sweep does not say that $holder leads: $(cat "$SCENARIO_DIR/leads.out")"
	expect_eq "what sweep changed" "" "$(audit_changes twin)"
	expect_eq "the holder" "$holder" "$(lease_holder)"

	# A leader that died: sweep waits for its lease to end.
	sexton_kill
	began=$(now_ms)
	SEXTON_DIR=$SCENARIO_DIR/sweep SEXTON_AS=twin sexton sweep >"$SCENARIO_DIR/died.out" 2>&1
	note "sweep after a leader that was killed took $(($(now_ms) - began)) ms"
	expect_ge "ms that sweep waited for the lease of the dead, of 5 s" 4000 $(($(now_ms) - began))
	expect_eq "holder after sweep" "" "$(lease_holder)"

	# Nobody: it holds the lease while it deletes, and gives it back.
	jobs_create swept job 20
	jobs_finish swept job 20 Complete
	audit_mark
	began=$(now_ms)
	SEXTON_DIR=$SCENARIO_DIR/sweep SEXTON_AS=twin sexton sweep >"$SCENARIO_DIR/alone.out" 2>&1
	expect_le "ms that sweep took alone" 5000 $(($(now_ms) - began))
	expect_eq "Jobs left" 5 "$(jobs_count swept)"
	audit_leases twin | awk -F '\t' '{print $3, $6 == "" ? "none" : "twin"}' | uniq >"$SCENARIO_DIR/written"
	expect_eq "holders that sweep wrote" $'200 twin\n200 none' "$(cat "$SCENARIO_DIR/written")"
	expect_eq "DELETEs before it had the lease, or after it gave it back" 0 "$(audit_deletes twin | awk -F '\t' -v from="$(audit_leases twin | head -n 1 | cut -f 5)" \
		-v to="$(audit_leases twin | tail -n 1 | cut -f 4)" '$5 < from || $5 > to' | wc -l)"
}
lease_holder() { api GET /apis/coordination.k8s.io/v1/namespaces/sexton/leases/sexton | jq -r '.spec.holderIdentity // ""'; }
lease_held() { [[ -n $(lease_holder 2>/dev/null) ]]; }
