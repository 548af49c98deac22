# shellcheck shell=bash
# kill -9, again and again, at moments that nobody chose.

readonly KILLS=200 # with a batch of 25 Jobs that finish for each: 3 of them stay
scenario_limit killed_200_times_it_loses_and_repeats_nothing 600

# 5,000 Jobs finish while it is killed 200 times, each time after 0 to 0.7 s, and started again at once.
# Without a lease, for which each would have to wait until that of the dead one is over.
# E2E_SEED repeats a sequence of moments (but not, of course, what happens at them).
scenario_killed_200_times_it_loses_and_repeats_nothing() {
	local seed=${E2E_SEED:-$((SRANDOM % 32768))} batch feeder began spaces
	local classes="CASE substr(name, 1, instr(name, '-') - 1) WHEN 'ok' THEN 0 WHEN 'bad' THEN 3000 WHEN 'slow' THEN 5000 END"
	note "seed $seed (E2E_SEED=$seed)"
	mapfile -t spaces < <(seq -f 'killed-%g' 0 4)
	namespaces_create "${spaces[@]}"
	config_write $'delete-qps = 0\nleader-elect = false' $'ttl-after-success = 0s\nttl-after-failure = 3s'
	sexton_start
	sexton_stop
	register_trace
	witness_start
	killed_requests
	mkfifo "$SCENARIO_DIR/wanted" "$SCENARIO_DIR/made" "$SCENARIO_DIR/never"
	exec 7<>"$SCENARIO_DIR/made" 8<>"$SCENARIO_DIR/wanted" 9<>"$SCENARIO_DIR/never"
	killed_feed &
	feeder=$!
	began=$(now_ms)
	RANDOM=$seed
	for ((batch = 0; batch < KILLS; batch++)); do
		echo "$batch" >&8
		killed_once $((RANDOM % 700)) "$batch"
	done
	note "$KILLS kills in $((($(now_ms) - began) / 1000)) s"
	echo end >&8
	sexton_spawn run
	wait "$feeder" || fail "the Jobs could not be made: see above"
	wait_until 60 "all that is to go to be gone" jobs_count_is '' $((KILLS * 4))
	wait_until 20 "that to be recorded" deleted_count_is $((KILLS * 22))
	sexton_stop
	witness_stop
	judge "$classes" sexton
	expect_eq "runs that the register tells, and how many of them differ" "$((KILLS * 25)) $((KILLS * 25))" \
		"$(sexton_history list -o json | jq -r '[.[].uid] | "\(length) \(unique | length)"')"
	expect_eq "integrity of the register" ok "$(register 'PRAGMA integrity_check')"
	note "$(awk '$3 > 0 {n++} END {print n + 0}' "$SCENARIO_DIR/kills.tsv") kills left rows in between, $(awk '{n += $3} END {print n}' "$SCENARIO_DIR/kills.tsv") in all;" \
		"$(judged_summary | paste -sd '')"
}
sexton_history() { "$SEXTON" history "$1" --store "sqlite:$SCENARIO_DIR/history.db" "${@:2}"; }

# killed_once MS BATCH: it is started, killed after so long, and the register is looked at. On a busy machine it may
# live for longer: until no more than two batches are still to be made.
killed_once() {
	local at made=none
	sexton_spawn run
	until [[ $(readlink "/proc/$SEXTON_PID/exe") == "$(readlink -f "$SEXTON")" ]]; do :; done # no longer the shell
	[[ $2 -lt 3 ]] || read -r -t 60 -u 7 made || fail "the Jobs could not be made: $made, then no more"
	read -r -t "$(printf '0.%03d' "$1")" -u 9 || true
	alive "$SEXTON_PID" || fail "sexton ended by itself: $(tail -n 3 "$SCENARIO_DIR/run.log")"
	sexton_kill
	at=$(now_ms)
	register_after_kill "$at"
}

# Every batch: 16 that succeed, 4 that fail, 2 that succeed and stay for 5 s, 1 that is held, 2 for ever; and one more
# that never finishes. One jq for all of them; the requests of a batch are in create.NNN, its names in names.NNN.
killed_requests() {
	local batch
	for ((batch = 0; batch < KILLS; batch++)); do
		printf "killed-$((batch % 5)) %s-$batch\n" ok-{01..16} bad-{1..4} slow-{1..2} held-1 ever-{1..2} open-1
	done >"$SCENARIO_DIR/names"
	job_bodies 0 <"$SCENARIO_DIR/names" | jq -c '.body.metadata.annotations = ({slow: {"sexton.dev/ttl-after-success": "5s"},
		held: {"sexton.dev/hold": "true"}, ever: {"sexton.dev/ttl-after-success": "never"}}[.body.metadata.name | split("-")[0]])' >"$SCENARIO_DIR/create"
	split -d -a 3 -l 26 "$SCENARIO_DIR/create" "$SCENARIO_DIR/create."
	split -d -a 3 -l 26 "$SCENARIO_DIR/names" "$SCENARIO_DIR/names."
}
# A batch for each number that comes, made at once and finished one Job after the other.
killed_feed() {
	local batch
	while read -r batch <&8 && [[ $batch != end ]]; do
		batch=$(printf %03d "$batch")
		E2E_PARALLEL=4 bulk_expect 201 <"$SCENARIO_DIR/create.$batch"
		{
			grep -Ev ' (bad|open)' "$SCENARIO_DIR/names.$batch" | finish_bodies Complete
			grep ' bad' "$SCENARIO_DIR/names.$batch" | finish_bodies Failed
		} | E2E_PARALLEL=2 bulk_expect 200
		echo "$batch" >&7
	done
}
