#!/usr/bin/env bash
# Secures an open logical-replication cluster with the tools that every administrator has: openssl,
# psql and an editor's work done by sed. Runs on one machine, as root or as the servers' account;
# a real cluster needs scp and ssh besides.
#
# The time that it takes is a figure of the benchmark secure_cluster.
set -euo pipefail

usage() {
    cat >&2 <<'END'
usage: secure.sh [-k rsa2048|p256] [-n NETWORK] -r ROLE -d DATABASE -c CA_FOLDER NODE...

NODE  NAME,ADDRESS,PORT,SOCKET_FOLDER
-k    kind of the keys [rsa2048]
-n    where the peers connect from [127.0.0.1/32]
-r    the role that replicates
-d    the database that is replicated
-c    the folder to make, for the CA and all certificates
END
    exit 2
}

fail() {
    echo "secure.sh: $*" >&2
    exit 1
}

kind=rsa2048 network=127.0.0.1/32 role='' database='' ca=''
while getopts k:n:r:d:c: option; do
    case $option in
        k) kind=$OPTARG ;;
        n) network=$OPTARG ;;
        r) role=$OPTARG ;;
        d) database=$OPTARG ;;
        c) ca=$OPTARG ;;
        *) usage ;;
    esac
done
shift $((OPTIND - 1))
[[ $role && $database && $ca && $# -ge 2 ]] || usage
case $kind in
    rsa2048) new_key=(-newkey rsa:2048) ;;
    p256) new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256) ;;
    *) usage ;;
esac

nodes=()
declare -A address port sockets node_at
for argument; do
    IFS=, read -r name a p s <<<"$argument"
    nodes+=("$name")
    address[$name]=$a port[$name]=$p sockets[$name]=$s node_at[$a:$p]=$name
done

# NODE SQL
sql() {
    psql -XqAt -F ' ' -v ON_ERROR_STOP=1 \
        -h "${sockets[$1]}" -p "${port[$1]}" -U postgres -d "$database" -c "$2"
}

# NODE SQL EXPECTED WHAT
wait_for() {
    local deadline=$((SECONDS + 60))
    until [[ $(sql "$1" "$2") == "$3" ]]; do
        ((SECONDS < deadline)) || fail "$1: $4 did not come"
        sleep 0.1
    done
}

### What is there

declare -A data config hba owner
for node in "${nodes[@]}"; do
    IFS='|' read -r data[$node] config[$node] hba[$node] < <(sql "$node" "SELECT concat_ws('|',
        current_setting('data_directory'), current_setting('config_file'),
        current_setting('hba_file'))")
    owner[$node]=$(stat -c %u:%g "${data[$node]}")
done

### A CA, and two certificates for each node

umask 077
mkdir "$ca"
log=$ca/openssl.log

if ! openssl req -x509 "${new_key[@]}" -nodes -days 3650 -subj "/CN=cluster CA" \
    -config <(printf '%s\n' '[req]' 'distinguished_name=dn' 'x509_extensions=ca' '[dn]' '[ca]' \
        basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign,cRLSign \
        subjectKeyIdentifier=hash) \
    -keyout "$ca/root.key" -out "$ca/root.crt" 2>>"$log"; then
    fail "openssl, see $log"
fi

# FILE COMMON_NAME EXTENSION...
certificate() {
    local file=$ca/$1 name=$2
    shift 2
    openssl req -new "${new_key[@]}" -nodes -subj "/CN=$name" \
        -keyout "$file.key" -out "$file.csr" 2>>"$log" || fail "openssl, see $log"
    openssl x509 -req -in "$file.csr" -CA "$ca/root.crt" -CAkey "$ca/root.key" -CAcreateserial \
        -days 365 -extfile <(printf '%s\n' basicConstraints=critical,CA:FALSE "$@") \
        -out "$file.crt" 2>>"$log" || fail "openssl, see $log"
}

for node in "${nodes[@]}"; do
    certificate "$node.server" "$node" extendedKeyUsage=serverAuth \
        "subjectAltName=DNS:$node,IP:${address[$node]}"
    certificate "$node.client" "$role" extendedKeyUsage=clientAuth
    tls=${data[$node]}/tls
    own=(-o "${owner[$node]%:*}" -g "${owner[$node]#*:}")
    install "${own[@]}" -d -m 700 "$tls"
    install "${own[@]}" -m 644 "$ca/root.crt" "$tls/root.crt"
    for side in server client; do
        install "${own[@]}" -m 644 "$ca/$node.$side.crt" "$tls/$side.crt"
        install "${own[@]}" -m 600 "$ca/$node.$side.key" "$tls/$side.key"
    done
done

### Settings and rules; what a file had before is kept beside it

for node in "${nodes[@]}"; do
    tls=${data[$node]}/tls
    cp -p "${config[$node]}" "${config[$node]}.open"
    cat >>"${config[$node]}" <<END

ssl = on
ssl_ca_file = '$tls/root.crt'
ssl_cert_file = '$tls/server.crt'
ssl_key_file = '$tls/server.key'
ssl_min_protocol_version = 'TLSv1.2'
END
    cp -p "${hba[$node]}" "${hba[$node]}.open"
    {
        echo "hostssl  $database        $role  $network  cert"
        echo "host     all,replication  $role  all  reject"
        echo "local    all,replication  $role  reject"
        # Nobody comes in over the network without saying who he is.
        sed -E 's/^[[:space:]]*host.*[[:space:]]trust[[:space:]]*$/# &/' "${hba[$node]}.open"
    } >"${hba[$node]}"
done

for node in "${nodes[@]}"; do
    # A line that is only warned of has a type: hostssl does not match as long as TLS is off.
    errors=$(sql "$node" "SELECT error FROM pg_file_settings WHERE error IS NOT NULL
        UNION ALL SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL AND type IS NULL")
    [[ -z $errors ]] || fail "$node: $errors"
    kill -HUP "$(head -n 1 "${data[$node]}/postmaster.pid")"
done
for node in "${nodes[@]}"; do
    wait_for "$node" "SHOW ssl" on "TLS"
done

### The links

declare -A subscribers
for node in "${nodes[@]}"; do
    tls=${data[$node]}/tls
    subscriptions=$(sql "$node" "SELECT subname, substring(subconninfo from 'host=([^ ]+)'),
        substring(subconninfo from 'port=([^ ]+)')
        FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
        WHERE datname = current_database()")
    [[ $subscriptions ]] || continue
    alter=''
    while read -r subscription a p; do
        peer=${node_at[$a:$p]-}
        [[ $peer ]] || fail "$node: the subscription $subscription leads to $a:$p: no such node"
        subscribers[$peer]=$((${subscribers[$peer]-0} + 1))
        alter+="ALTER SUBSCRIPTION \"$subscription\" CONNECTION 'host=$peer hostaddr=$a port=$p
            dbname=$database user=$role sslmode=verify-full sslrootcert=$tls/root.crt
            sslcert=$tls/client.crt sslkey=$tls/client.key';"
    done <<<"$subscriptions"
    sql "$node" "$alter"
done
for node in "${nodes[@]}"; do
    wait_for "$node" "SELECT count(*) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)
        WHERE state = 'streaming' AND ssl AND client_dn = '/CN=$role'" \
        "${subscribers[$node]-0}" "replication over TLS"
done
