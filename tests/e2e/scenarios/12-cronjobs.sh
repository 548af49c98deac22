# shellcheck shell=bash
# What CronJobs get to see of their Jobs. On 1.20 their controller looks around every 10 s: a Job that is gone by then
# costs its CronJob the SawCompletedJob event, which people's monitoring reads, and earns it MissingJob instead.

readonly CRONJOBS=12 CRON_ROUNDS=2 # a quarter of the Jobs fail

# Two controllers, each for a namespace of its own: one as it comes, one without the guard, to show what that is for.
scenario_every_cronjob_gets_to_see_its_job_before_it_goes() {
	local round off=$SCENARIO_DIR/off on_pid off_pid total=$((CRONJOBS * CRON_ROUNDS))
	needs_kcm
	namespaces_create cron cron-off
	config_write $'delete-qps = 0\nnamespaces = cron' 'ttl-after-failure = 0s'
	sexton_start
	on_pid=$SEXTON_PID
	mkdir "$off"
	SEXTON_DIR=$off config_write $'delete-qps = 0\nnamespaces = cron-off\ncronjob-settle = 0s\nleader-elect = false' 'ttl-after-failure = 0s'
	SEXTON_DIR=$off SEXTON_AS=twin sexton_start
	off_pid=$SEXTON_PID
	cronjobs_create cron
	cronjobs_create cron-off
	for ((round = 1; round <= CRON_ROUNDS; round++)); do
		cronjobs_due cron cron-off
		wait_until 30 "round $round: the CronJob controller to make the Jobs" api_count_is /api/v1/pods $((CRONJOBS * 2))
		jobs_list | awk -F '\t' -v OFS='\t' '$2 == "cron" {$4 = $3 ~ /^bad/ ? "Failed" : "Succeeded"; print}' >>"$SCENARIO_DIR/jobs.tsv"
		pods_finish
		wait_until 40 "round $round: the Jobs to go, long before the cap of 60 s" jobs_count_is '' 0
		wait_until 20 "round $round: their Pods to go, too" api_count_is /api/v1/pods 0
	done
	wait_until 10 "all that to be recorded" deleted_count_is "$total"
	wait_until 10 "each CronJob to have seen each of its Jobs finished" cron_events_are cron SawCompletedJob "$total"
	expect_eq "MissingJob, with the guard" 0 "$(cron_events cron MissingJob)"
	note "with the guard: SawCompletedJob $(cron_events cron SawCompletedJob) of $total, MissingJob 0;" \
		"without: SawCompletedJob $(cron_events cron-off SawCompletedJob), MissingJob $(cron_events cron-off MissingJob)"
	# Later versions look at once, and may see it in time without a guard.
	[[ $E2E_MINOR -ge 21 ]] || expect_ge "CronJobs that missed something without the guard" 1 \
		$((total - $(cron_events cron-off SawCompletedJob) + $(cron_events cron-off MissingJob)))
	expect_eq "runs by owner and trigger" "CronJob scheduled $total" \
		"$(register "SELECT owner_kind || ' ' || \"trigger\" || ' ' || count(*) FROM runs WHERE cronjob = owner_name GROUP BY owner_kind, \"trigger\"")"
	cron_released
	for SEXTON_PID in "$on_pid" "$off_pid"; do sexton_stop; done
	expect_agreement "$SCENARIO_DIR/jobs.tsv"
}
# Not by the cap, nor by looking from time to time: by the event that tells of the CronJob's change. How long that took,
# to the second that the time of SawCompletedJob is told in.
cron_released() {
	local latest
	api GET /api/v1/namespaces/cron/events | jq -r '.items[] | select(.reason == "SawCompletedJob") |
		[(.message | capture("job: (?<job>[^,]+)").job), (.lastTimestamp | fromdate)] | @tsv' | sort >"$SCENARIO_DIR/seen.tsv"
	audit_deletes sexton | awk -F '\t' -v OFS='\t' '$4 == 200 && $7 == "cron" && last[$8] < $5 {last[$8] = $5} END {for (job in last) print job, last[job]}' | sort >"$SCENARIO_DIR/gone.tsv"
	expect_eq "Jobs that were seen and are gone" "$(cut -f 1 "$SCENARIO_DIR/gone.tsv")" "$(cut -f 1 "$SCENARIO_DIR/seen.tsv")"
	latest=$(join -t $'\t' "$SCENARIO_DIR/seen.tsv" "$SCENARIO_DIR/gone.tsv" | awk -F '\t' '{ms = $3 / 1000 - $2 * 1000; if (ms > most) most = ms} END {printf "%d", most}')
	note "deleted at most $latest ms after the second in which the CronJob saw it"
	expect_le "ms from SawCompletedJob to the DELETE" 3000 "$latest"
}
cronjobs_names() {
	seq -f 'tick-%g' $((CRONJOBS - CRONJOBS / 4))
	seq -f 'bad-%g' $((CRONJOBS / 4))
}
cronjobs_create() {
	cronjobs_names | jq -cR --arg v "$CRONJOB_API" --arg ns "$1" '{method: "POST", path: "/apis/\($v)/namespaces/\($ns)/cronjobs", body: {apiVersion: $v, kind: "CronJob",
		metadata: {name: .}, spec: {schedule: "*/5 * * * *", concurrencyPolicy: "Forbid", jobTemplate: {metadata: {annotations: {"example.test/team": "blue"}},
		spec: {backoffLimit: 0, template: {spec: {restartPolicy: "Never", containers: [{name: "work", image: "example.test/work:1"}]}}}}}}}' | bulk_expect 201
}
# cronjobs_due NAMESPACE...: as if a run had been due a moment ago. The controller makes up for it at its next round.
cronjobs_due() {
	local space
	for space in "$@"; do
		cronjobs_names | jq -cR --arg v "$CRONJOB_API" --arg ns "$space" --arg at "$(date -u -d '-7 min' +%FT%TZ)" '{method: "PATCH",
			path: "/apis/\($v)/namespaces/\($ns)/cronjobs/\(.)/status", type: "application/merge-patch+json", body: {status: {lastScheduleTime: $at}}}'
	done | bulk_expect 200
}
cron_events() {
	api GET "/api/v1/namespaces/$1/events" | jq --arg reason "$2" '[.items[] | select(.involvedObject.kind == "CronJob" and .reason == $reason) | .count // 1] | add // 0'
}
cron_events_are() { [[ $(cron_events "$1" "$2") == "$3" ]]; }
