# shellcheck shell=bash
# What the parts of the benchmark share: Jobs as charts make them, a server that can be put back to where it was, those
# who delete Jobs, and what is read off them.
#
# To be sourced after ../e2e/lib.sh. Results are lines of JSON in $E2E/results/PART.

BENCH_CLIENT=${BENCH_CLIENT:-$E2E_ROOT/build/bench-client}
BENCH_PROXY=${E2E_PROXY:-$E2E_ROOT/build/e2e-proxy}
BENCH_KUBESIM=${KUBESIM_BIN:-$E2E_ROOT/build/kubesim}
readonly BENCH_NAMESPACES=20
readonly BENCH_IN_FLIGHT=32 # the default of max-in-flight
readonly BENCH_LIMIT_S=900  # for what one of them has to do
readonly BENCH_PROTOBUF='application/vnd.kubernetes.protobuf'

result() { cat >>"$E2E/results/$1"; }
median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
now_us() { echo "${EPOCHREALTIME/[.,]/}"; }

# ---------------------------------------------------------------- processes

# CPU ns of all threads so far, and how often they gave the CPU away, which is to wait
cpu_ns() { cat "/proc/$1/task/"*/schedstat 2>/dev/null | awk '{n += $1} END {printf "%.0f", n}'; }
switches() { cat "/proc/$1/task/"*/status 2>/dev/null | awk '/^voluntary_ctxt_switches/ {n += $2} END {print n + 0}'; }
user_sys_cs() { # of a running process: user and system CPU, in 1/100 s
	local stat tick
	tick=$(getconf CLK_TCK)
	stat=$(<"/proc/$1/stat")
	read -ra stat <<<"${stat##*) }"
	echo "$((stat[11] * 100 / tick)) $((stat[12] * 100 / tick))"
}
rss_kb() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }

# Until the control plane has nothing left to do from its start: under 5 % of a CPU for half a second.
settle() {
	local before after i
	for ((i = 0; i < 40; i++)); do
		before=$(($(cpu_ns "$(part_pid kube-apiserver)") + $(cpu_ns "$(part_pid etcd)")))
		sleep 0.5
		after=$(($(cpu_ns "$(part_pid kube-apiserver)") + $(cpu_ns "$(part_pid etcd)")))
		[[ $((after - before)) -gt 25000000 ]] || return 0
	done
}

# ---------------------------------------------------------------- Jobs

# A Job as a chart makes them: two containers with an environment, resources, volumes, labels and annotations. With
# the managedFields that the API server adds, and its status, it is some 13 kB. Its own TTL is 0 for the native
# controller, and for Sexton too unless it is told another annotation prefix: then it waits for a year.
big_job() {
	jq -nc 'def env($n; $p): [range($n) | {name: "\($p)_SETTING_\(. + 100)", value: "the value of setting \(. + 100) of \($p), as charts give them"}];
	def container($name; $n): {name: $name, image: "registry.example.test/team/\($name):2026.11.21-3f9c2d1e", imagePullPolicy: "IfNotPresent",
		command: ["/usr/bin/\($name)"], args: ["--config=/etc/\($name)/config.yaml", "--input=/data/in", "--output=/data/out", "--verbose"],
		env: env($n; $name | ascii_upcase), resources: {requests: {cpu: "100m", memory: "128Mi"}, limits: {cpu: "1", memory: "512Mi"}},
		volumeMounts: [{name: "config", mountPath: "/etc/\($name)"}, {name: "data", mountPath: "/data"}, {name: "tmp", mountPath: "/tmp"}],
		securityContext: {runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: ["ALL"]}}};
	{"app.kubernetes.io/name": "report", "app.kubernetes.io/instance": "report-nightly", "app.kubernetes.io/managed-by": "Helm",
		"app.kubernetes.io/version": "4.2.0", "helm.sh/chart": "report-4.2.0", team: "finance"} as $labels |
	{apiVersion: "batch/v1", kind: "Job", metadata: {name: "@NAME@", labels: $labels, annotations: {
		"wait.test/ttl-after-success": "365d",
		"example.test/owner": "finance-platform@example.test", "example.test/runbook": "https://wiki.example.test/runbooks/report-nightly",
		"example.test/description": "Collects the numbers of the day, writes the report and puts it where the others look for it."}},
	spec: {parallelism: 0, backoffLimit: 6, activeDeadlineSeconds: 7200, ttlSecondsAfterFinished: 0,
		template: {metadata: {labels: $labels, annotations: {"prometheus.io/scrape": "false"}},
		spec: {restartPolicy: "Never", serviceAccountName: "report", nodeSelector: {"kubernetes.io/os": "linux"},
			tolerations: [{key: "batch", operator: "Equal", value: "yes", effect: "NoSchedule"}],
			containers: [container("report"; 14), container("upload"; 6)],
			volumes: [{name: "config", configMap: {name: "report-config"}}, {name: "data", emptyDir: {}}, {name: "tmp", emptyDir: {medium: "Memory"}}]}}}}'
}

