# shellcheck shell=bash
# A real Kubernetes control plane for tests, and the means to fill it, watch it and question it.
#
# To be sourced by a bash with `set -euo pipefail`. cluster_start brings up etcd, kube-apiserver and, where the
# assets have it, kube-controller-manager on free loopback ports, with TLS, RBAC and an audit log, all in one
# folder ($E2E); cluster_stop takes everything down again. There are no nodes: Pods stay pending until
# pods_finish says how they ended. All state that functions need is in files under $E2E, so that they work from
# subshells too.
#
# Users, each with a token and a client certificate of its own:
#   admin    system:masters, for the test itself
#   sexton   what manifests/base gives the controller, which is exactly what it needs
#   twin     the same, for a second controller
#   reader   may look at everything that sexton looks at, and have the lease, but delete nothing
#   nobody   no rights at all

E2E_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly E2E_ROOT
SEXTON=${SEXTON:-build/sexton}
[[ $SEXTON == /* ]] || SEXTON=$E2E_ROOT/$SEXTON
readonly SEXTON
PROTO_ENCODE=${PROTO_ENCODE:-$E2E_ROOT/build/proto-encode}
readonly E2E_USERS=(admin sexton twin reader nobody)
# How Jobs come: protobuf, or, for the sake of their manifests, json
ENCODING=${ENCODING:-protobuf}
readonly ENCODING
E2E_PARALLEL=${E2E_PARALLEL:-16} # requests that a bulk helper has in flight

# ---------------------------------------------------------------- small things

say() { printf '%s\n' "$*" >&2; }
note() { printf '  # %s\n' "$*" >&2; }
fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}
skip() { # ends a scenario without a verdict
	printf '%s\n' "$*" >"${SCENARIO_DIR:-$E2E}/skipped"
	exit 77
}
now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo "${t:0:-3}"; }

# wait_until SECONDS WHAT COMMAND...: until the command succeeds; fails when it does not in time.
wait_until() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		[[ $SECONDS -lt $end ]] || fail "gave up waiting: $what"
		sleep 0.05
	done
}
# Until the wall clock says so (Unix ms). For moments that a test is about, not to give something time.
sleep_until_ms() {
	local left=$(($1 - $(now_ms)))
	[[ $left -le 0 ]] || sleep "$((left / 1000)).$(printf '%03d' $((left % 1000)))"
}

expect_eq() { # expect_eq WHAT WANTED GOT
	[[ $2 == "$3" ]] || fail "$1: wanted [$2], got [$3]"
}
expect_le() { [[ $3 -le $2 ]] || fail "$1: wanted at most $2, got $3"; }
expect_ge() { [[ $3 -ge $2 ]] || fail "$1: wanted at least $2, got $3"; }
expect_match() { [[ $3 =~ $2 ]] || fail "$1: wanted something like [$2], got [$3]"; }

# ---------------------------------------------------------------- processes

# A zombie whose parent has not looked yet counts as gone.
alive() {
	local stat
	[[ -n ${1:-} ]] && { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	stat=${stat##*) }
	[[ ${stat:0:1} != [ZX] ]]
}
gone() { ! alive "$1"; }

part_pid() { cat "$E2E/$1.pid" 2>/dev/null || true; }
part_spawn() { # part_spawn NAME COMMAND...: a part of the control plane; its log is kept over restarts
	local name=$1
	shift
	"$@" >>"$E2E/log/$name.log" 2>&1 </dev/null &
	echo $! >"$E2E/$name.pid"
	disown # so that bash does not report how it ended
}
part_signal() {
	local pid
	pid=$(part_pid "$2")
	[[ -z $pid ]] || kill "-$1" "$pid" 2>/dev/null || true
}
part_stop() { # part_stop NAME [SECONDS]: SIGTERM, and SIGKILL for one that takes too long
	local pid end=$((SECONDS + ${2:-5}))
	pid=$(part_pid "$1")
	[[ -n $pid ]] || return 0
	kill -CONT "$pid" 2>/dev/null || true
	kill -TERM "$pid" 2>/dev/null || true
	while alive "$pid" && [[ $SECONDS -lt $end ]]; do sleep 0.05; done
	kill -KILL "$pid" 2>/dev/null || true
	while alive "$pid"; do sleep 0.02; done
	rm -f "$E2E/$1.pid"
}

port_free() { ! (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_ports() { # free_ports N: that many loopback ports that nobody listens on now
	local port found=0 seen=' '
	while [[ $found -lt $1 ]]; do
		port=$((20000 + RANDOM % 12000))
		[[ $seen != *" $port "* ]] || continue
		seen+="$port "
		if port_free "$port"; then
			echo "$port"
			found=$((found + 1))
		fi
	done
}

# ---------------------------------------------------------------- the control plane

# cluster_start [with-controllers|no-controllers]
# Sets E2E, E2E_MINOR (the API server's minor version), E2E_KCM (1 where there is a kube-controller-manager),
# KUBECONFIG (admin's), CRONJOB_API, API (its URL) and puts the assets' kubectl first on the PATH.
cluster_start() {
	local assets ports version
	assets=$("$E2E_ROOT/tests/e2e/assets")
	E2E=$(mktemp -d "${TMPDIR:-/tmp}/sexton-e2e.XXXXXX")
	mkdir -p "$E2E/log" "$E2E/tls" "$E2E/kubeconfig"
	# etcd syncs each write. In memory that costs nothing, and what is tested here is not etcd.
	E2E_ETCD=$E2E/etcd
	if [[ ${E2E_ETCD_ON_DISK:-0} != 1 && -d /dev/shm && -w /dev/shm ]] &&
		[[ $(df --output=avail -m /dev/shm | tail -n 1) -gt 4000 ]]; then
		E2E_ETCD=$(mktemp -d /dev/shm/sexton-e2e.XXXXXX)
	fi
	trap 'cluster_exit $?' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	PATH=$assets:$PATH
	E2E_ASSETS=$assets
	mapfile -t ports < <(free_ports 4)
	ETCD_PORT=${ports[0]} ETCD_PEER_PORT=${ports[1]} API_PORT=${ports[2]} KCM_PORT=${ports[3]}
	API=https://127.0.0.1:$API_PORT
	KUBECONFIG=$E2E/kubeconfig/admin
	export PATH KUBECONFIG
	version=$("$assets/kube-apiserver" --version)
	[[ $version =~ v1\.([0-9]+) ]] || fail "cannot make out the version: $version"
	E2E_MINOR=${BASH_REMATCH[1]}
	CRONJOB_API=batch/v1
	[[ $E2E_MINOR -ge 21 ]] || CRONJOB_API=batch/v1beta1
	E2E_KCM=0
	[[ ${1:-} == no-controllers || ! -x $assets/kube-controller-manager ]] || E2E_KCM=1
	make_identities
	etcd_start
	apiserver_start
	[[ $E2E_KCM == 0 ]] || kcm_start
	make_roles
	[[ $E2E_KCM == 0 ]] || wait_until 30 "the first service account" api_quiet GET /api/v1/namespaces/default/serviceaccounts/default
}

# The shell that a scenario runs in, and the commands that it waits for
SCENARIO_PID=
scenario_abandon() {
	[[ -n $SCENARIO_PID ]] || return 0
	pkill -TERM -P "$SCENARIO_PID" || true
	kill -KILL "$SCENARIO_PID" 2>/dev/null || true
	SCENARIO_PID=
}

cluster_stop() {
	local part
	for part in kube-controller-manager kube-apiserver etcd; do part_stop "$part" 2; done
	rm -rf "$E2E/etcd" "$E2E_ETCD"
}

# The end, however it came about. What was logged is kept when something went wrong.
cluster_exit() {
	trap '' INT TERM HUP
	trap - EXIT
	scenario_abandon
	sexton_reap "$E2E"/*/pids "$E2E"/*/*/pids
	cluster_stop
	if [[ $1 -ne 0 || ${E2E_KEEP:-0} == 1 ]]; then
		rm -rf "$E2E/tls" "$E2E/kubeconfig" "$E2E/tokens.csv"
		say "logs are kept in $E2E"
	else
		rm -rf "$E2E"
	fi
	exit "$1"
}

# cert NAME SUBJECT [SAN]: a key and a certificate signed by the test's CA, in tls/NAME.key and .crt
cert() {
	local usage=clientAuth
	[[ -z ${3:-} ]] || usage=serverAuth
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" 2>/dev/null \
		-extfile <(printf 'extendedKeyUsage=%s\n%s\n' "$usage" "${3:+subjectAltName=$3}")
	rm "$1.csr"
}

make_identities() {
	local user group
	pushd "$E2E/tls" >/dev/null || return
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout ca.key -out ca.crt -subj /CN=sexton-e2e-ca 2>/dev/null
	openssl genrsa -out sa.key 2048 2>/dev/null
	openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
	cert apiserver /CN=kube-apiserver 'IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc'
	cert kcm /O=system:masters/CN=system:kube-controller-manager
	for user in "${E2E_USERS[@]}"; do
		group=/O=e2e
		[[ $user != admin ]] || group=/O=system:masters
		cert "$user" "$group/CN=$user"
		group=${group#/O=}
		openssl rand -hex 16 >"$user.token"
		echo "$(<"$user.token"),$user,$user,\"$group\"" >>"$E2E/tokens.csv"
	done
	popd >/dev/null || return
	for user in "${E2E_USERS[@]}"; do KUBECONFIG_NAMESPACE=$([[ $user == admin ]] || echo sexton) kubeconfig_write "$E2E/kubeconfig/$user" "{token: \"$(<"$E2E/tls/$user.token")\"}"; done
	kubeconfig_write "$E2E/kubeconfig/kcm" "{client-certificate: $E2E/tls/kcm.crt, client-key: $E2E/tls/kcm.key}"
	cat >"$E2E/audit-policy.yaml" <<-'POLICY'
		apiVersion: audit.k8s.io/v1
		kind: Policy
		rules:
		- {level: None, users: ["system:kube-controller-manager", "system:apiserver"]}
		- {level: None, nonResourceURLs: ["/readyz*", "/healthz*", "/livez*", "/metrics"]}
		- {level: Request, resources: [{group: coordination.k8s.io, resources: [leases]}], omitStages: [RequestReceived]}
		- {level: Request, verbs: [delete, deletecollection]}
		- {level: Metadata, verbs: [watch]}
		- {level: Metadata, omitStages: [RequestReceived]}
	POLICY
}

# kubeconfig_write FILE USER [CLUSTER]: of one context named e2e; USER and further CLUSTER keys are YAML flow maps
# (CLUSTER without its braces).
kubeconfig_write() {
	cat >"$1" <<-K
		apiVersion: v1
		kind: Config
		current-context: e2e
		clusters:
		- name: e2e
		  cluster: {server: "$API", ${3:-certificate-authority: "$E2E/tls/ca.crt"}}
		contexts:
		- {name: e2e, context: {cluster: e2e, user: e2e, namespace: ${KUBECONFIG_NAMESPACE:-default}}}
		users:
		- {name: e2e, user: $2}
	K
	chmod 600 "$1"
}
kubeconfig_of() { echo "$E2E/kubeconfig/$1"; }
token_of() { cat "$E2E/tls/$1.token"; }

etcd_start() {
	local url=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$ETCD_PEER_PORT
	part_spawn etcd "$E2E_ASSETS/etcd" --data-dir "$E2E_ETCD" --listen-client-urls "$url" --advertise-client-urls "$url" \
		--listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
		--quota-backend-bytes $((8 << 30)) --auto-compaction-retention 0
	wait_until 20 "etcd" curl -sfo "$E2E/null" "$url/health"
}

# The limits on requests in flight are raised so that what is measured is not their queue. The feature gate lets
# 1.20 store spec.ttlSecondsAfterFinished, which it would drop; the controller that acts on it is not run.
apiserver_start() {
	local gates=()
	[[ $E2E_MINOR -ge 21 ]] || gates=(--feature-gates=TTLAfterFinished=true)
	# A process that was killed has its port for as long as one of its threads is still on the way out.
	wait_until 10 "port $API_PORT to be free" port_free "$API_PORT"
	part_spawn kube-apiserver "$E2E_ASSETS/kube-apiserver" --etcd-servers="http://127.0.0.1:$ETCD_PORT" \
		--bind-address=127.0.0.1 --secure-port="$API_PORT" --advertise-address=127.0.0.1 --endpoint-reconciler-type=none \
		--tls-cert-file="$E2E/tls/apiserver.crt" --tls-private-key-file="$E2E/tls/apiserver.key" --client-ca-file="$E2E/tls/ca.crt" \
		--cert-dir="$E2E/apiserver-certs" --token-auth-file="$E2E/tokens.csv" --authorization-mode=RBAC "${gates[@]}" \
		--service-account-key-file="$E2E/tls/sa.pub" --service-account-signing-key-file="$E2E/tls/sa.key" \
		--service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.0.0.0/24 \
		--audit-policy-file="$E2E/audit-policy.yaml" --audit-log-path="$E2E/log/audit.log" --audit-log-maxsize=8000 \
		--max-requests-inflight=2000 --max-mutating-requests-inflight=1000
	wait_until 60 "kube-apiserver (see $E2E/log/kube-apiserver.log)" apiserver_ready
}
apiserver_ready() {
	alive "$(part_pid kube-apiserver)" || fail "kube-apiserver ended: $(tail -n 3 "$E2E/log/kube-apiserver.log")"
	api_quiet GET /readyz
}
# An orderly stop waits for watches to end; SIGKILL after a moment is what a lost node looks like.
apiserver_stop() { part_stop kube-apiserver "${1:-2}"; }
apiserver_restart() {
	apiserver_stop "$@"
	apiserver_start
}

kcm_start() {
	local insecure=()
	[[ $E2E_MINOR -ge 24 ]] || insecure=(--port=0)
	part_spawn kube-controller-manager "$E2E_ASSETS/kube-controller-manager" --kubeconfig="$E2E/kubeconfig/kcm" --leader-elect=false \
		--bind-address=127.0.0.1 --secure-port="$KCM_PORT" --cert-dir="$E2E/kcm-certs" "${insecure[@]}" \
		--controllers=garbagecollector,job,cronjob,namespace,serviceaccount,serviceaccount-token,root-ca-cert-publisher \
		--service-account-private-key-file="$E2E/tls/sa.key" --root-ca-file="$E2E/tls/ca.crt" \
		--kube-api-qps=2000 --kube-api-burst=4000
}
lease_allow() { kubectl create rolebinding "e2e-lease-$1" --namespace=sexton --role=sexton --user="$1" >/dev/null; }
lease_forbid() { kubectl delete rolebinding "e2e-lease-$1" --namespace=sexton >/dev/null; }
needs_kcm() { [[ $E2E_KCM == 1 ]] || skip "no kube-controller-manager in the assets"; }

# manifests_apply FOLDER: manifests/FOLDER is what there is of Sexton in the cluster. The next scenario has the base again.
manifests_apply() {
	local kind
	echo "$1" >"$E2E/manifests"
	"$E2E_ROOT/tests/manifests" build "$E2E_ROOT/manifests/$1" >"$E2E/manifests.json"
	for kind in clusterrolebindings clusterroles rolebindings roles; do
		manifests_objects "$kind" | jq -c '{method: "DELETE", path: .}' | bulk_expect 200
	done
	kubectl apply -f "$E2E/manifests.json" >/dev/null
}
manifests_objects() { # manifests_objects RESOURCE: the paths of those that come from manifests, as JSON strings
	api GET "/apis/rbac.authorization.k8s.io/v1/$1?labelSelector=app.kubernetes.io/name%3Dsexton" |
		jq -c --arg what "$1" '.items[].metadata | "/apis/rbac.authorization.k8s.io/v1/\(if .namespace then "namespaces/\(.namespace)/" else "" end)\($what)/\(.name)"'
}

# The rights of the users. Those of sexton are the ones that manifests/base gives.
make_roles() {
	local user
	manifests_apply base
	kubectl create clusterrolebinding e2e-sexton --clusterrole=sexton --user=sexton --user=twin >/dev/null
	for user in sexton twin reader; do lease_allow $user; done
	kubectl apply -f - >/dev/null <<-'RBAC'
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRole
		metadata: {name: e2e-reader}
		rules:
		- {apiGroups: [batch], resources: [jobs, cronjobs], verbs: [get, list, watch]}
		- {apiGroups: [""], resources: [namespaces], verbs: [get, list, watch]}
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRoleBinding
		metadata: {name: e2e-reader}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-reader}
		subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]
	RBAC
}

