# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# The checks, in the order of an operator's day; each group stands on those before it.
# Sourced by run.sh with the machine up.
: "${work:?}"

# ---- installed ---------------------------------------------------------------------------------

libraries_are_there() {
    ! inside ldd /usr/bin/weftd /usr/bin/weft | grep 'not found'
}

no_unit_failed() {
    is '' inside systemctl list-units --failed --no-legend --plain
}

units_verify() {
    inside systemd-analyze verify --man=no /usr/lib/systemd/system/weftd.service \
        /usr/lib/systemd/system/weftd-strict.service /usr/lib/systemd/system/weftd-multi.service \
        /usr/lib/systemd/system/weftd.socket /usr/lib/systemd/system/weftd-multi.socket \
        >"$work/verify" 2>&1 || { cat "$work/verify"; return 1; }
    ! grep -i weft "$work/verify"
}

exposure() { # UNIT MOST
    inside systemd-analyze security --offline=true --no-pager "/usr/lib/systemd/system/$1" \
        >"$work/security" 2>&1 || :
    score=$(sed -n 's/.*exposure level.*: \([0-9.]*\).*/\1/p' "$work/security")
    [ -n "$score" ] || { cat "$work/security"; return 1; }
    awk "BEGIN { exit !($score <= $2) }" || { tail -n 1 "$work/security"; return 1; }
}

check "the machine boots" machine_is_up
check "its libraries serve both programs" libraries_are_there
check "no unit failed at boot" no_unit_failed
check "sysusers: user and group weft" says '(weft)' inside id weft
check "tmpfiles: /run/weft is weft's" is 'weft:weft 755' inside stat -c '%U:%G %a' /run/weft
check "weftd --check accepts the installed configuration" inside weftd --check
check "systemd-analyze verify has nothing to say" units_verify
check "systemd-analyze security: weftd-strict.service is at most 1.6" exposure weftd-strict.service 1.6
echo "      weftd-strict.service: ${score:-?}"
check "systemd-analyze security: weftd.service is at most 6.0" exposure weftd.service 6.0
echo "      weftd.service: ${score:-?}"
check "systemd-analyze security: weftd-multi.service is at most 7.7" exposure weftd-multi.service 7.7
echo "      weftd-multi.service: ${score:-?}"

# ---- started by its socket ---------------------------------------------------------------------

# The first one starts weftd, the second one finds it.
answers_raw() {
    # shellcheck disable=SC2016
    as alice sh -c 'printf "%s\n" "$1" | socat -t 10 - UNIX:/run/weft/weft.sock' sh \
        '{"jsonrpc":"2.0","id":1,"method":"job.submit","params":{"argv":["date"]}}' >"$work/raw"
    cat "$work/raw"
    jq -e '.id == 1 and (.result.id | type) == "number"' "$work/raw"
}

inside useradd --create-home --groups weft alice
inside useradd --create-home mallory
if [ -n "$debs" ]; then
    check "the packages have it enabled, and it runs" unit_is ActiveState active
    inside systemctl stop weftd.service
fi
check "the socket is enabled and starts" inside systemctl enable --now weftd.socket
check "the socket is weft's, for its group" is 'weft:weft 660' inside stat -c '%U:%G %a' /run/weft/weft.sock
check "weftd does not run yet" unit_is ActiveState inactive
check "the first weft ping starts it" weft ping
check "it is active, by its own readiness (Type=notify)" is 'notify active running' \
    inside sh -c 'systemctl show --value -p Type -p ActiveState -p SubState weftd | tr "\n" " " | sed "s/ *$//"'
check "systemctl status tells what it says of itself" says 'Status: "ready on /run/weft/weft.sock"' \
    inside systemctl status --no-pager weftd
check "it runs as weft" is weft inside sh -c 'ps=$(systemctl show --value -p MainPID weftd); stat -c %U /proc/$ps'
check "the state folder is weft's alone" is 'weft:weft 700' inside stat -c '%U:%G %a' /var/lib/weft
check "its lines are in the journal" journal_has 'ready on /run/weft/weft.sock'

# ---- who may submit ----------------------------------------------------------------------------

root_job=
submits_as_root() {
    root_job=$(weft submit -- sh -c 'echo hello; exit 0') && weft wait --timeout 30 "$root_job" &&
        is hello weft logs "$root_job"
}

