# shellcheck shell=bash
# Two controllers on one cluster, of which one acts: as sexton and as twin, each with a network of its own to the API
# server, while Jobs finish all the time. The leader is killed, stopped, cut off, forbidden the
# lease, and ended in turn.

readonly TWO_CLASSES="CASE substr(name, 1, instr(name, '-') - 1) WHEN 'ok' THEN 0 WHEN 'bad' THEN 2000 WHEN 'wake' THEN 9000 END"
declare -A TWO_PID=()

scenario_of_two_with_a_register_each_only_the_leader_deletes() {
	JUDGE_REGISTERS=("sexton=$SCENARIO_DIR/sexton/history.db" "twin=$SCENARIO_DIR/twin/history.db")
	two_setup each 'lease-duration = 3s' 'renew-deadline = 2s' 'retry-period = 1s'
	two_turns 2000 kill stop cut forbid end
}

# A register has one writer: who comes second waits, not ready, and takes over when the first has ended.
scenario_of_two_with_one_register_the_second_waits_until_the_first_ends() {
	local first
	JUDGE_REGISTERS=("*=$SCENARIO_DIR/sexton/history.db")
	two_setup shared 'lease-duration = 3s' 'renew-deadline = 2s' 'retry-period = 1s'
	first=$(two_leader)
	expect_eq "who says that another controller has the register" 1 "$(grep -l 'another controller writes to it' "$SCENARIO_DIR"/{sexton,twin}/run.log | grep -vc "/$first/")"
	two_turns 2000 kill end kill
}

scenario_the_next_leader_takes_over_in_time() {
	local old new
	JUDGE_REGISTERS=("sexton=$SCENARIO_DIR/sexton/history.db" "twin=$SCENARIO_DIR/twin/history.db")
	two_setup next
	two_turn kill
	expect_le "ms from kill -9 of the leader to a DELETE by the next, at default timings" 20000 "$TOOK_MS"
	two_turn end
	expect_le "ms from SIGTERM to the leader to a DELETE by the next, at default timings" 3000 "$TOOK_MS"
	two_over 10000
}

