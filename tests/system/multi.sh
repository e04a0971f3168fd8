# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# The checks of weftd-multi.service: root's weftd, two ordinary users, and one of the admins' group.
# Sourced by checks.sh, with weftd.service up, which it brings back.
: "${work:?}" "${machine_leader:?}"

multi=weftd-multi.service

# The unit's five capabilities, of those that the machine itself has: a container may lack some.
multi_capabilities=$(printf '%016x' $((0x18000e0 & 0x$(sed -n 's/^CapBnd:.//p' "/proc/$machine_leader/status"))))
case $multi_capabilities in
    *18000e0) descriptors=600000 ;; # CAP_SYS_RESOURCE: above the hard limit that services have
    *) descriptors=1000 ;;
esac

put_multi_settings() {
    put /etc/weft/weftd.conf.d/50-multi.conf <<CONF
[access]
admin_group = weft-admins
[exec]
nice = -5
limits = nofile=512:$descriptors
CONF
}

multi_takes_over() {
    inside systemctl start weftd-multi.socket && unit_is ActiveState inactive &&
        unit_is ActiveState inactive weftd.socket && unit_is ActiveState inactive $multi
}

# The unit's process: its user, and what it may do.
multi_runs_as() { # USER MASK
    # shellcheck disable=SC2016
    is "$1 $2" inside sh -c 'cd "/proc/$(systemctl show --value -p MainPID "$1")" &&
        echo "$(stat -c %U .) $(sed -n "s/^CapEff:.//p" status)"' sh $multi
}

job_shares_tmp() {
    as alice sh -c 'echo before >/tmp/of-alice' && as alice weft run -- sh -c 'cat /tmp/of-alice; echo after >/tmp/of-alice' &&
        is after as alice cat /tmp/of-alice
}

multi_reloads() {
    printf '[queue night]\n' | put /etc/weft/weftd.conf.d/60-night.conf
    inside systemctl reload $multi && as alice weft run --queue night -- true
    inside rm /etc/weft/weftd.conf.d/60-night.conf
}

# A job that says who runs it, and blocks with a process that left its session.
submit_blocker() { # USER
    as "$1" weft submit -- sh -c 'id -un; setsid sleep 86399 & exec sleep 86399'
}

submit_both() {
    of_alice=$(submit_blocker alice) && of_bob=$(submit_blocker bob) && wait_for 20 counts_are 2 0 &&
        wait_for 10 blockers_are 4
}

# The two processes in that job's control group are that user's.
runs_apart() { # USER ID
    # shellcheck disable=SC2016
    is "$1 $1" inside sh -c 'for pid in $(find /sys/fs/cgroup -path "*/$1/cgroup.procs" -exec cat {} +); do
        stat -c %U "/proc/$pid"; done | paste -s -d " "' sh "$multi/job-$2-1"
}

each_runs_apart() {
    runs_apart alice "$of_alice" && runs_apart bob "$of_bob"
}

ids_of() { # USER
    as "$1" weft list --json | jq .id | sort -n | paste -s -d ' '
}

touches_nothing() { # USER ID: of another's
    for verb in show explain logs 'logs --follow' 'wait --timeout 9' cancel retry; do
        # shellcheck disable=SC2086
        refused "there is no job $2" as "$1" weft $verb "$2" || return 1
    done
}

# alice's jobs came before.
first_event_is() { # USER ID
    as "$1" weft events --since 0 --limit 1 --json >"$work/event" && cat "$work/event" && jq -e ".id == $2" "$work/event"
}

admin_sees_all() {
    says alice as carol weft logs "$of_alice" && says bob as carol weft logs "$of_bob" &&
        ids_of carol | grep -qE "(^| )$of_alice $of_bob( |\$)"
}

user_cancels() { # USER ID LEFT: that many processes
    as "$1" weft cancel "$2" && wait_for 10 blockers_are "$3"
}

runs_again() {
    inside systemctl start $multi && wait_for 20 counts_are 2 0 && wait_for 10 blockers_are 4 && each_runs_apart
}

back_to_weftd() {
    inside rm /etc/weft/weftd.conf.d/50-multi.conf
    inside systemctl start weftd.socket && weft ping && unit_is ActiveState active &&
        unit_is ActiveState inactive $multi && unit_is ActiveState inactive weftd-multi.socket
}

inside groupadd weft-admins
inside useradd --create-home --groups weft bob
inside useradd --create-home --groups weft,weft-admins carol
inside install -m 4755 /usr/bin/id /usr/local/bin/setuid-id
put_multi_settings
check "weftd-multi.socket takes over" multi_takes_over
check "its socket is root's, for the group weft" is 'root:weft 660' inside stat -c '%U:%G %a' /run/weft/weft.sock
check "so is the socket's folder, where nobody else puts another" is 'root:root 755' inside stat -c '%U:%G %a' /run/weft
check "the first job starts it and runs as its submitter, in its groups" is 'alice alice weft' \
    as alice weft run -- sh -c 'echo "$(id -un) $(id -Gn)"'
check "weftd is root, with five capabilities and no more" multi_runs_as root "$multi_capabilities"
check "its state folder is root's alone" is 'root:root 700' inside stat -c '%U:%G %a' /var/lib/weft-multi
check "a job has no capability" says "$(printf 'CapEff:\t0000000000000000')" as alice weft run -- cat /proc/self/status
check "it may use programs with the setuid bit" is 0 as alice weft run -- setuid-id -u
check "it gets what [exec] gives, with weftd's rights" is "-5 512 $descriptors" \
    as alice weft run -- sh -c 'echo "$(nice) $(ulimit -Sn) $(ulimit -Hn)"'
check "it may not ask for more" refused 'niceness -10: Permission denied' as alice weft run --nice -10 -- true
check "it sees the machine's /tmp" job_shares_tmp
check "a handler is for root alone" refused 'only root may' as alice weft call echo '{}'
check "anyone outside of the group is refused" refused 'you may not use this socket' as mallory weft ping
check "a member may not reload" refused 'only root' as alice weft reload
check "systemctl reload reaches it" multi_reloads
check "two users' jobs run" submit_both
check "each as its submitter, in a control group of its own" each_runs_apart
check "bob has nothing of alice's job" touches_nothing bob "$of_alice"
check "alice has nothing of bob's" touches_nothing alice "$of_bob"
check "bob's list is bob's" is "$of_bob" ids_of bob
check "so are bob's events" first_event_is bob "$of_bob"
check "nobody reads output past weftd" refused 'Permission denied' as bob ls /var/lib/weft-multi
check "both jobs run still" counts_are 2 0
check "a member of the admins' group sees all" admin_sees_all
check "systemctl stop drains" stop_within 10 $multi weftd-multi.socket
check "it ended with success, exit status 0" is 'success 0' inside sh -c \
    'echo "$(systemctl show --value -p Result weftd-multi) $(systemctl show --value -p ExecMainStatus weftd-multi)"'
check "no process is left in its control group" is '' processes_of_unit
check "no process of a job is left anywhere" is 0 blockers_alive
check "started again, both run again as their submitters" runs_again
check "a cancel ends the whole of a user's job" user_cancels alice "$of_alice" 2
check "an admin cancels another's" user_cancels carol "$of_bob" 0
check "and back to weftd.service" back_to_weftd