# ---------------------------------------------------------------- requests

# api METHOD PATH [BODY [CONTENT-TYPE]]: as admin; the answer's body on stdout, and a failure for 4xx and 5xx
api() {
	local body=()
	[[ -z ${3:-} ]] || body=(-H "Content-Type: ${4:-application/json}" --data-binary "$3")
	curl -sS --fail-with-body --max-time 60 --cacert "$E2E/tls/ca.crt" --cert "$E2E/tls/admin.crt" --key "$E2E/tls/admin.key" \
		-X "$1" "${body[@]}" "$API$2"
}
# As admin, what a GET answers to who accepts only that type
api_as() {
	curl -sS --max-time 60 --cacert "$E2E/tls/ca.crt" --cert "$E2E/tls/admin.crt" --key "$E2E/tls/admin.key" -H "Accept: $1" "$API$2"
}
api_quiet() { api "$@" >/dev/null 2>&1; }
api_merge() { api PATCH "$1" "$2" application/merge-patch+json; }

# How many there are of a collection, without fetching them.
api_count() { api GET "$1?limit=1" | jq '(.items | length) + (.metadata.remainingItemCount // 0)'; }
api_count_is() { [[ $(api_count "$1") == "$2" ]]; }

# bulk: many requests, from one curl with connections kept alive.
#   in:  a JSON object a line: method, path, body (an object, may be absent), type (of the body, may be absent)
#   out: a line each, as they end: the HTTP status, and the path
bulk() {
	bulk_config | bulk_run
}
bulk_config() {
	jq -r --arg api "$API" --arg tls "$E2E/tls" '
		"url = \"\($api)\(.path)\"\nrequest = \(.method)\ncacert = \"\($tls)/ca.crt\"\ncert = \"\($tls)/admin.crt\"\nkey = \"\($tls)/admin.key\"",
		(if .body then "header = \"Content-Type: \(.type // "application/json")\"\ndata-binary = \(.body | tojson | tojson)" else empty end),
		"output = /dev/null\nmax-time = 120\nhttp1.1\nwrite-out = \"%{http_code} %{url_effective}\\n\"\nnext"'
}
bulk_run() {
	local config
	config=$(mktemp "$E2E/bulk.XXXXXX")
	sed '$d' >"$config" # no "next" after the last
	[[ ! -s $config ]] || curl -sS --no-progress-meter --parallel --parallel-max "$E2E_PARALLEL" -K "$config" | sed "s, $API, ,"
	rm "$config"
}
# bulk_expect CODE: as bulk, and every answer has to have this status
bulk_expect() {
	local wrong
	wrong=$(bulk | grep -v "^$1 " | head -n 3 || true)
	[[ -z $wrong ]] || fail "wanted $1 of each request, got: $wrong"
}