# two_setup NAMESPACES [LINES OF [sexton]...]: both run, one leads, Jobs come
two_setup() {
	local user lines
	TWO_NS=$1
	namespaces_create "$TWO_NS-a" "$TWO_NS-b"
	lines=$(printf '%s\n' 'delete-qps = 0' "${@:2}")
	for user in sexton twin; do
		mkdir "$SCENARIO_DIR/$user"
		SEXTON_DIR=$SCENARIO_DIR/$user config_write "$lines" $'ttl-after-success = 0s\nttl-after-failure = 2s'
		if [[ ${#JUDGE_REGISTERS[@]} -eq 1 ]]; then sed -i "s,^store = .*,store = sqlite:${JUDGE_REGISTERS[0]#*=}," "$SCENARIO_DIR/$user/config.ini"; fi
		network_start "net-$user" "$user"
	done
	witness_start
	for user in sexton twin; do
		two_start "$user"
		if [[ ${#JUDGE_REGISTERS[@]} -eq 2 || $user == sexton ]]; then register_trace "$SCENARIO_DIR/$user/history.db"; fi
	done
	two_stream 2>"$SCENARIO_DIR/stream.log" &
	STREAM_PID=$!
	wait_until 10 "one of them to lead and delete" two_deleted_since sexton 0
}
two_start() {
	printf '%s\t%s000\n' "$1" "$(now_ms)" >>"$SCENARIO_DIR/starts.tsv"
	if [[ ${#JUDGE_REGISTERS[@]} -eq 2 ]]; then
		SEXTON_DIR=$SCENARIO_DIR/$1 SEXTON_AS=$1 SEXTON_VIA=net-$1 sexton_start
	else
		: >"$SCENARIO_DIR/$1/run.log"
		SEXTON_DIR=$SCENARIO_DIR/$1 SEXTON_AS=$1 SEXTON_VIA=net-$1 sexton_spawn run --listen 127.0.0.1:0
		wait_until 20 "$1 to know all Jobs, or to say who has the register" grep -qE 'in sync|another controller writes to it' "$SCENARIO_DIR/$1/run.log"
	fi
	TWO_PID[$1]=$SEXTON_PID
}
# Eight Jobs that are to go, one that is held and one that does not finish, over and over, some 20 a second.
two_stream() {
	local n=0
	while [[ ! -e $SCENARIO_DIR/enough ]]; do
		n=$((n + 1))
		printf '%s\n' "$TWO_NS-"{a,b}" ok-"{1..3}"-$n" "$TWO_NS-"{a,b}" bad-1-$n" | tee "$SCENARIO_DIR/stream" | job_bodies 0 >"$SCENARIO_DIR/stream.make"
		echo "$TWO_NS-a held-$n" | job_bodies 0 '{"annotations": {"sexton.dev/hold": "true"}}' >>"$SCENARIO_DIR/stream.make"
		echo "$TWO_NS-b open-$n" | job_bodies 0 >>"$SCENARIO_DIR/stream.make"
		bulk_expect 201 <"$SCENARIO_DIR/stream.make"
		{
			{
				grep ' ok' "$SCENARIO_DIR/stream"
				echo "$TWO_NS-a held-$n"
			} | finish_bodies Complete
			grep ' bad' "$SCENARIO_DIR/stream" | finish_bodies Failed
		} | E2E_PARALLEL=2 bulk_expect 200
	done
}

# two_turns RENEW-DEADLINE-MS TURN...
two_turns() {
	local turn
	for turn in "${@:2}"; do two_turn "$turn"; done
	two_over "$1"
}
# two_turn kill|stop|cut|forbid|end: what happens to the leader; sets TOOK_MS, from then to the first DELETE by the other
two_turn() {
	local old new=sexton at
	old=$(two_leader)
	[[ $old != sexton ]] || new=twin
	if [[ $1 == stop ]]; then
		two_wake_jobs
		two_stop_unlocked "$old"
	fi
	at=$(now_ms)
	case $1 in
	kill) SEXTON_PID=${TWO_PID[$old]} sexton_kill ;;
	cut) network_cut "net-$old" ;;
	forbid) lease_forbid "$old" ;;
	end) kill -TERM "${TWO_PID[$old]}" ;;
	esac
	wait_until 30 "$1: $new to delete instead of $old" two_deleted_since "$new" "$at"
	TOOK_MS=$(audit_deletes "$new" | awk -F '\t' -v at="$at" '$5 >= at * 1000 && (!first || $5 < first) {first = $5} END {printf "%d", first / 1000 - at}')
	note "$1: $new deletes $TOOK_MS ms after"
	case $1 in
	kill) two_start "$old" ;;
	stop)
		[[ $(now_ms) -lt $WAKE_DUE ]] || note "$old wakes up late: this machine is busy"
		sleep_until_ms $((WAKE_DUE - 10))
		kill -CONT "${TWO_PID[$old]}"
		;;
	cut)
		sleep 1
		network_heal "net-$old"
		;;
	forbid) lease_allow "$old" ;;
	end)
		wait_until 10 "$old to end after SIGTERM" gone "${TWO_PID[$old]}"
		wait "${TWO_PID[$old]}" || fail "$old: exit status $? after SIGTERM"
		two_start "$old"
		;;
	esac
	sleep 1.5 # in which it might do what it should not
	alive "${TWO_PID[$old]}" || fail "$1: $old ended: $(tail -n 3 "$SCENARIO_DIR/$old/run.log")"
	[[ $(two_leader) == "$new" ]] || fail "$1: $new leads no more"
}
# Jobs that are all due at one moment, WAKE_DUE. That is when the leader wakes up that was stopped: it has all of them
# in its hands, and has to find out first that it does not lead any more.
two_wake_jobs() {
	jobs_create "$TWO_NS-a" wake 150 '{"annotations": {"sexton.dev/ttl-after-success": "9s"}}'
	names "$TWO_NS-a" wake 150 | finish_bodies Complete >"$SCENARIO_DIR/wake"
	WAKE_DUE=$(($(jq -r '.body.status.completionTime | fromdate' "$SCENARIO_DIR/wake" | sed -n 1p) * 1000 + 9000))
	bulk_expect 200 <"$SCENARIO_DIR/wake"
}
# Whoever stops in the middle of a transaction holds the register: that is SQLite's, and not what this is about.
two_stop_unlocked() {
	local tries
	for tries in {1..20}; do
		kill -STOP "${TWO_PID[$1]}"
		! sqlite3 "${JUDGE_REGISTERS[0]#*=}" 'BEGIN IMMEDIATE; ROLLBACK' 2>/dev/null || return 0
		kill -CONT "${TWO_PID[$1]}"
		sleep 0.05
	done
	fail "$1 holds the register at all times ($tries times)"
}
two_leader() { audit_leases sexton twin | awk -F '\t' '$3 < 300 && $6 != "" {user = $1} END {print user}'; }
two_deleted_since() { [[ -n $(audit_deletes "$1" | awk -F '\t' -v at="$2" '$4 == 200 && $5 >= at * 1000 {print; exit}') ]]; }

# two_over RENEW-DEADLINE-MS: no more Jobs come; all is done, and judged
two_over() {
	local register user
	touch "$SCENARIO_DIR/enough"
	wait "$STREAM_PID" || fail "the Jobs could not be made: $(tail -n 3 "$SCENARIO_DIR/stream.log")"
	wait_until 30 "all that is to go to be gone" two_done
	for register in "${JUDGE_REGISTERS[@]}"; do
		SEXTON_DIR=$(dirname "${register#*=}")
		wait_until 20 "all rows of $register to be settled" register_is "SELECT count(*) FROM runs WHERE delete_state NOT IN ('deleted', 'kept')" 0
	done
	unset SEXTON_DIR
	for user in sexton twin; do SEXTON_PID=${TWO_PID[$user]} sexton_stop; done
	witness_stop
	judge "$TWO_CLASSES" sexton twin
	judge_leases "$1" sexton twin
	note "$(judged_summary | paste -sd ''); DELETEs by" "$(judged 'SELECT user, count(*) FROM del GROUP BY user' | paste -sd ,)"
}
two_done() { [[ -z $(jobs_list | awk -F '\t' '$3 ~ /^(ok|bad|wake)/ {print; exit}') ]]; }
