#!/bin/bash
# Installs the package, starts the server as its user, upgrades, removes and purges, over a copy of
# this machine's files that is thrown away. As root, on Debian:
#   deploy/debian/check.sh naming-server_1_amd64.deb naming-server_2_amd64.deb
set -eu
if [ "${inside:-}" != yes ]; then
    inside=yes exec unshare --mount --propagation private "$0" "$(realpath "$1")" "$(realpath "$2")"
fi
top=$(mktemp -d)
port=18848
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$top/root"
root=$top/root
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mkdir "$root/packages"
cp "$1" "$root/packages/first.deb"
cp "$2" "$root/packages/second.deb"
within() { chroot "$root" "$@"; }
expect() { [ "$1" = "$2" ] || { echo "expected $2, not $1"; exit 1; }; }

within dpkg --install /packages/first.deb
expect "$(within stat -c '%A %U %G' /etc/naming-server)" "drwxr-x--- root naming-server"
expect "$(within stat -c '%A %U %G' /var/lib/naming-server)" "drwx------ naming-server naming-server"
test -L "$root/etc/systemd/system/multi-user.target.wants/naming-server.service"

server=(/usr/bin/naming-server --bind 127.0.0.1 --port "$port")
chroot --userspec=naming-server:naming-server "$root" "${server[@]}" \
    --config /etc/naming-server/naming.toml >"$top/out" 2>"$top/log" &
for _ in $(seq 1 50); do
    within "${server[@]}" probe readiness 2>/dev/null && break
    sleep 0.2
done
within "${server[@]}" probe readiness
kill -TERM $!
wait $!
grep -q stopped "$top/log"

echo '# changed by its operator' >>"$root/etc/naming-server/naming.toml"
echo secret >"$root/etc/naming-server/cluster.secret"
within dpkg --install /packages/second.deb
expect "$(tail -n 1 "$root/etc/naming-server/naming.toml")" '# changed by its operator'
test -e "$root/var/lib/naming-server/registry.redb"

within dpkg --remove naming-server
test -e "$root/etc/naming-server/cluster.secret" -a -e "$root/var/lib/naming-server/registry.redb"
within dpkg --purge naming-server
test ! -e "$root/etc/naming-server" -a ! -e "$root/var/lib/naming-server"
expect "$(within getent passwd naming-server || echo nobody)" nobody
echo "the package installs, starts, upgrades, is removed and purged"
