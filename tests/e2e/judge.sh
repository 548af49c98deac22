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

# Where it stays up: witness_start. From here on every change of a Job is written down, by a watch of the test's own.
witness_start() {
	local rv
	rv=$(api GET '/apis/batch/v1/jobs?limit=1' | jq -r .metadata.resourceVersion)
	curl -sSN --cacert "$E2E/tls/ca.crt" --cert "$E2E/tls/admin.crt" --key "$E2E/tls/admin.key" \
		"$API/apis/batch/v1/jobs?watch=1&resourceVersion=$rv" >"$SCENARIO_DIR/witness.json" 2>"$SCENARIO_DIR/witness.log" &
	WITNESS_PID=$!
	end_with_scenario "$WITNESS_PID"
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

# judge CLASSES USER...: the users are those that the controller goes by. CLASSES is SQL that tells for a Job `name`
# what is to become of it: its TTL in ms, or NULL for one that has to stay.
judge() {
	local db=$SCENARIO_DIR/judge.db problems user
	rm -f "$db"
	for user in "${@:2}"; do
		audit_deletes "$user"
		audit_deletes_unanswered "$user"
	done >"$SCENARIO_DIR/deletes.tsv"
	jobs_list >"$SCENARIO_DIR/left.tsv"
	[[ -f $SCENARIO_DIR/kills.tsv ]] || : >"$SCENARIO_DIR/kills.tsv"
	problems=$(sqlite3 -cmd '.timeout 10000' -cmd '.mode tabs' "$db" <<-SQL
		CREATE TABLE del (uid TEXT, rv TEXT, policy TEXT, code INTEGER, received_us INTEGER, answered_us INTEGER, ns TEXT, name TEXT);
		CREATE TABLE seen (type TEXT, uid TEXT, rv TEXT, ns TEXT, name TEXT, outcome TEXT, finished_ms INTEGER);
		CREATE TABLE remains (uid TEXT PRIMARY KEY, ns TEXT, name TEXT, outcome TEXT);
		CREATE TABLE kill (at_us INTEGER, seq INTEGER, left_open INTEGER);
		.import $SCENARIO_DIR/deletes.tsv del
		.import $SCENARIO_DIR/truth.tsv seen
		.import $SCENARIO_DIR/left.tsv remains
		.import $SCENARIO_DIR/kills.tsv kill
		ATTACH 'file:$SCENARIO_DIR/history.db?mode=ro' AS reg;
		CREATE INDEX seen_uid ON seen (uid);
		CREATE INDEX seen_name ON seen (ns, name);
		CREATE TABLE intent AS SELECT * FROM reg.test_intents;
		CREATE INDEX intent_uid ON intent (uid);
		-- The first version in which it was finished: that is when, whatever came later.
		CREATE TABLE job AS SELECT uid, ns, name, max(outcome) AS outcome, max(finished_ms) AS finished_ms, $1 AS ttl_ms,
			max(type = 'DELETED') AS gone FROM seen GROUP BY uid;
		CREATE UNIQUE INDEX job_uid ON job (uid);
		-- A request that a kill -9 cut off is in the audit log without its body, and was refused. One over which the
		-- API server died is there without its body, too, and may have been carried out.
		UPDATE del SET uid = coalesce((SELECT max(job.uid) FROM job WHERE (job.ns, job.name) = (del.ns, del.name) HAVING count(*) = 1), '-'),
			rv = 'cut off' WHERE uid = '-' AND code <> 200 AND policy = '-';
		CREATE INDEX del_uid ON del (uid);

		SELECT 'DELETE without preconditions or Background', * FROM del WHERE uid = '-' OR rv = '-' OR (policy <> 'Background' AND rv <> 'cut off');
		SELECT 'DELETE of what never was', * FROM del WHERE uid NOT IN (SELECT uid FROM job);
		SELECT 'DELETE of what had not finished, or has to stay', del.*, j.finished_ms, j.ttl_ms FROM del JOIN job j USING (uid) WHERE j.finished_ms = 0 OR j.ttl_ms IS NULL;
		SELECT 'DELETE before its TTL had passed', del.*, j.finished_ms, j.ttl_ms FROM del JOIN job j USING (uid) WHERE received_us < (j.finished_ms + j.ttl_ms) * 1000;
		SELECT 'DELETE in a version in which it had not finished', del.* FROM del WHERE rv <> 'cut off' AND NOT EXISTS
			(SELECT 1 FROM seen WHERE (seen.uid, seen.rv) = (del.uid, del.rv) AND finished_ms > 0 AND type <> 'DELETED');
		SELECT 'DELETE without an intent on record before it', del.* FROM del WHERE NOT EXISTS
			(SELECT 1 FROM intent i WHERE i.uid = del.uid AND i.requested_at * 1000 <= received_us AND i.recorded_at * 1000 <= received_us);
		-- Whoever sent it was killed later. What was not committed by then never was.
		SELECT 'DELETE without an intent committed before its sender died', del.*, k.* FROM del JOIN kill k ON k.at_us =
			(SELECT min(at_us) FROM kill WHERE at_us >= received_us) WHERE NOT EXISTS (SELECT 1 FROM intent i WHERE i.uid = del.uid AND i.seq <= k.seq);
		SELECT 'deleted more than once', uid, count(*) FROM del WHERE code = 200 GROUP BY uid HAVING count(*) > 1;

		SELECT 'recorded more than once', job_uid, count(*) FROM reg.runs GROUP BY job_uid HAVING count(*) > 1;
		SELECT 'finished, but not on record', j.* FROM job j WHERE finished_ms > 0 AND uid NOT IN (SELECT job_uid FROM reg.runs);
		SELECT 'on record, but never finished', r.job_uid, r.job_name FROM reg.runs r WHERE job_uid NOT IN (SELECT uid FROM job WHERE finished_ms > 0);
		SELECT 'recorded otherwise', j.*, r.namespace, r.job_name, r.outcome, r.finished_at FROM job j JOIN reg.runs r ON r.job_uid = uid
			WHERE (ns, name, j.outcome, j.finished_ms) IS NOT (r.namespace, r.job_name, r.outcome, r.finished_at);
		SELECT 'left in between', job_uid, job_name, delete_state FROM reg.runs WHERE delete_state NOT IN ('deleted', 'kept');
		SELECT 'to be deleted, but still there', j.* FROM job j WHERE finished_ms > 0 AND ttl_ms IS NOT NULL AND (NOT gone OR uid IN (SELECT uid FROM remains));
		SELECT 'to stay, but gone', j.* FROM job j WHERE (finished_ms = 0 OR ttl_ms IS NULL) AND (gone OR uid NOT IN (SELECT uid FROM remains));
		-- Told as 500, or 504, whether it was still in time to stop it or not: one whose sender died, or etcd was away.
		SELECT 'gone, but not by us', j.* FROM job j WHERE gone AND uid NOT IN (SELECT uid FROM del WHERE code IN (0, 200) OR (code >= 500 AND rv <> 'cut off'));
		-- The one that asked may have died before it heard the answer: then the next cannot tell who it was.
		SELECT 'on record with another end', j.*, r.delete_state, r.delete_cause, r.deleted_at FROM job j JOIN reg.runs r ON r.job_uid = uid
			WHERE (r.delete_state, r.deleted_at IS NULL) IS NOT (iif(gone, 'deleted', 'kept'), NOT gone) OR (gone AND r.delete_cause NOT IN ('ttl', 'unknown'));
		SELECT 'on record as deleted before it was asked for', del.*, r.deleted_at FROM del JOIN reg.runs r ON r.job_uid = del.uid WHERE code = 200 AND r.deleted_at < received_us / 1000;
	SQL
	)
	[[ -z $problems ]] || fail "judged $(wc -l <"$SCENARIO_DIR/deletes.tsv") DELETEs; wrong ($(wc -l <<<"$problems") times): $(cut -f 1 <<<"$problems" | sort | uniq -c | paste -sd , | tr -s ' ')
$(head -n 10 <<<"$problems")"
}
judged() { sqlite3 -readonly -separator ' ' "$SCENARIO_DIR/judge.db" "ATTACH 'file:$SCENARIO_DIR/history.db?mode=ro' AS reg; $1"; }