# ---------------------------------------------------------------- Jobs and Pods

jobs_path() { echo "/apis/batch/v1/namespaces/$1/jobs${2:+/$2}"; }

# namespaces_create NAME... ; with E2E_NS_ANNOTATIONS (a JSON object) on each
namespaces_create() {
	local name
	printf '%s\n' "$@" | jq -cR --argjson a "${E2E_NS_ANNOTATIONS:-null}" \
		'{method: "POST", path: "/api/v1/namespaces", body: {metadata: {name: ., annotations: $a, labels: {e2e: "yes"}}}}' | bulk_expect 201
	[[ $E2E_KCM == 1 ]] || return 0
	# Pods are refused until the namespace's service account has its token.
	for name in "$@"; do wait_until 30 "the service account of namespace $name" service_account_ready "$name"; done
}
service_account_ready() {
	[[ $E2E_MINOR -ge 24 ]] || [[ $(api GET "/api/v1/namespaces/$1/serviceaccounts/default" 2>/dev/null | jq '.secrets | length') -gt 0 ]] 2>/dev/null
}
namespace_annotate() { api_merge "/api/v1/namespaces/$1" "$(jq -nc --argjson a "$2" '{metadata: {annotations: $a}}')" >/dev/null; }

# job_bodies: reads names (a line each: namespace, name), writes requests that create them.
#   job_bodies PARALLELISM [METADATA]   the second is a JSON object merged into each Job's metadata
job_bodies() {
	local metadata=${2:-}
	jq -cR --argjson p "$1" --argjson m "${metadata:-{\}}" 'split(" ") | {method: "POST", path: "/apis/batch/v1/namespaces/\(.[0])/jobs", body: {
		apiVersion: "batch/v1", kind: "Job", metadata: ({name: .[1], labels: {app: "e2e"}} * $m),
		spec: {parallelism: $p, backoffLimit: 0, template: {
			metadata: {labels: {app: "e2e"}},
			spec: {restartPolicy: "Never", terminationGracePeriodSeconds: 0, containers: [{name: "work", image: "example.test/work:1",
				command: ["/bin/work"], args: ["--of", .[1]]}]}}}}}'
}
names() { # names NAMESPACE PREFIX COUNT: lines of "namespace prefix-NNNNN"
	[[ $3 -le 0 ]] || seq -f "$1 $2-%05g" 0 $(($3 - 1))
}

