#!/usr/bin/env bash
# End what rgw_up.sh has started; what it held was in memory.    usage: rgw_down.sh FOLDER
folder=${1:?folder}
for name in rgw osd mon; do
    pid=$(cat "$folder/$name.pid" 2> /dev/null) && kill -9 "$pid" 2> /dev/null
done
true
