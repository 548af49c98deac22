# shellcheck shell=bash
# Every way to log in that kubectl knows.

scenarios_once it_logs_in_by_token_and_by_token_file \
	it_logs_in_by_client_certificate \
	it_refuses_a_server_it_cannot_verify \
	it_logs_in_by_exec_credential_plugin \
	it_merges_the_files_of_kubeconfig_and_takes_the_context \
	it_runs_as_a_kubectl_plugin \
	in_a_pod_it_uses_the_service_account

# connects FILE [USER]: with this kubeconfig, and no other, sexton is let in and recognised as USER.
connects() {
	local rc=0
	audit_mark
	KUBECONFIG='' timeout 30 "$SEXTON" plan --config "$SCENARIO_DIR/config.ini" --kubeconfig "$1" -o json >"$SCENARIO_DIR/out" 2>"$SCENARIO_DIR/err" || rc=$?
	[[ $rc -eq 0 ]] || fail "exit status $rc with $(basename "$1"): $(tail -n 3 "$SCENARIO_DIR/err")"
	expect_eq "Jobs seen with $(basename "$1")" 1 "$(jq length "$SCENARIO_DIR/out")"
	expect_match "who was seen with $(basename "$1")" '^list' "$(audit_requests "${2:-sexton}" | grep jobs)"
}
connect_world() { # connect_world NAMESPACE
	namespaces_create "$1"
	job_create "$1" job
	config_write
}

scenario_it_logs_in_by_token_and_by_token_file() {
	local dir=$SCENARIO_DIR
	connect_world connect-token
	connects "$(kubeconfig_of sexton)"
	token_of sexton >"$dir/token"
	kubeconfig_write "$dir/token-file" "{tokenFile: \"$dir/token\"}"
	connects "$dir/token-file"
	kubeconfig_write "$dir/token-file-relative" "{tokenFile: token}"
	connects "$dir/token-file-relative"
}

scenario_it_logs_in_by_client_certificate() {
	local dir=$SCENARIO_DIR tls=$E2E/tls
	connect_world connect-certificate
	kubeconfig_write "$dir/files" "{client-certificate: \"$tls/sexton.crt\", client-key: \"$tls/sexton.key\"}"
	connects "$dir/files"
	kubeconfig_write "$dir/data" "{client-certificate-data: $(base64 -w 0 "$tls/sexton.crt"), client-key-data: $(base64 -w 0 "$tls/sexton.key")}" \
		"certificate-authority-data: $(base64 -w 0 "$tls/ca.crt")"
	connects "$dir/data"
	kubeconfig_write "$dir/server-name" "{token: $(token_of sexton)}" "certificate-authority: \"$tls/ca.crt\", tls-server-name: kubernetes.default.svc"
	connects "$dir/server-name"
	kubeconfig_write "$dir/insecure" "{token: $(token_of sexton)}" "insecure-skip-tls-verify: true"
	connects "$dir/insecure"
	grep -qi insecure "$dir/err" || fail "no warning that the server's certificate is not verified"
}

scenario_it_refuses_a_server_it_cannot_verify() {
	local dir=$SCENARIO_DIR rc=0
	connect_world connect-verify
	(
		cd "$dir" || exit
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -keyout other.key -out other.crt -subj /CN=other 2>/dev/null
	)
	kubeconfig_write "$dir/other-ca" "{token: $(token_of sexton)}" "certificate-authority: \"$dir/other.crt\""
	KUBECONFIG='' timeout 30 "$SEXTON" plan --config "$dir/config.ini" --kubeconfig "$dir/other-ca" >"$dir/out" 2>"$dir/err" || rc=$?
	expect_eq "exit status" 1 "$rc"
	[[ -s $dir/err ]] || fail "not a word about it"
}