# jobs_create NAMESPACE PREFIX COUNT [METADATA]: Jobs that make no Pods, so that jobs_finish can end them
jobs_create() { names "$1" "$2" "$3" | job_bodies 0 "${4:-}" | bulk_expect 201; }
job_create() { printf '%s %s\n' "$1" "$2" | job_bodies 0 "${3:-}" | bulk_expect 201; }
# Jobs with a Pod each, which the real Job controller makes and finishes
jobs_create_with_pods() { names "$1" "$2" "$3" | job_bodies 1 "${4:-}" | bulk_expect 201; }

# finish_bodies Complete|Failed [SECONDS AGO]: reads names, writes requests that finish them through /status
finish_bodies() {
	jq -cR --arg type "$1" --argjson at "$(($(now_ms) / 1000 - ${2:-0}))" --argjson minor "$E2E_MINOR" 'split(" ") |
		($at | todate) as $t |
		(if $type == "Complete" then {} else {reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit"} end) as $why |
		{status: "True", lastProbeTime: $t, lastTransitionTime: $t} as $when |
		{method: "PATCH", path: "/apis/batch/v1/namespaces/\(.[0])/jobs/\(.[1])/status", type: "application/merge-patch+json", body: {status: ({
			startTime: ($at - 5 | todate), active: 0,
			conditions: [
				(if $minor >= 31 then {type: (if $type == "Complete" then "SuccessCriteriaMet" else "FailureTarget" end)} + $when + $why else empty end),
				{type: $type} + $when + $why]}
			+ (if $type == "Complete" then {succeeded: 1, completionTime: $t} else {failed: 1} end))}}'
}
# jobs_finish NAMESPACE PREFIX COUNT Complete|Failed [SECONDS AGO]
jobs_finish() { names "$1" "$2" "$3" | finish_bodies "$4" "${5:-0}" | bulk_expect 200; }
job_finish() { printf '%s %s\n' "$1" "$2" | finish_bodies "$3" "${4:-0}" | bulk_expect 200; }

# jobs_list [NAMESPACE]: a line each: uid, namespace, name, outcome (Succeeded, Failed or -), separated by tabs
jobs_list() {
	api GET "/apis/batch/v1/${1:+namespaces/$1/}jobs" | jq -r '.items[] | [.metadata.uid, .metadata.namespace, .metadata.name,
		([.status.conditions[]? | select(.status == "True") | {Complete: "Succeeded", Failed: "Failed"}[.type] // empty] | first // "-")] | @tsv'
}
job_uid() { api GET "$(jobs_path "$1" "$2")" 2>/dev/null | jq -re .metadata.uid; }
job_exists() { api_quiet GET "$(jobs_path "$1" "$2")"; }
job_gone() {
	local code
	code=$(api GET "$(jobs_path "$1" "$2")" 2>/dev/null | jq -r '.code // 0')
	[[ $code == 404 ]]
}
jobs_count() { api_count "/apis/batch/v1/${1:+namespaces/$1/}jobs"; }
jobs_count_is() { [[ $(jobs_count "$1") == "$2" ]]; }
job_annotate() { api_merge "$(jobs_path "$1" "$2")" "$(jq -nc --argjson a "$3" '{metadata: {annotations: $a}}')" >/dev/null; }

# pods_finish [NAMESPACE]: every Pod of a Job ends, since there is no kubelet to run it: as Failed when the Job's
# name begins with "bad", as Succeeded otherwise.
pods_finish() {
	api GET "/api/v1/${1:+namespaces/$1/}pods" | jq -c '.items[] | select(.status.phase == "Pending") |
		(if .metadata.labels["job-name"] | startswith("bad") then {phase: "Failed", code: 1} else {phase: "Succeeded", code: 0} end) as $how |
		{method: "PATCH", path: "/api/v1/namespaces/\(.metadata.namespace)/pods/\(.metadata.name)/status", type: "application/merge-patch+json",
		 body: {status: {phase: $how.phase, containerStatuses: [{name: "work", image: "example.test/work:1", imageID: "", ready: false, restartCount: 0,
			state: {terminated: {exitCode: $how.code}}}]}}}' | bulk_expect 200
}

# No lease, no Job, no CronJob and no Pod of a Job is left over from an earlier scenario.
cluster_clear() {
	api DELETE /apis/coordination.k8s.io/v1/namespaces/sexton/leases >/dev/null
	api_count_is "/apis/$CRONJOB_API/cronjobs" 0 || api GET "/apis/$CRONJOB_API/cronjobs" |
		jq -c --arg v "$CRONJOB_API" '.items[] | {method: "DELETE", path: "/apis/\($v)/namespaces/\(.metadata.namespace)/cronjobs/\(.metadata.name)"}' |
		bulk >/dev/null
	local end=$((SECONDS + 60))
	until api_count_is /apis/batch/v1/jobs 0; do
		[[ $SECONDS -lt $end ]] || fail "gave up waiting: the Jobs of the last scenario to go"
		api GET /apis/batch/v1/jobs | jq -r '[.items[].metadata.namespace] | unique[]' | jq -cR \
			'{method: "DELETE", path: "/apis/batch/v1/namespaces/\(.)/jobs", body: {kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: "Background"}}' |
			bulk >/dev/null
	done
	# Their Pods go with them; those of a Job that was deleted in the wrong way do not.
	api GET /api/v1/pods | jq -c '.items[] | {method: "DELETE", path: "/api/v1/namespaces/\(.metadata.namespace)/pods/\(.metadata.name)?gracePeriodSeconds=0"}' |
		bulk >/dev/null
	api_count_is /api/v1/pods 0 || wait_until 60 "the Pods of the last scenario to go" api_count_is /api/v1/pods 0
}

# ---------------------------------------------------------------- the audit log

AUDIT_FROM=0
audit_mark() { AUDIT_FROM=$(stat -c %s "$E2E/log/audit.log"); } # what follows is about requests from here on
audit_since() { tail -c "+$((AUDIT_FROM + 1))" "$E2E/log/audit.log"; }
# In jq, `us` turns a time into Unix microseconds.
readonly AUDIT_US='def us: (.[0:19] + "Z" | fromdateiso8601) * 1000000 + (.[20:26] | tonumber);'
# audit_filter USER [FILTER]: one user's events, through a jq filter
audit_filter() {
	audit_since | grep -F "\"username\":\"$1\"" | jq -rR "$AUDIT_US fromjson? | ${2:-.}" || true
}
# A line each: uid and resourceVersion from its preconditions, propagation policy, status, received and answered
# (Unix us), namespace, name.
audit_deletes() {
	audit_filter "$1" 'select(.verb == "delete" and .objectRef.resource == "jobs" and .stage == "ResponseComplete") | [
		.requestObject.preconditions.uid // "-", .requestObject.preconditions.resourceVersion // "-", .requestObject.propagationPolicy // "-",
		.responseStatus.code, (.requestReceivedTimestamp | us), (.stageTimestamp | us), .objectRef.namespace, .objectRef.name] | @tsv'
}
# Those of which the log does not tell the end, as the same columns: the API server died over them.
audit_deletes_unanswered() {
	audit_filter "$1" 'select(.verb == "delete" and .objectRef.resource == "jobs") |
		[.auditID, .stage, (.requestReceivedTimestamp | us), .objectRef.namespace, .objectRef.name] | @tsv' |
		awk -F '\t' -v OFS='\t' '$2 == "RequestReceived" {begun[$1] = $3 OFS "0" OFS $4 OFS $5} $2 == "ResponseComplete" {delete begun[$1]}
			END {for (id in begun) print "-", "-", "-", 0, begun[id]}'
}
# Requests of a user, a line each: verb, resource, status; a watch when it was received, since 1.20 writes that it
# was answered only when it ends.
audit_requests() {
	audit_filter "$1" 'select(if .verb == "watch" then .stage == "RequestReceived" else .stage == "ResponseComplete" end) |
		"\(.verb) \(.objectRef.resource // .requestURI) \(.responseStatus.code // "begun")"'
}
audit_watches() { [[ $(audit_requests "$1" | grep -c "^watch $2 ") -ge ${3:-1} ]]; } # audit_watches USER RESOURCE [TIMES]
# What a user has changed, or tried to. Asking what one may do is a create, too.
audit_changes() { audit_requests "$1" | grep -E '^(create|update|patch|delete)' | grep -v selfsubjectaccessreviews || true; }

# ---------------------------------------------------------------- the binary

# All of these work on $SEXTON_DIR (by default $SCENARIO_DIR): its config.ini, history.db and run.log.
SEXTON_PID=
sexton_dir() { echo "${SEXTON_DIR:-$SCENARIO_DIR}"; }
# The user, and the way to the API server: the name of a kubeconfig, as kubeconfig_of has them.
sexton_user() { echo "${SEXTON_AS:-sexton}"; }
sexton_kubeconfig() { kubeconfig_of "${SEXTON_VIA:-$(sexton_user)}"; }

# config_write [SEXTON-LINES [POLICY-LINES [HISTORY-LINES]]]
config_write() {
	local history=${3:-}
	[[ $ENCODING != json || $history == *manifest* ]] || history+=$'\nmanifest = true'
	cat >"$(sexton_dir)/config.ini" <<-C
		[sexton]
		${1:-delete-qps = 0}
		lease-namespace = sexton
		[policy]
		${2:-ttl-after-success = 0s}
		[history]
		store = sqlite:$(sexton_dir)/history.db
		$history
	C
}
# sexton COMMAND [ARGS...]: with the scenario's configuration, as the user named by SEXTON_AS (default: sexton)
sexton() {
	local command=$1
	shift
	timeout 120 "$SEXTON" "$command" --config "$(sexton_dir)/config.ini" --kubeconfig "$(sexton_kubeconfig)" "$@"
}
# sexton_start: `sexton run`, once it watches Jobs. Sets SEXTON_PID; the log is run.log.
sexton_start() {
	local watches
	watches=$(audit_requests "$(sexton_user)" | grep -c '^watch jobs' || true)
	sexton_spawn run
	wait_until 20 "sexton to watch Jobs" sexton_watches_again "$((watches + 1))"
}
sexton_watches_again() {
	alive "$SEXTON_PID" || fail "sexton ended by itself: $(tail -n 3 "$(sexton_dir)/run.log")"
	audit_watches "$(sexton_user)" jobs "$1"
}
# sexton_spawn COMMAND [ARGS...]: in the background, not waiting for anything
sexton_spawn() {
	local command=$1
	shift
	"$SEXTON" "$command" --config "$(sexton_dir)/config.ini" --kubeconfig "$(sexton_kubeconfig)" "$@" >>"$(sexton_dir)/run.log" 2>&1 </dev/null &
	SEXTON_PID=$!
	echo "$SEXTON_PID" >>"$SCENARIO_DIR/pids"
}
# sexton_stop: SIGTERM; exit status 0 within 10 s is part of the promise
sexton_stop() {
	local rc=0 began
	began=$(now_ms)
	kill -TERM "$SEXTON_PID"
	wait_until 12 "sexton to end after SIGTERM" gone "$SEXTON_PID"
	wait "$SEXTON_PID" || rc=$?
	expect_eq "exit status after SIGTERM" 0 "$rc"
	expect_le "ms from SIGTERM to the end" 10000 $(($(now_ms) - began))
	SEXTON_PID=
}
sexton_kill() {
	kill -KILL "$SEXTON_PID"
	wait "$SEXTON_PID" 2>/dev/null || true
	SEXTON_PID=
}
# sexton_reap FILE...: ends what is still running of the processes that are listed in these
sexton_reap() {
	local file pid
	for file in "$@"; do
		[[ -f $file ]] || continue
		while read -r pid; do
			# Numbers are used again: only a process that is still ours.
			[[ $(readlink "/proc/$pid/exe" 2>/dev/null) == "$(readlink -f "$SEXTON")"* ]] || continue
			kill -CONT "$pid" 2>/dev/null || true
			kill -KILL "$pid" 2>/dev/null || true
		done <"$file"
	done
}
# CPU seconds times 100 so far, and kB of memory at most, of a running process
cpu_cs() {
	local stat
	stat=$(<"/proc/$1/stat")
	read -ra stat <<<"${stat##*) }"
	echo $(((stat[11] + stat[12]) * 100 / $(getconf CLK_TCK)))
}
rss_peak_kb() { awk '/^VmHWM/ {print $2}' "/proc/$1/status"; }

# ---------------------------------------------------------------- the register

register() { sqlite3 -readonly -cmd '.timeout 10000' -separator $'\t' "$(sexton_dir)/history.db" "$1"; }
register_is() { [[ $(register "$1" 2>/dev/null) == "$2" ]]; }
deleted_count_is() { register_is "SELECT count(*) FROM runs WHERE delete_state = 'deleted'" "$1"; }
deleted_count_ge() { [[ $(register "SELECT count(*) FROM runs WHERE delete_state = 'deleted'" 2>/dev/null || echo 0) -ge $1 ]]; }

# expect_agreement JOBS [strict|crashed]
# Register and API server agree about the Jobs in this file (lines as from jobs_list, of all Jobs that finished):
# one row each with the right outcome; for each that the register calls deleted by ttl exactly one DELETE that
# succeeded, with both preconditions, Background, received after the record was made and not before it was due; no
# DELETE of anything else. With "strict" there was no DELETE beside those either. With "crashed" the cause may be
# unknown: a controller that died before it saw the answer cannot tell who deleted the Job. The register is that of
# $SEXTON_DIR, and the DELETEs are those of $SEXTON_AS, by default the controller's.
expect_agreement() {
	local db=$(sexton_dir)/agreement.db problems ours="'ttl'"
	[[ ${2:-} != crashed ]] || ours="'ttl', 'unknown'"
	rm -f "$db"
	audit_deletes "${SEXTON_AS:-sexton}" >"$(sexton_dir)/deletes.tsv"
	problems=$(sqlite3 -cmd '.timeout 10000' -cmd '.mode tabs' "$db" <<-SQL
		CREATE TABLE del (uid TEXT, rv TEXT, policy TEXT, code INTEGER, received_us INTEGER, answered_us INTEGER, ns TEXT, name TEXT);
		CREATE TABLE want (uid TEXT PRIMARY KEY, ns TEXT, name TEXT, outcome TEXT);
		.import $(sexton_dir)/deletes.tsv del
		.import $1 want
		CREATE INDEX del_uid ON del (uid);
		ATTACH 'file:$(sexton_dir)/history.db?mode=ro' AS reg;
		SELECT 'finished, but not in the register', uid, ns, name FROM want WHERE uid NOT IN (SELECT job_uid FROM reg.runs);
		SELECT 'recorded otherwise', uid, ns, name, want.outcome, r.namespace, r.job_name, r.outcome FROM want JOIN reg.runs r ON r.job_uid = uid
			WHERE (want.ns, want.name, want.outcome) IS NOT (r.namespace, r.job_name, r.outcome);
		SELECT 'recorded more than once', job_uid FROM reg.runs GROUP BY job_uid HAVING count(*) > 1;
		SELECT 'recorded, but never finished', job_uid, namespace, job_name FROM reg.runs WHERE outcome IS NOT NULL AND job_uid NOT IN (SELECT uid FROM want);
		SELECT 'left in between', job_uid, namespace, job_name, delete_state FROM reg.runs WHERE delete_state = 'deleting';
		-- A request that a kill -9 cut off is in the audit log without its body, and was refused with 500.
		DELETE FROM del WHERE '${2:-}' = 'crashed' AND code = 500 AND uid = '-';
		SELECT 'DELETE without preconditions or Background', * FROM del WHERE uid = '-' OR rv = '-' OR policy <> 'Background';
		SELECT 'DELETE of what is not recorded', * FROM del WHERE uid NOT IN (SELECT job_uid FROM reg.runs);
		SELECT 'DELETE before it was due', del.*, r.due_at FROM del JOIN reg.runs r ON r.job_uid = uid WHERE received_us < r.due_at * 1000 OR r.due_at IS NULL;
		SELECT 'DELETE before its TTL had passed', del.*, r.finished_at, r.ttl_ms FROM del JOIN reg.runs r ON r.job_uid = uid
			WHERE received_us < (r.finished_at + r.ttl_ms) * 1000 OR r.finished_at IS NULL OR r.ttl_ms IS NULL;
		SELECT 'DELETE before it was recorded', del.*, r.recorded_at, r.delete_requested_at FROM del JOIN reg.runs r ON r.job_uid = uid
			WHERE code = 200 AND (received_us / 1000 < r.recorded_at OR received_us / 1000 < r.delete_requested_at OR r.delete_requested_at IS NULL OR r.recorded_at IS NULL);
		SELECT 'on record as deleted before the DELETE', del.*, r.deleted_at FROM del JOIN reg.runs r ON r.job_uid = uid
			WHERE code = 200 AND r.delete_cause IN ($ours) AND (r.deleted_at IS NULL OR r.deleted_at < received_us / 1000);
		SELECT 'on record as deleted by ttl, DELETEs that succeeded:', job_uid, namespace, job_name, count(del.uid) FROM reg.runs LEFT JOIN del ON uid = job_uid AND code = 200
			WHERE delete_state = 'deleted' AND delete_cause = 'ttl' GROUP BY job_uid HAVING count(del.uid) <> 1;
		SELECT 'DELETE succeeded, on record as', r.delete_state, r.delete_cause, del.* FROM del JOIN reg.runs r ON r.job_uid = uid
			WHERE code = 200 AND (r.delete_state <> 'deleted' OR r.delete_cause NOT IN ($ours));
		SELECT 'DELETE too many', * FROM del WHERE '${2:-}' = 'strict' AND code <> 200;
	SQL
	)
	[[ -z $problems ]] || fail "register and API server do not agree ($(wc -l <<<"$problems") times):
$(head -n 10 <<<"$problems")"
}
