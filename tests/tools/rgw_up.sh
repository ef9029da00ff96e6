#!/usr/bin/env bash
# Start a Ceph RADOS Gateway, an S3 server, on loopback: one monitor, one store in memory, one gateway.
# usage: rgw_up.sh FOLDER PORT MONITOR_PORT    prints ENDPOINT KEY SECRET; process ids in FOLDER/*.pid
set -euo pipefail
folder=${1:?folder} port=${2:?port} monitor_port=${3:?port of the monitor}
here=$(cd "$(dirname "$0")" && pwd)
trap 'code=$?; [ "$code" = 0 ] || bash "$here/rgw_down.sh" "$folder"; exit "$code"' EXIT
mkdir -p "$folder"/{mon,osd,rgw,run,log}
export CEPH_CONF=$folder/ceph.conf
cat > "$CEPH_CONF" <<END
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:127.0.0.1:$monitor_port/0]
mon initial members = a
ms bind ipv4 = true
ms bind ipv6 = false
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
public addr = 127.0.0.1
keyring = $folder/keyring
run dir = $folder/run
admin socket = $folder/run/\$name.asok
log file = $folder/log/\$name.log
mon cluster log file = $folder/log/cluster.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon warn on pool no redundancy = false
mon data avail crit = 1
mon data avail warn = 2
[mon.a]
host = localhost
mon data = $folder/mon
[osd.0]
host = localhost
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = 4294967296
memstore page set = false
osd memory target = 939524096
osd class load list = *
osd class default list = *
osd op num shards = 2
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw data = $folder/rgw
rgw enable ops log = false
rgw thread pool size = 64
rgw dns name = localhost
END
key() { ceph-authtool "$folder/keyring" --gen-key -n "$@" > /dev/null; }
ceph-authtool --create-keyring "$folder/keyring" --gen-key -n mon. --cap mon 'allow *' > /dev/null
key client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
key client.rgw --cap mon 'allow *' --cap osd 'allow *'
key osd.0 --cap mon 'allow *' --cap mgr 'allow *' --cap osd 'allow *'
fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$monitor_port]" "$folder/monmap" > /dev/null
ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
ceph-mon -i a --pid-file "$folder/mon.pid"
for _ in $(seq 50); do ceph --connect-timeout 2 -s > /dev/null 2>&1 && break; sleep .2; done
disk=$(cat /proc/sys/kernel/random/uuid)
ceph osd new "$disk" > /dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$disk" 2>> "$folder/log/osd-mkfs.log"
ceph-osd -i 0 --pid-file "$folder/osd.pid" 2>> "$folder/log/osd.log" > /dev/null
radosgw -n client.rgw --pid-file "$folder/rgw.pid"
for _ in $(seq 300); do
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break
    sleep .2
done
radosgw-admin user create --uid=test --display-name=test --access-key=AKIATEST --secret-key=secretsecret > /dev/null
echo "http://127.0.0.1:$port AKIATEST secretsecret"
