# SPDX-License-Identifier: MIT
# fish completion of weft.  Verbs and options are what weft's own help says; queues and job ids are asked
# of weftd, if it answers.

function __weft_verbs
    weft --help 2>/dev/null | string replace -rf '^  ([a-z]+) +([A-Z].*)' '$1\t$2'
end

function __weft_verb
    set -l words (commandline -opc)
    test (count $words) -ge 2; and echo $words[2]
end

function __weft_verb_is
    contains -- (__weft_verb) $argv
end

function __weft_options
    set -l verb (__weft_verb); or return
    weft $verb --help 2>/dev/null | string replace -rf '^  (?:-.,|   ) (--[a-z-]+) *(.*)' '$1\t$2'
end

function __weft_ids
    weft list --limit 100 --json 2>/dev/null | string match -ra '"id": *[0-9]+' | string match -r '[0-9]+'
end

function __weft_queues
    weft queue list --json 2>/dev/null | string match -ra '"name": *"[^"]*"' | string split -f 4 '"'
end

function __weft_is_program
    contains -- -- (commandline -opc)
end

complete -c weft -f
complete -c weft -n 'not __weft_verb' -a '(__weft_verbs)'
complete -c weft -n __weft_is_program -a '(__fish_complete_subcommand --fcs-skip=1)'
complete -c weft -n 'not __weft_is_program; and __weft_verb_is show explain logs wait cancel retry events' -a '(__weft_ids)'
complete -c weft -n '__weft_verb_is queue; and test (count (commandline -opc)) -eq 2' -a 'list pause drain resume set purge'
complete -c weft -n '__weft_verb_is queue; and test (count (commandline -opc)) -ge 3' -a '(__weft_queues)'
complete -c weft -n '__weft_verb; and not __weft_is_program; and string match -q -- "-*" (commandline -ct)' -a '(__weft_options)'
complete -c weft -s q -l queue -x -a '(__weft_queues)' -n '__weft_verb_is submit call run list events'
complete -c weft -s s -l state -x -a 'waiting delayed queued running succeeded failed cancelled timed_out dead' -n '__weft_verb_is list queue'
complete -c weft -l on-crash -x -a 'requeue fail' -n '__weft_verb_is submit call run'
complete -c weft -l from -r -F -n '__weft_verb_is submit call'
complete -c weft -s C -l cwd -x -a '(__fish_complete_directories)' -n '__weft_verb_is submit run'
