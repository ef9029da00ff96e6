#!/usr/bin/env bash
# End what rgw_up.sh has started.    usage: rgw_down.sh FOLDER
folder=${1:?folder}
for name in rgw osd mon; do
    pid=$(cat "$folder/$name.pid" 2> /dev/null) || continue
    kill "$pid" 2> /dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2> /dev/null || break; sleep .1; done
    kill -9 "$pid" 2> /dev/null
done
true