# bench_names COUNT [PREFIX]: lines of "namespace name"
bench_names() { awk -v n="$1" -v m="$BENCH_NAMESPACES" -v p="${2:-nightly}" 'BEGIN {for (i = 0; i < n; i++) printf "bench-%02d %s-%06d\n", i % m, p, i}'; }
# expand METHOD PATH TYPE BODY: for each name on stdin a line for bench-client, with @NS@ and @NAME@ filled in
expand() {
	awk -v OFS='\t' -v method="$1" -v path="$2" -v type="$3" -v body="${4//\\/\\\\}" '{
		p = path; b = body
		gsub(/@NS@/, $1, p); gsub(/@NAME@/, $2, p); gsub(/@NAME@/, $2, b)
		print method, p, type, b}'
}
client() { # client USER [OPTIONS]: requests from stdin
	local user=$1
	shift
	"$BENCH_CLIENT" "$@" "$API_PORT" "$E2E/tls/ca.crt" "$E2E/tls/$user.token"
}
jobs_make() { # of the names on stdin; they run
	expand POST /apis/batch/v1/namespaces/@NS@/jobs application/json "$(big_job)" | client admin >/dev/null
}
FINISH_PATH=/apis/batch/v1/namespaces/@NS@/jobs/@NAME@/status
finish_body() { # as of now
	local now
	TZ=UTC printf -v now '%(%Y-%m-%dT%H:%M:%SZ)T'
	printf '{"status":{"startTime":"%s","completionTime":"%s","active":0,"succeeded":1,"conditions":[%s{"type":"Complete","status":"True","lastProbeTime":"%s","lastTransitionTime":"%s"}]}}' \
		"$now" "$now" "$([[ $E2E_MINOR -lt 31 ]] || printf '{"type":"SuccessCriteriaMet","status":"True","lastProbeTime":"%s","lastTransitionTime":"%s"},' "$now" "$now")" "$now" "$now"
}
jobs_end() { # of the names on stdin
	expand PATCH "$FINISH_PATH" application/merge-patch+json "$(finish_body)" | client admin >/dev/null
}

# ---------------------------------------------------------------- a server that can be put back

# snapshot_empty: of the server as it is, which has no Jobs
snapshot_empty() {
	server_stop
	mkdir -p "$E2E/snapshots/0"
	mv "$E2E_ETCD" "$E2E/snapshots/0/etcd"
}
# snapshot_make SIZE: so many finished Jobs, and files of the requests that delete them and of the tokens that continue
# their list
snapshot_make() {
	local dir=$E2E/snapshots/$1 token='' page=$E2E/page.json
	snapshot_use 0
	mkdir "$dir"
	: >"$dir/tokens"
	bench_names "$1" | jobs_make
	bench_names "$1" | jobs_end
	while :; do
		curl -sS --fail --cacert "$E2E/tls/ca.crt" --cert "$E2E/tls/admin.crt" --key "$E2E/tls/admin.key" -H 'Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1' \
			"$API/apis/batch/v1/jobs?limit=500${token:+&continue=$token}" >"$page"
		[[ -z $token ]] || echo "$token" >>"$dir/tokens"
		jq -r '.items[].metadata | ["DELETE", "/apis/batch/v1/namespaces/\(.namespace)/jobs/\(.name)", "application/json", ({kind: "DeleteOptions", apiVersion: "v1",
			propagationPolicy: "Background", preconditions: {uid: .uid, resourceVersion: .resourceVersion}} | tojson)] | join("\t")' "$page" >>"$dir/deletes"
		token=$(jq -r '.metadata.continue // ""' "$page")
		[[ -n $token ]] || break
	done
	expect_eq "Jobs in the list" "$1" "$(wc -l <"$dir/deletes")"
	jq -nc --argjson json "$(api GET "$(jobs_path bench-00 nightly-000000)?pretty=false" | wc -c)" --argjson indented "$(api GET "$(jobs_path bench-00 nightly-000000)?pretty=true" | wc -c)" \
		--argjson protobuf "$(curl -sS --fail --cacert "$E2E/tls/ca.crt" -H "Authorization: Bearer $(token_of admin)" -H "Accept: $BENCH_PROTOBUF" \
			"$API$(jobs_path bench-00 nightly-000000)" | wc -c)" '{json: $json, indented: $indented, protobuf: $protobuf}' >"$dir/job_bytes"
	server_stop
	mv "$E2E_ETCD" "$dir/etcd"
}
server_stop() {
	apiserver_stop 0
	part_stop etcd
}
server_start() {
	etcd_start
	apiserver_start
	wait_until 60 "the API server's cache of Jobs" api_quiet GET '/apis/batch/v1/namespaces/none/jobs?resourceVersion=0'
	settle
}
# snapshot_use SIZE: the server as it was, started anew, so that nobody finds what another one left behind
snapshot_use() {
	server_stop
	rm -rf "$E2E_ETCD"
	cp -r "$E2E/snapshots/$1/etcd" "$E2E_ETCD"
	server_start
}

