# shellcheck shell=bash
# Who saw what, and whether it was right: a witness that watches all Jobs, a trace of what the register was told and
# when, and the judgement over both and the API server's audit log. None of it asks the controller, nor takes its
# word for when a Job finished, what its TTL was, or in which order it did things.
#
# To be sourced after lib.sh; works on $SCENARIO_DIR.

# end_with_scenario PID...: processes of a scenario that are to end with it, however it ends
END_WITH_SCENARIO=()
end_with_scenario() {
	END_WITH_SCENARIO+=("$@")
	trap 'kill "${END_WITH_SCENARIO[@]}" 2>/dev/null || true' EXIT
}

# ---------------------------------------------------------------- the truth

# What is true of the Jobs is in truth.tsv, a line for each version of one that was seen: type (DELETED when it went),
# uid, resourceVersion, namespace, name, outcome (Succeeded, Failed or -), finished (Unix ms, 0 for not yet).
readonly TRUTH_OF_JOB='def truth($type): ([.status.conditions[]? | select(.status == "True" and (.type == "Complete" or .type == "Failed"))] | first) as $how |
	[$type, .metadata.uid, .metadata.resourceVersion, .metadata.namespace, .metadata.name,
	($how.type // "-" | if . == "Complete" then "Succeeded" else . end), (if $how then $how.lastTransitionTime | fromdate * 1000 else 0 end)] | @tsv;'

# Where the API server comes and goes: truth_look after Jobs were made or finished, while nothing can delete them, and
# truth_end when all is over.
truth_look() { api GET /apis/batch/v1/jobs | jq -r "$TRUTH_OF_JOB"' .items[] | truth("SEEN")' >>"$SCENARIO_DIR/truth.tsv"; }
truth_end() {
	jobs_list | cut -f 1 | awk -F '\t' -v OFS='\t' 'FILENAME == "-" {there[$1] = 1; next} !($2 in there) && !told[$2]++ {print "DELETED", $2, "-", $4, $5, "-", 0}' \
		- "$SCENARIO_DIR/truth.tsv" >"$SCENARIO_DIR/truth.end"
	cat "$SCENARIO_DIR/truth.end" >>"$SCENARIO_DIR/truth.tsv"
}

# Where it stays up: witness_start. From here on every change of a Job is written down, by a watch of the test's own,
# which goes on where it was when the API server ends it (as it does to one that cannot keep up).
witness_start() {
	local rv
	rv=$(api GET '/apis/batch/v1/jobs?limit=1' | jq -r .metadata.resourceVersion)
	witness_watch "$rv" &
	WITNESS_PID=$!
	end_with_scenario "$WITNESS_PID"
}
witness_watch() {
	local rv=$1 last pid
	trap 'kill "$pid"; exit' TERM
	while true; do
		curl -sSN --cacert "$E2E/tls/ca.crt" --cert "$E2E/tls/admin.crt" --key "$E2E/tls/admin.key" \
			"$API/apis/batch/v1/jobs?watch=1&resourceVersion=$rv" >>"$SCENARIO_DIR/witness.json" 2>>"$SCENARIO_DIR/witness.log" &
		pid=$!
		wait "$pid" || true
		say "the watch of the witness ended after $rv"
		last=$(tail -n 1 "$SCENARIO_DIR/witness.json" | jq -rR 'fromjson? | .object.metadata.resourceVersion // empty')
		[[ $last =~ ^[0-9]+$ ]] || fail "the witness lost its way: $(tail -n 1 "$SCENARIO_DIR/witness.json" | cut -c 1-300)"
		rv=$last
	done
}
# A last Job shows that it has seen all before it.
witness_stop() {
	job_create default witnessed
	wait_until 20 "the witness to have seen everything" grep -q '"name":"witnessed"' "$SCENARIO_DIR/witness.json"
	kill "$WITNESS_PID"
	jq -rR "$TRUTH_OF_JOB"' fromjson? | select(.object.kind == "Job" and .object.metadata.name != "witnessed") | .type as $type | .object | truth($type)' \
		"$SCENARIO_DIR/witness.json" >"$SCENARIO_DIR/truth.tsv"
	rm "$SCENARIO_DIR/witness.json"
	api_quiet DELETE "$(jobs_path default witnessed)?propagationPolicy=Background"
}

# ---------------------------------------------------------------- the trace

# register_trace [REGISTER]: triggers write down every intent to delete, in the transaction that commits it and in the
# order of the commits. The last one alone, which the row keeps, would not do for a Job that was tried twice.
register_trace() {
	sqlite3 -cmd '.timeout 10000' "${1:-$SCENARIO_DIR/history.db}" >/dev/null <<-'SQL'
		CREATE TABLE test_intents (seq INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL, requested_at INTEGER NOT NULL, recorded_at INTEGER NOT NULL);
		CREATE TRIGGER test_intent_made AFTER INSERT ON runs WHEN NEW.delete_requested_at IS NOT NULL BEGIN
			INSERT INTO test_intents (uid, requested_at, recorded_at) VALUES (NEW.job_uid, NEW.delete_requested_at, NEW.recorded_at);
		END;
		CREATE TRIGGER test_intent_changed AFTER UPDATE ON runs WHEN NEW.delete_requested_at IS NOT OLD.delete_requested_at AND NEW.delete_requested_at IS NOT NULL BEGIN
			INSERT INTO test_intents (uid, requested_at, recorded_at) VALUES (NEW.job_uid, NEW.delete_requested_at, NEW.recorded_at);
		END;
	SQL
}
# register_after_kill: the register as the dead left it, read from a copy, so that it is the next controller that has
# to recover it. A line in kills.tsv: when (Unix us), intents committed until then, rows that are left in between.
register_after_kill() {
	local copy=$E2E_ETCD/register found
	cp "$SCENARIO_DIR/history.db" "$copy.db"
	rm -f "$copy.db-wal"
	[[ ! -f $SCENARIO_DIR/history.db-wal ]] || cp "$SCENARIO_DIR/history.db-wal" "$copy.db-wal"
	found=$(sqlite3 -separator $'\t' "$copy.db" "SELECT (SELECT coalesce(max(seq), 0) FROM test_intents),
		(SELECT count(*) FROM runs WHERE delete_state = 'deleting'), (SELECT quick_check FROM pragma_quick_check)")
	rm -f "$copy.db" "$copy.db-wal" "$copy.db-shm"
	expect_match "the register after kill -9" $'\tok$' "$found"
	printf '%s\t%s\n' "${1}000" "${found%$'\t'ok}" >>"$SCENARIO_DIR/kills.tsv"
}

# ---------------------------------------------------------------- the judgement

# Registers, as USER=FILE: what this user did is in it; * stands for whoever. By default the scenario's, of everybody.
JUDGE_REGISTERS=()

# judge CLASSES [USER...]: the users are those that the controllers go by (default: sexton). CLASSES is SQL that tells
# for a Job `name` what is to become of it: its TTL in ms, or NULL for one that has to stay.
judge() {
	local db=$SCENARIO_DIR/judge.db problems user users=("${@:2}")
	[[ ${#users[@]} -gt 0 ]] || users=(sexton)
	[[ ${#JUDGE_REGISTERS[@]} -gt 0 ]] || JUDGE_REGISTERS=("*=$SCENARIO_DIR/history.db")
	rm -f "$db"
	for user in "${users[@]}"; do
		{
			audit_deletes "$user"
			audit_deletes_unanswered "$user"
		} | sed "s/^/$user\t/"
	done >"$SCENARIO_DIR/deletes.tsv"
	jobs_list >"$SCENARIO_DIR/left.tsv"
	touch "$SCENARIO_DIR/kills.tsv"
	{
		judge_tables "$1"
		judge_deletes
		judge_records
	} >"$SCENARIO_DIR/judge.sql"
	problems=$(sqlite3 -cmd '.timeout 10000' -cmd '.mode tabs' "$db" <"$SCENARIO_DIR/judge.sql")
	[[ -z $problems ]] || fail "judged $(wc -l <"$SCENARIO_DIR/deletes.tsv") DELETEs; wrong ($(wc -l <<<"$problems") times): $(cut -f 1 <<<"$problems" | sort | uniq -c | paste -sd , | tr -s ' ')
$(head -n 10 <<<"$problems")"
}
judged() { sqlite3 -readonly -separator ' ' "$SCENARIO_DIR/judge.db" "$1"; }
# In a few words, for a note
judged_summary() {
	judged "SELECT count(*) || ' DELETEs (' || (SELECT group_concat(code || ': ' || n, ', ') FROM (SELECT code, count(*) AS n FROM del GROUP BY code)) || ')' FROM del"
	judged "SELECT '; ' || count(*) || ' Jobs finished, of which ' || sum(gone) || ' are deleted; by whom is not known of ' ||
		(SELECT count(*) FROM run WHERE delete_cause = 'unknown') FROM job WHERE finished_ms > 0"
}

judge_tables() {
	local i run='' intent='' user
	cat <<-SQL
		CREATE TABLE del (user TEXT, uid TEXT, rv TEXT, policy TEXT, code INTEGER, received_us INTEGER, answered_us INTEGER, ns TEXT, name TEXT);
		CREATE TABLE seen (type TEXT, uid TEXT, rv TEXT, ns TEXT, name TEXT, outcome TEXT, finished_ms INTEGER);
		CREATE TABLE remains (uid TEXT PRIMARY KEY, ns TEXT, name TEXT, outcome TEXT);
		CREATE TABLE kill (at_us INTEGER, seq INTEGER, left_open INTEGER);
		.import $SCENARIO_DIR/deletes.tsv del
		.import $SCENARIO_DIR/truth.tsv seen
		.import $SCENARIO_DIR/left.tsv remains
		.import $SCENARIO_DIR/kills.tsv kill
		CREATE INDEX seen_uid ON seen (uid);
	SQL
	for i in "${!JUDGE_REGISTERS[@]}"; do
		user=${JUDGE_REGISTERS[i]%%=*}
		echo "ATTACH 'file:${JUDGE_REGISTERS[i]#*=}?mode=ro' AS register_$i;"
		run+="${run:+ UNION ALL }SELECT '$user' AS user, * FROM register_$i.runs"
		intent+="${intent:+ UNION ALL }SELECT '$user' AS user, * FROM register_$i.test_intents"
	done
	cat <<-SQL
		CREATE TABLE run AS $run;
		CREATE TABLE intent AS $intent;
		CREATE INDEX run_uid ON run (job_uid);
		CREATE INDEX intent_uid ON intent (uid);
		-- The version in which it was finished tells when, and how.
		CREATE TABLE job AS SELECT uid, ns, name, max(outcome) AS outcome, max(finished_ms) AS finished_ms, $1 AS ttl_ms,
			max(type = 'DELETED') AS gone FROM seen GROUP BY uid;
		CREATE UNIQUE INDEX job_uid ON job (uid);
		CREATE INDEX job_name ON job (ns, name);
		-- A request that a kill -9 cut off is in the audit log without its body, and was refused. One over which the
		-- API server died is there without its body, too, and may have been carried out.
		UPDATE del SET uid = coalesce((SELECT max(job.uid) FROM job WHERE (job.ns, job.name) = (del.ns, del.name) HAVING count(*) = 1), '-'),
			rv = 'cut off' WHERE uid = '-' AND code <> 200 AND policy = '-';
		CREATE INDEX del_uid ON del (uid);
		-- Told as 500, or 504, whether it was still in time to stop it or not: one whose sender died, or etcd was away.
		CREATE TABLE effect AS SELECT user, uid, received_us FROM del WHERE code IN (0, 200) OR (code >= 500 AND rv <> 'cut off');
		CREATE INDEX effect_uid ON effect (uid);
	SQL
}
judge_deletes() {
	cat <<-'SQL'
		SELECT 'DELETE without preconditions or Background', * FROM del WHERE uid = '-' OR rv = '-' OR (policy <> 'Background' AND rv <> 'cut off');
		SELECT 'DELETE of what never was', * FROM del WHERE uid NOT IN (SELECT uid FROM job);
		SELECT 'DELETE of what had not finished, or has to stay', del.*, j.finished_ms, j.ttl_ms FROM del JOIN job j USING (uid) WHERE j.finished_ms = 0 OR j.ttl_ms IS NULL;
		SELECT 'DELETE before its TTL had passed', del.*, j.finished_ms, j.ttl_ms FROM del JOIN job j USING (uid) WHERE received_us < (j.finished_ms + j.ttl_ms) * 1000;
		SELECT 'DELETE in a version in which it had not finished', * FROM del WHERE rv <> 'cut off' AND NOT EXISTS
			(SELECT 1 FROM seen WHERE (seen.uid, seen.rv) = (del.uid, del.rv) AND finished_ms > 0 AND type <> 'DELETED');
		SELECT 'DELETE without an intent on record before it', * FROM del WHERE NOT EXISTS
			(SELECT 1 FROM intent i WHERE i.uid = del.uid AND i.user IN ('*', del.user) AND i.requested_at * 1000 <= received_us AND i.recorded_at * 1000 <= received_us);
		-- Whoever sent it was killed later. What was not committed by then never was.
		SELECT 'DELETE without an intent committed before its sender died', del.*, k.* FROM del JOIN kill k ON k.at_us =
			(SELECT min(at_us) FROM kill WHERE at_us >= received_us) WHERE NOT EXISTS (SELECT 1 FROM intent i WHERE i.uid = del.uid AND i.seq <= k.seq);
		SELECT 'deleted more than once', uid, count(*) FROM del WHERE code = 200 GROUP BY uid HAVING count(*) > 1;
	SQL
}
judge_records() {
	cat <<-'SQL'
		SELECT 'recorded more than once', user, job_uid, count(*) FROM run GROUP BY user, job_uid HAVING count(*) > 1;
		SELECT 'finished, but not on record', * FROM job WHERE finished_ms > 0 AND uid NOT IN (SELECT job_uid FROM run);
		SELECT 'on record, but never finished', user, job_uid, job_name FROM run WHERE job_uid NOT IN (SELECT uid FROM job WHERE finished_ms > 0);
		SELECT 'recorded otherwise', j.*, r.user, r.namespace, r.job_name, r.outcome, r.finished_at FROM job j JOIN run r ON r.job_uid = uid
			WHERE (ns, name, j.outcome, j.finished_ms) IS NOT (r.namespace, r.job_name, r.outcome, r.finished_at);
		SELECT 'left in between', user, job_uid, job_name, delete_state FROM run WHERE delete_state NOT IN ('deleted', 'kept');
		SELECT 'to be deleted, but still there', * FROM job WHERE finished_ms > 0 AND ttl_ms IS NOT NULL AND (NOT gone OR uid IN (SELECT uid FROM remains));
		SELECT 'to stay, but gone', * FROM job WHERE (finished_ms = 0 OR ttl_ms IS NULL) AND (gone OR uid NOT IN (SELECT uid FROM remains));
		SELECT 'gone, but not by us', * FROM job WHERE gone AND uid NOT IN (SELECT uid FROM effect);
		SELECT 'on record with another end', j.*, r.user, r.delete_state, r.delete_cause, r.deleted_at FROM job j JOIN run r ON r.job_uid = uid
			WHERE (r.delete_state, r.deleted_at IS NULL) IS NOT (iif(gone, 'deleted', 'kept'), NOT gone);
		-- Who asked may have died before the answer came: then the next cannot tell who it was. But it is ours.
		SELECT 'gone by us, but nobody has it on record', * FROM job j WHERE gone AND NOT EXISTS (SELECT 1 FROM run r JOIN effect e ON e.uid = r.job_uid AND r.user IN ('*', e.user)
			WHERE r.job_uid = j.uid AND r.delete_cause IN ('ttl', 'unknown'));
		SELECT 'on record as ours, but it is not', r.user, r.job_uid, r.job_name FROM run r WHERE r.delete_cause = 'ttl' AND NOT EXISTS
			(SELECT 1 FROM effect e WHERE e.uid = r.job_uid AND r.user IN ('*', e.user));
		SELECT 'on record as deleted before it was asked for', r.user, r.job_uid, r.job_name, r.deleted_at FROM run r WHERE delete_cause = 'ttl' AND deleted_at <
			(SELECT min(received_us) / 1000 FROM effect e WHERE e.uid = r.job_uid);
	SQL
}

# ---------------------------------------------------------------- the lease

# Of these users, what they wrote to leases, a line each: user, verb, status, received and answered (Unix us), the holder
# that they wrote.
audit_leases() {
	local user
	for user in "$@"; do
		audit_since | grep -F '"resource":"leases"' | grep -F "\"username\":\"$user\"" | jq -rR "$AUDIT_US"' fromjson? |
			select((.verb == "create" or .verb == "update" or .verb == "patch") and .stage == "ResponseComplete") |
			[.user.username, .verb, .responseStatus.code, (.requestReceivedTimestamp | us), (.stageTimestamp | us), .requestObject.spec.holderIdentity // ""] | @tsv' || true
	done | sort -t $'\t' -k 4,4n
}
# judge_leases RENEW-DEADLINE-MS USER...: after judge. Each DELETE had a lease: its user had written to it within the
# renew deadline, since it was started last (starts.tsv: user, Unix us), and nobody else had since, nor was it given back.
# A quarter of a second is for the way to the server.
judge_leases() {
	local problems
	audit_leases "${@:2}" >"$SCENARIO_DIR/leases.tsv"
	problems=$(sqlite3 -cmd '.timeout 10000' -cmd '.mode tabs' "$SCENARIO_DIR/judge.db" <<-SQL
		CREATE TABLE lease (user TEXT, verb TEXT, code INTEGER, received_us INTEGER, answered_us INTEGER, holder TEXT);
		CREATE TABLE start (user TEXT, at_us INTEGER);
		.import $SCENARIO_DIR/leases.tsv lease
		.import $SCENARIO_DIR/starts.tsv start
		DELETE FROM lease WHERE code NOT IN (200, 201);
		SELECT 'DELETE without a lease', d.*, (SELECT group_concat(user || ' ' || holder || ' ' || ((d.received_us - received_us) / 1000) || ' ms ago', ', ') FROM
				(SELECT * FROM lease WHERE received_us <= d.received_us ORDER BY received_us DESC LIMIT 3)) FROM del d WHERE NOT EXISTS (
			SELECT 1 FROM lease l WHERE l.user = d.user AND l.holder <> '' AND l.received_us BETWEEN d.received_us - ($1 + 250) * 1000 AND d.received_us
				AND l.received_us >= (SELECT coalesce(max(at_us), 0) FROM start s WHERE s.user = d.user AND s.at_us <= d.received_us)
				AND NOT EXISTS (SELECT 1 FROM lease m WHERE m.received_us > l.received_us AND m.received_us < d.received_us AND (m.user <> l.user OR m.holder = '')));
		SELECT 'two who hold it under one name', holder, count(DISTINCT user) FROM lease WHERE holder <> '' GROUP BY holder HAVING count(DISTINCT user) > 1;
	SQL
	)
	[[ -z $problems ]] || fail "wrong ($(wc -l <<<"$problems") times):
$(head -n 10 <<<"$problems")"
}