scenario_it_logs_in_by_exec_credential_plugin() {
	local dir=$SCENARIO_DIR version
	connect_world connect-plugin
	cat >"$dir/plugin" <<-'PLUGIN'
		#!/bin/sh
		# ExecCredential, as EKS and GKE logins give it.
		echo run >>"$PLUGIN_COUNT"
		printf '{"apiVersion": "%s", "kind": "ExecCredential", "status": {"token": "%s", "expirationTimestamp": "%s"}}\n' "$1" "$PLUGIN_TOKEN" "$(date -u -d '+1 hour' +%FT%TZ)"
	PLUGIN
	chmod +x "$dir/plugin"
	for version in v1beta1 v1; do
		kubeconfig_write "$dir/exec-$version" "{exec: {apiVersion: client.authentication.k8s.io/$version, command: \"$dir/plugin\", interactiveMode: Never,
		    args: [client.authentication.k8s.io/$version], env: [{name: PLUGIN_TOKEN, value: $(token_of sexton)}, {name: PLUGIN_COUNT, value: \"$dir/count\"}]}}"
		connects "$dir/exec-$version"
	done
	expect_eq "runs of the plugin" 2 "$(wc -l <"$dir/count")"
}

scenario_it_merges_the_files_of_kubeconfig_and_takes_the_context() {
	local dir=$SCENARIO_DIR
	connect_world connect-merges
	cat >"$dir/users" <<-K
		apiVersion: v1
		kind: Config
		users:
		- {name: r, user: {token: $(token_of reader)}}
		- {name: s, user: {token: $(token_of sexton)}}
	K
	cat >"$dir/rest" <<-K
		apiVersion: v1
		kind: Config
		current-context: as-reader
		clusters: [{name: c, cluster: {server: "$API", certificate-authority: "$E2E/tls/ca.crt"}}]
		contexts: [{name: as-reader, context: {cluster: c, user: r}}, {name: as-sexton, context: {cluster: c, user: s}}]
	K
	audit_mark
	KUBECONFIG=$dir/users:$dir/rest "$SEXTON" plan --config "$dir/config.ini" -o json >"$dir/out"
	expect_match "who was seen" 'list jobs 200' "$(audit_requests reader)"
	KUBECONFIG=$dir/users:$dir/not-there:$dir/rest "$SEXTON" plan --config "$dir/config.ini" --context as-sexton -o json >"$dir/out"
	expect_match "who was seen with --context" 'list jobs 200' "$(audit_requests sexton)"
}

scenario_it_runs_as_a_kubectl_plugin() {
	mkdir "$SCENARIO_DIR/bin"
	ln -s "$SEXTON" "$SCENARIO_DIR/bin/kubectl-sexton"
	PATH=$SCENARIO_DIR/bin:$PATH kubectl sexton version >"$SCENARIO_DIR/out"
	[[ -s $SCENARIO_DIR/out ]] || fail "it says nothing"
}

# In a mount namespace of its own, the token is where a Pod has it.
scenario_in_a_pod_it_uses_the_service_account() {
	local dir=$SCENARIO_DIR user=system:serviceaccount:sexton:sexton
	unshare -m true 2>/dev/null || skip "no mount namespaces here"
	connect_world connect-pod
	job_finish connect-pod job Complete
	mkdir "$dir/account"
	api POST /api/v1/namespaces/sexton/serviceaccounts/sexton/token \
		'{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}' | jq -rj .status.token >"$dir/account/token"
	cp "$E2E/tls/ca.crt" "$dir/account/ca.crt"
	printf sexton >"$dir/account/namespace"
	cat >"$dir/pod" <<-'POD'
		set -eu
		mount -t tmpfs none "$(readlink -f /var/run)"
		mkdir -p /var/run/secrets/kubernetes.io
		cp -R "$1" /var/run/secrets/kubernetes.io/serviceaccount
		shift
		exec "$@"
	POD
	env -u KUBECONFIG HOME=/nonexistent KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT="$API_PORT" \
		unshare -m sh "$dir/pod" "$dir/account" timeout 60 "$SEXTON" sweep --config "$dir/config.ini" >"$dir/out" 2>&1 ||
		fail "exit status $?: $(tail -n 3 "$dir/out")"
	job_gone connect-pod job || fail "the Job is still there"
	expect_match "who was seen" 'delete jobs 200' "$(audit_requests "$user")"
}
