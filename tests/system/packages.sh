# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# What only packages do: an upgrade while jobs wait, removal, purge.  Sourced by checks.sh where
# packages were installed ($debs); weftd runs.
: "${work:?}"

upgrade() { # the same version again goes the same way
    main_pid=$(unit MainPID)
    inside sh -c 'dpkg --install /debs/*.deb' >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; return 1; }
    wait_for 20 restarted "$main_pid"
}

configuration_stays() {
    inside sh -c 'echo "# mine" >>/etc/weft/weftd.conf' && upgrade &&
        says '# mine' inside tail -n 1 /etc/weft/weftd.conf
}

removed() {
    inside dpkg --remove weftd >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; return 1; }
    inside systemctl daemon-reload
    refused '' inside test -e /usr/bin/weftd && unit_is ActiveState inactive && unit_is ActiveState inactive weftd.socket
}

kept() {
    inside test -e /var/lib/weft/weft.db && inside test -e /etc/weft/weftd.conf
}

purged() {
    inside dpkg --purge weftd >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; return 1; }
    refused '' inside test -e /var/lib/weft && refused '' inside test -e /etc/weft/weftd.conf
}

inside rm -f /run/go
check "ten jobs, four of them run" submit_blockers
check "an upgrade restarts weftd" upgrade
check "all ten are there" wait_for 20 all_there
check "four run, six wait" wait_for 20 counts_are 4 6
check "what was changed in weftd.conf stays over an upgrade" configuration_stays
check "a removal stops it, and its socket" removed
check "no process of a job is left" wait_for 10 blockers_are 0
check "jobs and configuration stay after a removal" kept
check "a purge takes them away" purged

installed_again() {
    inside sh -c 'dpkg --install /debs/*.deb' >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; return 1; }
    weft ping
}
check "installed again, it runs" installed_again
