# Ends the servers of a test program that ended, however it ended.
#
# $1 is the folder that all its servers run in. Standard input is a pipe whose
# other end only the test program holds: it ends when that does.
root=$1
trap '' HUP INT TERM QUIT
cat >/dev/null

# Every server works in its folder, and so do the processes that it starts.
pids() {
    find /proc/[0-9]* -maxdepth 1 -name cwd \( -lname "$root" -o -lname "$root/*" \) \
        2>/dev/null | cut -d / -f 3
}

# PostgreSQL gives its shared memory back when it is asked to quit, not when it is killed.
for pid in $(pids); do
    kill -QUIT "$pid" 2>/dev/null
    kill -CONT "$pid" 2>/dev/null
done
round=0
while [ "$round" -lt 20 ] && [ -n "$(pids)" ]; do
    [ "$round" -lt 5 ] || kill -KILL $(pids) 2>/dev/null
    sleep 0.1
    round=$((round + 1))
done
rm -rf "$root"
