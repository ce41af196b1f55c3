#!/bin/bash
# check.sh PREFIX: resolvers as people have them ask a server of its own. REGISTRY is the program,
# COREDNS a CoreDNS that forwards. Each check prints one line of JSON.
#
# In a namespace of its own: there the server has port 53, which glibc cannot be told otherwise, and
# /etc/resolv.conf names it.
set -u
if [ -z "${DNS_CHECK_INSIDE:-}" ]; then
    DNS_CHECK_INSIDE=1 exec unshare --map-root-user --mount --net -- bash "$0" "$@"
fi
prefix=$1
folder=$(mktemp -d)
pids=()
finish() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT
ip link set lo up
# glibc asks for no kind of address of which the machine has none.
ip addr add 192.0.2.1/32 dev lo
ip -6 addr add 2001:db8:ffff::1/128 dev lo nodad 2>/dev/null

"$REGISTRY" --in-memory --bind 127.0.0.1 --port 8848 --set dns.port=53 \
    >"$folder/banner" 2>"$folder/log" &
pids+=($!)
for _ in $(seq 100); do
    curl -sf http://127.0.0.1:8848/nacos/v1/console/health/readiness >/dev/null && break
    sleep 0.1
done
register() {
    curl -sf -X POST "http://127.0.0.1:8848/nacos/v1/ns/instance?serviceName=$1&ip=$2&port=8080${3:-}" >/dev/null
}
register "$prefix" 10.0.0.1
register "$prefix" 10.0.0.2 '&weight=3'
register "$prefix" 2001:db8::1
register "$prefix" 10.0.0.3 '&groupName=shop&namespaceId=dev'
for n in $(seq 1 200); do register many "10.1.0.$n"; done
name=$prefix.nacos.internal

# check NAME WANTED COMMAND: passes if the output of the command, sorted, is what is wanted.
check() {
    local begun ended found ok=true detail
    begun=$(date +%s%3N)
    found=$(eval "$3" 2>&1 | sort)
    ended=$(date +%s%3N)
    detail=
    if [ "$found" != "$2" ]; then
        ok=false
        detail=$(printf '%s' "$found" | head -c 300 | tr '\n\t"\\' '   /')
    fi
    printf '{"check":"%s","ok":%s,"millis":%d,"detail":"%s"}\n' "$1" "$ok" $((ended - begun)) "$detail"
}
lines() { printf '%s\n' "$@" | sort; }
ask="dig +short +time=2 +tries=1 @127.0.0.1"

check "dig-addresses" "$(lines 10.0.0.1 10.0.0.2)" "$ask $name A"
check "dig-six" "2001:db8::1" "$ask $name AAAA"
check "dig-case" "$(lines 10.0.0.1 10.0.0.2)" "$ask ${name^^} A"
check "dig-group" "10.0.0.3" "$ask $prefix.shop.dev.nacos.internal A"
check "dig-services" "$(lines '0 100 8080 addr-0a000001.nacos.internal.' \
    '0 300 8080 addr-0a000002.nacos.internal.' \
    '0 100 8080 addr-20010db8000000000000000000000001.nacos.internal.')" "$ask $name SRV"
check "dig-target" "10.0.0.1" "$ask addr-0a000001.nacos.internal A"
check "dig-tcp" "$(lines 10.0.0.1 10.0.0.2)" "$ask +tcp $name A"
# More than a datagram holds: it asks again by TCP.
check "dig-cut" "64" "$ask +bufsize=512 many.nacos.internal A | grep -c ^10"
check "dig-nothing" "status: NXDOMAIN" "dig @127.0.0.1 none.nacos.internal | grep -o 'status: [A-Z]*'"
check "dig-elsewhere" "status: REFUSED" "dig @127.0.0.1 example.com | grep -o 'status: [A-Z]*'"

# By names, in the order of nsswitch.conf: only DNS here.
printf 'nameserver 127.0.0.1\noptions timeout:2 attempts:1\n' >"$folder/resolv.conf"
printf 'hosts: dns\n' >"$folder/nsswitch.conf"
mount --bind "$folder/resolv.conf" "$(realpath /etc/resolv.conf)"
mount --bind "$folder/nsswitch.conf" /etc/nsswitch.conf
check "glibc-addresses" "$(lines 10.0.0.1 10.0.0.2)" "getent ahostsv4 $name | awk '{print \$1}' | sort -u"
check "glibc-six" "2001:db8::1" "getent ahostsv6 $name | awk '{print \$1}' | grep -v ffff | sort -u"
check "glibc-nothing" "" "getent ahosts none.nacos.internal"
# More than a datagram holds: it asks again by TCP.
check "glibc-many" "64" "getent ahostsv4 many.nacos.internal | awk '{print \$1}' | sort -u | wc -l"

coredns() {
    printf '.:%s {\n errors\n cache 1\n forward . 127.0.0.1:53 {\n %s\n }\n}\n' "$1" "$2" >"$folder/$1"
    "$COREDNS" -conf "$folder/$1" >"$folder/coredns-$1" 2>&1 &
    pids+=($!)
    for _ in $(seq 100); do
        dig +time=1 +tries=1 -p "$1" @127.0.0.1 "$name" >/dev/null && break
        sleep 0.1
    done
}
coredns 1053 "prefer_udp"
coredns 1054 "force_tcp"
check "coredns-addresses" "$(lines 10.0.0.1 10.0.0.2)" "$ask -p 1053 $name A"
check "coredns-services" "3" "$ask -p 1053 $name SRV | wc -l"
check "coredns-many" "64" "$ask -p 1053 +tcp many.nacos.internal A | wc -l"
check "coredns-force-tcp" "$(lines 10.0.0.1 10.0.0.2)" "$ask -p 1054 $name A"
check "coredns-nothing" "status: NXDOMAIN" "dig -p 1054 @127.0.0.1 none.nacos.internal | grep -o 'status: [A-Z]*'"
