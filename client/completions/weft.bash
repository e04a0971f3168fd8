# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# bash completion of weft.  Verbs and options are what weft's own help says, so this needs no change
# when they do; queues, states and job ids are asked of weftd, if it answers.

_weft_verbs() { weft --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p'; }

_weft_options() { weft "$1" --help 2>/dev/null | sed -n 's/^  \(-.,\|   \) \(--[a-z-]*\).*/\2/p'; }

_weft_ids() { weft list --limit 100 --json 2>/dev/null | grep -o '"id": *[0-9]*' | tr -cd '0-9\n'; }

_weft_queues() { weft queue list --json 2>/dev/null | grep -o '"name": *"[^"]*"' | cut -d '"' -f 4; }

_weft_values() { # what may follow that option; status 1: nothing is known of it
    case $1 in
        -q | --queue) _weft_queues ;;
        -s | --state) echo waiting delayed queued running succeeded failed cancelled timed_out dead ;;
        --on-crash) echo requeue fail ;;
        --ionice) echo idle best-effort realtime ;;
        --from | --stdin | --stdin-file | --socket) compgen -f -- "$2" ;;
        -C | --cwd) compgen -d -- "$2" ;;
        *) return 1 ;;
    esac
}

_weft() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} words at
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_weft_verbs) --help --version" -- "$cur")
        return
    fi
    # Behind -- stands another program's command line.
    for ((at = 2; at < COMP_CWORD; at++)); do
        [ "${COMP_WORDS[at]}" = -- ] || continue
        if declare -F _command_offset >/dev/null; then
            _command_offset $((at + 1))
        else
            mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
        fi
        return
    done
    if ! words=$(_weft_values "$prev" "$cur"); then
        case $verb:$cur in
            *:-*) words=$(_weft_options "$verb") ;;
            show:* | explain:* | logs:* | wait:* | cancel:* | retry:* | events:*) words=$(_weft_ids) ;;
            queue:*)
                words="list pause drain resume set purge"
                [ "$COMP_CWORD" = 2 ] || words=$(_weft_queues)
                ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _weft weft