check "root submits" submits_as_root
check "a member of the group submits, the job runs as weft" is weft as alice weft run -- id -un
check "a job has a control group of its own" says '/weftd.service/job-' weft run -- cat /proc/self/cgroup
check "weftd is beside it" says '/weftd.service/weftd' inside sh -c 'cat /proc/$(systemctl show --value -p MainPID weftd)/cgroup'
check "a member submits with socat" answers_raw
check "anyone else is refused" refused 'you may not use this socket' as mallory weft ping
check "a member does not see root's job" refused 'there is no job' as alice weft show "$root_job"
check "a member may not reload" refused 'only root' as alice weft reload

# ---- reload ------------------------------------------------------------------------------------

main_pid=$(unit MainPID)

reload_good() {
    printf '[queue video]\nconcurrency = 2\n' | put /etc/weft/weftd.conf.d/20-video.conf
    inside systemctl reload weftd && is /tmp weft run --queue video --cwd /tmp -- pwd
}

reload_bad() {
    printf '[queue other]\nconcurency = 2\n' | put /etc/weft/weftd.conf.d/30-other.conf
    refused 'Job for weftd.service failed' inside systemctl reload weftd
}

old_settings_stay() {
    weft run --queue video --cwd / -- true && refused 'no queue' weft submit --queue other --cwd / -- true
}

check "a queue that is not configured is refused" refused 'no queue' weft submit --queue video -- true
check "systemctl reload applies a good change" reload_good
check "systemctl reload fails on a bad one" reload_bad
check "the settings in force stay, whole" old_settings_stay
check "the journal says why, as an error" says "30-other.conf:2: unknown key 'concurency'" \
    journal --unit=weftd.service --priority=err
check "weftd is active, the same process" is "active $main_pid" \
    inside sh -c 'echo "$(systemctl show --value -p ActiveState weftd) $(systemctl show --value -p MainPID weftd)"'
inside rm /etc/weft/weftd.conf.d/30-other.conf

# ---- killed ------------------------------------------------------------------------------------

# Ten jobs that block until /run/go is there, each with a process that left its session.
submit_blockers() {
    ids=$(for _ in 1 2 3 4 5 6 7 8 9 10; do
        weft submit --cwd / -- sh -c 'test -e /run/go && exit; setsid sleep 86399 & exec sleep 86399' || return 1
    done) && wait_for 20 counts_are 4 6
}

restarted() { # OLD-PID
    unit_is ActiveState active && ! unit_is MainPID "$1"
}

live_jobs() {
    { jobs_in running && jobs_in queued; } | sort -n
}

all_there() {
    is "$ids" live_jobs
}

check "ten jobs, four of them run" submit_blockers
main_pid=$(unit MainPID)
check "kill -9 of weftd" send KILL "$main_pid"
check "systemd starts it again" wait_for 20 restarted "$main_pid"
check "that was one automatic restart" is 1 unit NRestarts
check "four jobs run again, six wait" wait_for 20 counts_are 4 6
check "all ten are there" all_there
check "nothing of the first attempts runs" wait_for 10 blockers_are 8

# ---- stuck -------------------------------------------------------------------------------------

put_short_watchdog() {
    printf '[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n' |
        put /etc/systemd/system/weftd.service.d/watchdog.conf
    inside systemctl daemon-reload && inside systemctl restart weftd && wait_for 20 counts_are 4 6
}

check "systemctl restart with a short watchdog: four run, six wait" put_short_watchdog
main_pid=$(unit MainPID)
check "SIGSTOP of weftd" send STOP "$main_pid"
check "the watchdog has it killed and started again" wait_for 30 restarted "$main_pid"
check "the journal tells of the watchdog" journal_has 'Watchdog timeout'
check "all ten are there" wait_for 20 all_there
check "four run, six wait" wait_for 20 counts_are 4 6
main_pid=$(unit MainPID)
fed=$(unit WatchdogTimestampMonotonic)
is_fed() {
    [ "$(unit WatchdogTimestampMonotonic)" -gt $((fed + 2500000)) ]
}
check "a healthy one outlives the watchdog's time" wait_for 15 is_fed
check "and is the same process still" unit_is MainPID "$main_pid"
inside rm /etc/systemd/system/weftd.service.d/watchdog.conf
inside systemctl daemon-reload

# ---- restarted under its clients ---------------------------------------------------------------

# Who comes while it stops and starts waits in the socket; who was there already is told.
asked_over_restart() {
    main_pid=$(unit MainPID)
    inside systemctl restart --no-block weftd || return 1
    for _ in $(seq 200); do
        weft ping >"$work/ping" 2>&1 || grep -E 'is stopping|closed the connection' "$work/ping" || {
            cat "$work/ping"
            return 1
        }
        ! restarted "$main_pid" || return 0
    done
    return 1
}

