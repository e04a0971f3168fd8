# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# A machine for one run: a copy of the Debian tree, booted by systemd-nspawn with its own network,
# and taken down by process id whatever happens.  Sourced; needs $work, a folder of the run's own.
#
#   machine_make TREE    copy the tree; the caller then installs into $machine_root
#   machine_boot         0, or 1 with the reason on stdout
#   inside COMMAND...    run as root in the machine, in its namespaces, with a fresh environment
#   as USER COMMAND...   the same as that user with that user's groups
#   machine_stop         nothing of it is left: no process, no cgroup, no file

machine_root=${work:?}/root
machine_name=weft-system-$$
machine_guard=''  # the process whose end is the machine's
machine_leader='' # the machine's process 1, as seen from here

machine_make() {
    cp -a --reflink=auto "$1" "$machine_root"
}

# Where processes of this run are put in a cgroup of their own: one folder for each hierarchy that
# systemd-nspawn hands to its machine (v2; or v2 and systemd's own v1, side by side).
machine_cgroups() {
    while IFS=: read -r _ controllers path; do
        case $controllers in
            '') base=/sys/fs/cgroup/unified && [ -d "$base" ] || base=/sys/fs/cgroup ;;
            name=systemd) base=/sys/fs/cgroup/systemd ;;
            *) continue ;;
        esac
        [ ! -d "$base${path%/}" ] || echo "$base${path%/}/$machine_name"
    done </proc/self/cgroup
}

# In the subshell that becomes systemd-nspawn.  Without leave to make cgroups it works just as well;
# two runs at once would then share one.
machine_enter_cgroups() {
    for cgroup in $(machine_cgroups); do
        { mkdir "$cgroup" && echo 0 >"$cgroup/cgroup.procs"; } 2>/dev/null || :
    done
}

# However this shell ends, the guard ends with it, and so does systemd-nspawn as the first process of
# a process id namespace, and everything in that.
machine_exec() {
    machine_enter_cgroups
    exec setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount-proc \
        systemd-nspawn --quiet --directory="$machine_root" \
        --machine="$machine_name" --register=no --keep-unit --private-network --link-journal=no \
        --settings=no --resolv-conf=off --timezone=off --console=pipe "$@"
}

children_of() {
    cat "/proc/$1/task/$1/children" 2>/dev/null
}

# The guard's child is systemd-nspawn; of that one's children, process 1.
machine_find_leader() {
    for nspawn in $(children_of "$machine_guard"); do
        for child in $(children_of "$nspawn"); do
            [ "$(cat "/proc/$child/comm" 2>/dev/null)" = systemd ] || continue
            machine_leader=$child
            return 0
        done
    done
    return 1
}

machine_is_up() {
    [ -n "$machine_leader" ] || machine_find_leader || return 1
    case $(inside systemctl is-system-running 2>/dev/null) in
        running | degraded) return 0 ;;
        *) return 1 ;;
    esac
}

machine_is_gone() {
    [ ! -e "/proc/$machine_guard" ] || grep -q '^State:.*Z' "/proc/$machine_guard/status"
}

machine_up_or_gone() {
    machine_is_up || machine_is_gone
}

machine_boot() {
    (machine_exec --boot </dev/null >"$work/console" 2>&1) &
    machine_guard=$!
    if wait_for 180 machine_up_or_gone && ! machine_is_gone; then
        return 0
    fi
    echo "systemd does not boot here: $(tail -n 1 "$work/console" | tr -d '\r')"
    return 1
}

inside() {
    timeout 60 nsenter --target "$machine_leader" --all -- \
        env -i PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 SYSTEMD_PAGER= "$@"
}

as() {
    user=$1
    shift
    inside setpriv --reuid "$user" --regid "$user" --init-groups --inh-caps=-all \
        env "USER=$user" "$@"
}

machine_kill() {
    # Process 1 first, so that systemd-nspawn tidies up after itself.
    [ -z "$machine_leader" ] || kill -KILL "$machine_leader" 2>/dev/null || :
    [ -z "$machine_leader" ] || wait_for 10 machine_is_gone || :
    machine_is_gone || kill -KILL "$machine_guard" 2>/dev/null || :
    wait "$machine_guard" 2>/dev/null || :
}

machine_remove_cgroups() {
    for cgroup in $(machine_cgroups); do
        [ -d "$cgroup" ] || continue
        [ ! -e "$cgroup/cgroup.kill" ] || echo 1 >"$cgroup/cgroup.kill"
        wait_for 5 machine_remove_cgroup "$cgroup" || echo "left over: $cgroup" >&2
    done
}

machine_remove_cgroup() {
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
    [ ! -d "$1" ]
}

machine_stop() {
    [ -z "$machine_guard" ] || machine_kill
    machine_guard='' machine_leader=''
    machine_remove_cgroups
    [ ! -d "/run/systemd/nspawn/propagate/$machine_name" ] ||
        rmdir "/run/systemd/nspawn/propagate/$machine_name" || :
    rm -rf --one-file-system "$machine_root"
}
