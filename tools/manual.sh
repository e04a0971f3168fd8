#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints a manual page, made of what the programs say of themselves and of conf/weftd.conf, so that no
# option, verb or key is missing or of another time.  The build runs it.
# usage: tools/manual.sh weft.1 WEFT | weftd.8 WEFTD | weftd.conf.5 CONF VERSION
set -eu

# Text as roff has it: a hyphen is a minus, and no line is a request.
roff='function roff(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.'\'']/) text = "\\&" text
    return text
}
# One row of the options: what stands left of the two spaces is the option.
function option(line) {
    sub(/^ +/, "", line)
    split_at = match(line, /  +/)
    left = split_at ? substr(line, 1, RSTART - 1) : line
    right = split_at ? substr(line, RSTART + RLENGTH) : ""
    # A long one has but one space: "--name VALUE text".
    if (!split_at && match(line, /^--[a-z-]+ [A-Z,=:|.-]+ /)) {
        left = substr(line, 1, RLENGTH - 1)
        right = substr(line, RLENGTH + 1)
    }
    print ".TP\n.B " roff(left) "\n" roff(right)
}'

head_of() { # NAME SECTION TITLE VERSION SUMMARY
    printf '.TH %s %s "" "%s" "%s"\n.SH NAME\n%s \\- %s\n' \
        "$(echo "$1" | tr '[:lower:]' '[:upper:]')" "$2" "$4" "$3" "$1" "$5"
}

verb_page() { # WEFT VERB
    "$1" "$2" --help | awk "$roff"'
        NR == 1 { sub(/^usage: /, ""); print ".SS " roff($0); next }
        $0 == "Options:" { inside = "options"; next }
        $0 == "example:" { inside = "example"; print ".PP\nExample:\n.RS 4\n.nf"; next }
        inside == "example" { sub(/^  /, ""); print roff($0); next }
        # Those of every verb are said once.
        inside == "options" && /^      --(json|socket) |^  -h, --help / { next }
        inside == "options" && NF { option($0); next }
        inside == "" && NF { print roff($0) }
        END { print ".fi\n.RE" }'
}

weft_1() { # WEFT
    head_of weft 1 'Weft' "$("$1" --version)" 'talk to weftd, the job daemon'
    cat <<'ROFF'
.SH SYNOPSIS
.B weft
.I VERB
.RI [ options ]
\&...
.SH DESCRIPTION
.B weft
submits programs and calls of handlers to
.BR weftd (8)
as jobs, asks about them, waits for them and cancels them. A job whose id was printed is in the store,
and survives a crash.
.SH OPTIONS
Those of every verb; words behind
.B \-\-
are never options.
ROFF
    "$1" --help | awk "$roff"'
        /^Options of every verb:/ { inside = 1; next }
        inside && !NF { exit }
        inside { option($0) }'
    echo '.SH VERBS'
    for verb in $("$1" --help | awk '/^  [a-z]+ +[A-Z]/ { print $1 }'); do
        verb_page "$1" "$verb"
    done
    cat <<'ROFF'
.SH EXIT STATUS
0: done; 1: a job failed, or weftd refused; 2: wrong usage; 3: no weftd, or it went away.
.B weft run
ends with its job's status.
.SH ENVIRONMENT
.TP
.B WEFT_SOCKET
weftd's socket, where
.B \-\-socket
does not say.
.SH FILES
.TP
.I $XDG_RUNTIME_DIR/weft/weft.sock
the socket of the user's weftd
.TP
.I /run/weft/weft.sock
the socket of the system's
.SH SEE ALSO
.BR weftd (8),
.BR weftd.conf (5)
ROFF
}

weftd_8() { # WEFTD
    head_of weftd 8 'Weft' "$("$1" --version)" 'job daemon: durable jobs over a Unix socket'
    cat <<'ROFF'
.SH SYNOPSIS
.B weftd
.RI [ option ...]
.SH DESCRIPTION
.B weftd
runs jobs, programs and calls of handlers, that
.BR weft (1)
or any JSON-RPC or HTTP client submits over its Unix socket. A job that it has acknowledged is on disk;
after a crash or a restart it goes on with what it had. It stays in the foreground, and logs to
standard error, or to the journal.
.PP
As root, or run by one of its units, it is the system's; run by any other user it is that user's own, with
socket and store in the user's folders.
.SH OPTIONS
ROFF
    # A line that begins further right goes on with the option above.
    "$1" --help | awk "$roff"'
        /^  (-.,|   ) --/ { if (row != "") option(row); row = $0; next }
        /^          / && row != "" { sub(/^ +/, ""); row = row " " $0; next }
        row != "" { option(row); row = "" }'
    cat <<'ROFF'
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Stop: no new jobs; running ones may end by themselves for
.BR daemon.drain ,
then they are stopped and go back to their queue without losing an attempt. The same signal again
hurries; a third one leaves at once, and the next start recovers.
.TP
.B SIGHUP
Reload the configuration.
.SH UNITS
One of these runs at a time.
.TP
.BR weftd.service ", " weftd.socket
as the user weft, behind a socket that systemd holds; members of the group weft may submit
.TP
.B weftd\-strict.service
the same in a sandbox, which its jobs share
.TP
.BR weftd\-multi.service ", " weftd\-multi.socket
as root; each job runs as its submitter
.SH EXIT STATUS
0: stopped in order; 1: failed at run time (the store, the socket, memory); 2: wrong usage; 78: bad
configuration.
.SH FILES
.TP
.IR /etc/weft/weftd.conf ", " /etc/weft/weftd.conf.d/*.conf
the configuration, see
.BR weftd.conf (5)
.TP
.I /run/weft/weft.sock
the socket
.TP
.IR /var/lib/weft ", " /var/lib/weft\-multi
the store, output and backups; the latter of weftd\-multi.service
.SH SEE ALSO
.BR weft (1),
.BR weftd.conf (5),
.BR systemctl (1)
ROFF
}

# The file is its own manual: each paragraph of comments stands above the keys that it is about.
weftd_conf_5() { # CONF VERSION
    head_of weftd.conf 5 'Weft' "weft $2" 'configuration of weftd'
    cat <<'ROFF'
.SH SYNOPSIS
.I /etc/weft/weftd.conf
.br
.I /etc/weft/weftd.conf.d/*.conf
.br
.I ~/.config/weft/weftd.conf
.SH DESCRIPTION
ROFF
    awk "$roff"'
        function flush_text() {
            if (keys != "") print ".TP\n.B " roff(keys) "\n" roff(text)
            else if (text != "") print roff(text) "\n.PP"
            text = keys = ""
        }
        /^# SPDX/ { next }
        /^\[/ || /^#\[/ { flush_text(); sub(/^#/, ""); print ".SH " roff($0); inside = 1; next }
        /^#[a-z_]+ *=/ {
            sub(/^#/, ""); sub(/ +$/, "")
            keys = keys (keys == "" ? "" : ", ") $0
            next
        }
        /^# / { if (keys != "") flush_text(); sub(/^# /, ""); text = text (text == "" ? "" : "\n") $0; next }
        { flush_text() }
        END { flush_text() }' "$1" | sed 's/^weftd\.conf: every/Every/'
    cat <<'ROFF'
.SH SEE ALSO
.BR weftd (8),
.BR weft (1)
ROFF
}

case $1 in
    weft.1) weft_1 "$2" ;;
    weftd.8) weftd_8 "$2" ;;
    weftd.conf.5) weftd_conf_5 "$2" "$3" ;;
    *) exit 2 ;;
esac
