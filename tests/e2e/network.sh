# shellcheck shell=bash
# Networks between a controller and the API server, which can be cut and healed, and what is asked for meanwhile.
#
# To be sourced after lib.sh and judge.sh; works on $SCENARIO_DIR.

E2E_PROXY=${E2E_PROXY:-$E2E_ROOT/build/e2e-proxy}
declare -A NETWORK=() NETWORK_PORT=() # pids, and where they listen

# network_start NAME [USER]: a way of its own to the API server, for this user; SEXTON_VIA=NAME takes it
network_start() {
	local port
	port=$(free_ports 1)
	"$E2E_PROXY" "$port" "$API_PORT" >>"$SCENARIO_DIR/network-$1" 2>&1 &
	NETWORK[$1]=$! NETWORK_PORT[$1]=$port
	end_with_scenario $!
	API=https://127.0.0.1:$port kubeconfig_write "$(kubeconfig_of "$1")" "{token: \"$(token_of "${2:-sexton}")\"}"
	wait_until 5 "the network $1" port_taken "$port"
}
port_taken() { ! port_free "$1"; }
network_cut() { kill -USR1 "${NETWORK[$1]}"; }
network_heal() { kill -USR2 "${NETWORK[$1]}"; }

# requests_between NETWORK FROM TO [USER]: of these Unix ms, the connections that were begun and the requests that came
# to nothing: what a controller does that cannot reach its API server. (Connections that were refused were requests.)
requests_between() {
	local connections refused
	connections=$(awk -v from="$2" -v to="$3" '$1 >= from && $1 < to' "$SCENARIO_DIR/network-$1" | wc -l)
	refused=$(audit_filter "${4:-sexton}" "select(.stage == \"ResponseComplete\" and (.requestReceivedTimestamp | us / 1000 | . >= $2 and . < $3) and
		(.responseStatus.code < 200 or .responseStatus.code >= 500)) | .verb" | wc -l)
	echo "$connections $refused"
}
