# Kills the servers of a test program after the program has ended, for any reason.
#
# $1 is the folder that contains the folders of all its servers. Standard input is a pipe
# whose
# other end only the test program holds: it closes when the program ends.
root=$1
trap '' HUP INT TERM QUIT
cat >/dev/null

# Every server and its child processes have their working directory in this folder.
pids() {
    find /proc/[0-9]* -maxdepth 1 -name cwd \( -lname "$root" -o -lname "$root/*" \) \
        2>/dev/null | cut -d / -f 3
}

# PostgreSQL releases its shared memory on SIGQUIT, but not on SIGKILL.
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