# ---------------------------------------------------------------- those who delete

# Each is started by start_X and known by BENCH_PID and BENCH_USER.
BENCH_PID='' BENCH_USER=''
start_sexton() { # start_sexton SEXTON-LINES
	config_write "$1"
	sexton_spawn run
	BENCH_PID=$SEXTON_PID BENCH_USER=sexton
}
manager_start() { # manager_start NAME OPTIONS...: a kube-controller-manager, for what its options say
	local name=$1 port insecure=() gates=()
	shift
	[[ $E2E_MINOR -ge 24 ]] || insecure=(--port=0)
	[[ $E2E_MINOR -ge 21 ]] || gates=(--feature-gates=TTLAfterFinished=true)
	port=$(free_ports 1)
	part_spawn "$name" "$E2E_ASSETS/kube-controller-manager" --kubeconfig="$(kubeconfig_of native)" --leader-elect=false \
		--bind-address=127.0.0.1 --secure-port="$port" --cert-dir="$E2E/kcm-certs" "${insecure[@]}" "${gates[@]}" "$@"
}
start_native() { # start_native OPTIONS...
	manager_start native --controllers=ttl-after-finished "$@"
	BENCH_PID=$(part_pid native) BENCH_USER=native
}
# The native controller deletes in the foreground: it is for the garbage collector to let a Job go. That is a process of
# its own here, so that what the other one takes can be told.
collector_start() { manager_start collector --controllers=garbagecollector "$@"; }
start_bare() {
	"$BENCH_CLIENT" -n "$BENCH_IN_FLIGHT" "$API_PORT" "$E2E/tls/ca.crt" "$E2E/tls/twin.token" <"$SCENARIO_DIR/deletes" >"$SCENARIO_DIR/bare.json" &
	BENCH_PID=$! BENCH_USER=twin
}
start_bare_watching() { # with a watch of Jobs open beside it, as every controller has one
	watch_start
	start_bare
}
start_sexton_unlimited() { start_sexton 'delete-qps = 0'; }
start_sexton_defaults() { start_sexton '; all as it comes'; }
start_native_defaults() { start_native; }
readonly LIFTED=(--kube-api-qps=5000 --kube-api-burst=10000)
start_native_lifted() { start_native "${LIFTED[@]}"; }
start_native_workers() { start_native "${LIFTED[@]}" --concurrent-ttl-after-finished-syncs="$BENCH_IN_FLIGHT"; }
start_waiting() { start_sexton 'annotation-prefix = wait.test'; } # Jobs are on record, and not due
stop_contender() {
	case $BENCH_USER in
	sexton) sexton_stop ;;
	native) part_stop native ;;
	twin)
		wait "$BENCH_PID"
		watch_stop
		;;
	esac
	BENCH_PID=
}

WATCH_PID=
watch_start() { # of all Jobs from now on, as protobuf, and thrown away
	local rv
	rv=$(api GET '/apis/batch/v1/jobs?limit=1' | jq -r .metadata.resourceVersion)
	curl -sSN --cacert "$E2E/tls/ca.crt" -H "Authorization: Bearer $(token_of twin)" -H "Accept: $BENCH_PROTOBUF;stream=watch" -o /dev/null \
		"$API/apis/batch/v1/jobs?watch=1&resourceVersion=$rv" 2>/dev/null &
	WATCH_PID=$!
}
watch_stop() {
	[[ -n $WATCH_PID ]] || return 0
	kill "$WATCH_PID" 2>/dev/null || true
	wait "$WATCH_PID" 2>/dev/null || true
	WATCH_PID=
}

bench_begin() { # a folder of its own for what comes
	SCENARIO_DIR=$(mktemp -d "$E2E/part.XXXXXX")
	audit_mark
}
# The log's moment of the first line with this message (Unix ms), or nothing
logged_ms() {
	local at
	at=$(grep -s -m 1 -F "msg=\"$1\"" "$SCENARIO_DIR/run.log" | sed -n 's/^time=\([^ ]*\).*/\1/p')
	[[ -z $at ]] || date -d "$at" +%s%3N
}
is_logged() { alive "$SEXTON_PID" && grep -qsF "msg=\"$1\"" "$SCENARIO_DIR/run.log"; }
all_recorded() { register_is 'SELECT count(*) FROM runs' "$1"; }