check "nobody is refused while it restarts" asked_over_restart
check "all ten are there" wait_for 20 all_there

# ---- stopped -----------------------------------------------------------------------------------

stop_within() { # SECONDS UNIT...
    most=$1
    shift
    began=$(date +%s)
    inside systemctl stop "$@" || return 1
    took=$(($(date +%s) - began))
    echo "took $took s"
    [ "$took" -le "$most" ]
}

attempts_are() { # ATTEMPT ID...
    attempt=$1
    shift
    weft show --json "$@" >"$work/shown" || return 1
    cat "$work/shown"
    jq -es "length == $# and all(.[]; .attempt == $attempt)" "$work/shown"
}

finished_once() {
    inside touch /run/go
    # shellcheck disable=SC2086
    inside systemctl start weftd && weft wait --timeout 30 $ids
}

processes_are() {
    [ "$(processes_of_unit | wc -l)" = "$1" ]
}

invocation=$(unit InvocationID)
check "its control group holds weftd and the jobs' eight processes" processes_are 9
check "systemctl stop drains within the grace" stop_within 10 weftd.service weftd.socket
check "it ended with success, exit status 0" is 'success 0' \
    inside sh -c 'echo "$(systemctl show --value -p Result weftd) $(systemctl show --value -p ExecMainStatus weftd)"'
check "its last line is in the journal" is 'weftd stopped' \
    journal --lines=1 --identifier=weftd "_SYSTEMD_INVOCATION_ID=$invocation"
check "no process is left in its control group" is '' processes_of_unit
check "no process of a job is left anywhere" is 0 blockers_alive
check "the socket file is gone" refused '' inside test -e /run/weft/weft.sock
check "started again, all ten jobs succeed" finished_once
# shellcheck disable=SC2046
check "those that had only waited ran once" attempts_are 1 $(echo "$ids" | tail -n 6)

# ---- misconfigured -----------------------------------------------------------------------------

refuses_to_start() {
    inside systemctl stop weftd.service weftd.socket
    printf '[daemon]\ngrace = soon\n' | put /etc/weft/weftd.conf.d/40-bad.conf
    inside systemctl reset-failed
    refused 'Job for weftd.service failed' inside systemctl start weftd && unit_is ExecMainStatus 78 && unit_is NRestarts 0
}

starts_again() {
    inside rm /etc/weft/weftd.conf.d/40-bad.conf
    inside systemctl stop weftd.socket
    inside systemctl reset-failed
    inside systemctl start weftd && weft ping
}

check "a bad configuration stops the start, once" refuses_to_start
check "the journal names file and line" journal_has '40-bad.conf:2:'
check "mended, it starts" starts_again

# ---- the sandbox -------------------------------------------------------------------------------

strict_runs() {
    inside systemctl reset-failed
    inside systemctl start weftd-strict && unit_is ActiveState active weftd-strict.service &&
        unit_is ActiveState inactive && unit_is ActiveState inactive weftd.socket
}

strict_works() {
    is hello as alice weft run --cwd / -- echo hello && called=$(weft call echo '{"text": "hello"}') &&
        weft wait "$called" && weft show --json "$called" | jq -e '.result == {text: "hello"}'
}

sandbox_holds() {
    weft run --cwd / -- touch /var/lib/weft/inside || return 1
    refused 'Read-only' weft run --cwd / -- touch /etc/outside && refused 'Permission denied' weft run --cwd / -- ls /root
}

back_to_ordinary() {
    inside systemctl start weftd.socket && weft ping && unit_is ActiveState active &&
        unit_is ActiveState inactive weftd-strict.service
}

check "weftd-strict takes over" strict_runs
check "its jobs run" strict_works
check "the sandbox holds" sandbox_holds
check "systemctl reload reaches it" inside systemctl reload weftd-strict
check "and back to weftd.service by its socket" back_to_ordinary

# ---- each job as its submitter -----------------------------------------------------------------

. tests/system/multi.sh

# ---- packages ----------------------------------------------------------------------------------

[ -z "$debs" ] || . tests/system/packages.sh

# ---- power off ---------------------------------------------------------------------------------

powers_off() {
    weft submit --cwd / -- sleep 86399 && inside systemctl poweroff && wait_for 30 machine_is_gone
}

inside journalctl --quiet --no-pager --output=short-precise --unit='weftd*' >"$work/journal" 2>&1 || :
check "the machine powers off with weftd at work" powers_off
