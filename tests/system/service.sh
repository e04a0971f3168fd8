# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# What the checks ask of systemd and of weft inside the machine.  Sourced after machine.sh.

# put FILE: stdin into the machine's file.
put() {
    mkdir -p "$(dirname "${machine_root:?}$1")"
    cat >"$machine_root$1"
}

# Short times, and little at once, so that some jobs run while others wait.
put_test_settings() {
    put /etc/weft/weftd.conf.d/10-test.conf <<'CONF'
[daemon]
drain = 1s
grace = 10s
[exec]
kill_grace = 1s
[queue default]
concurrency = 4
CONF
}

unit() {
    inside systemctl show --value --property "$1" "${2:-weftd.service}"
}

# Not procps, which the tree lacks.
send() { # SIGNAL PID
    inside sh -c 'kill -"$1" "$2"' sh "$1" "$2"
}

unit_is() { # PROPERTY VALUE [UNIT]
    [ "$(unit "$1" "${3:-weftd.service}")" = "$2" ]
}

weft() {
    inside weft "$@"
}

journal() {
    inside journalctl --quiet --no-pager --output=cat "$@"
}

journal_has() {
    journal --unit=weftd.service | grep -qF -- "$1"
}

# Ids of the jobs in that state, oldest first.
jobs_in() {
    weft list --state "$1" --limit 1000 --json | jq .id | sort -n
}

count_in() {
    jobs_in "$1" | wc -l
}

counts_are() { # RUNNING QUEUED
    [ "$(count_in running) $(count_in queued)" = "$1 $2" ]
}

# Processes of our blocking jobs, two for each job that runs; not the grep itself.
blockers_alive() {
    inside sh -c 'grep -lzx "8639[9]" /proc/[0-9]*/cmdline 2>/dev/null | wc -l'
}

blockers_are() {
    [ "$(blockers_alive)" = "$1" ]
}

# Everything below the unit's control group, in whichever hierarchy.
processes_of_unit() {
    inside sh -c 'find /sys/fs/cgroup -path "*/weftd*.service*" -name cgroup.procs -exec cat {} + | sort -u'
}
