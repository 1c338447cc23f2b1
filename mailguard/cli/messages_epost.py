"""The sentences of E-Post's own tables: `epost`, and what `bans` and `why` say of them."""

from __future__ import annotations

EPOST: dict[str, str] = {
    "epost.origin.auth": "auth lock-out by E-Post, {file} row {row}",
    "epost.origin.ip": "IP lock-out by E-Post, {file} row {row}",
    "epost.origin.hand": "written by hand, {file} row {row}",
    "epost.origin.white": "white list, {file} row {row}",
    "epost.origin.damaged": "damaged, {file} row {row}",
    "epost.until-unknown": "unknown",
    "epost.title": "{count} lock-out(s) of E-Post's own",
    "epost.end-unknown": "not known",
    "epost.stop-first": (
        "this rewrites tables: stop E-Post's services and mailguard-enforcer.service, then add "
        "--service-stopped (--dry-run shows what would be done)"
    ),
    "epost.no-driver": "the action '{name}' bans by {driver}, not by E-Post's tables",
    "epost.nothing": "there is nothing to do",
    "epost.made": "{path}: made, empty",
    "epost.reserved": "{path}: {lines} line(s) set aside ({before} -> {after} bytes)",
    "epost.compacted": "{path}: {lines} dead row(s) taken out ({before} -> {after} bytes)",
    "epost.would": "would do: {what}",
    "epost.copy": "  what it was is kept in {path}",
    "epost.rights": (
        "let mailguard's enforcer write the tables, and nothing else there: "
        "setfacl -m u:mailguard-enforcer:rw {folder}/reject*ip.dat"
    ),
    # why
    "why.epost": "In E-Post's own tables (not by mailguard):",
    "why.epost-auth": "{file}, row {row}: {pattern} was locked out by E-Post after failed logins",
    "why.epost-ip": "{file}, row {row}: {pattern} was locked out by E-Post after too many connections",
    "why.epost-hand": "{file}, row {row}: {pattern} is refused; it has no time, so a hand wrote it",
    "why.epost-white": "{file}, row {row}: {pattern} is on the white list",
    "why.epost-damaged": "{file}, row {row}: {pattern} is damaged, so it does nothing",
    "why.epost-since": ", since {since} ({ago})",
    "why.epost-until": ", until {until} (still {left})",
    "why.epost-over": "; that ended at {until}",
    "why.epost-no-end": "; it has no end",
    "why.epost-end-unknown": "; its end is not known here (lock_time in the action epost)",
    # audit
    "audit.title": "{count} finding(s)",
    "audit.nothing": "mailguard: there is no {folders}; --program and --spool name other folders",
    "audit.told": "named by --own",
    "audit.when": ", locked out {ago}",
    "audit.severity.severe": "SEVERE",
    "audit.severity.warning": "warning",
    "audit.severity.note": "note",
    "audit.severity.unseen": "not seen",
    "audit.speaks-mail": "mail accepted on {days} day(s)",
    "audit.speaks-login": "logins on {days} day(s)",
    "audit.more": "and {count} more of this file",
    "audit.program-missing": "this folder is not there",
    "audit.table-missing": "there is no such table: E-Post never locked anybody out here",
    "audit.table-unreadable": "it cannot be read: {why}",
    "audit.table-rows": (
        "{rows} row(s): {permanent} for ever, {timed} with a time ({over} over, the oldest {oldest}, the "
        "newest {newest}), {white} white; {own} are mailguard's"
    ),
    "audit.table-no-end": (
        "the last line has no line end: E-Post's next row will hang on to it, and both are lost"
    ),
    "audit.table-for-ever": (
        "lock-outs never end here (AuthLockOutTime 0): rows gather until somebody takes them out"
    ),
    "audit.row-too-long": "longer than 126 bytes, so E-Post reads it as two rows: {text}",
    "audit.row-no-pattern": "no address, network or pattern; it does nothing: {text}",
    "audit.row-no-value": (
        "a value that is neither true nor a time; what E-Post makes of it is not known: {text}"
    ),
    "audit.row-not-plain": (
        "an address in another form than E-Post compares (IPv6: compressed, lower case); it never matches: "
        "{text}"
    ),
    "audit.row-star": "cut at the asterisk this names more than meant (192.0.2* is 192.0.20.1 too): {text}",
    "audit.row-host-bits": "bits are set to the right of the prefix: {text}",
    "audit.row-not-ascii": "letters that are not ASCII; it does nothing: {text}",
    "audit.rows-unknown": (
        "{count} row(s) in the form that mailguard writes are not in its list, so nobody withdraws them: "
        "{names} (`mailguard epost compact --unknown` takes them out)"
    ),
    "audit.caught": (
        "{pattern} keeps out {network} ({reason}){when}: take the row out, and put `{network}<TAB>true` on "
        "top"
    ),
    "audit.partner": "{pattern} keeps out somebody who is known here ({words}){when}",
    "audit.white-behind": "the white-list row {pattern} is not reached: row {line} ({above}) is above it",
    "audit.effect-missing": "there is no effect.dat: E-Post uses its defaults",
    "audit.effect-unreadable": "it cannot be read: {why}",
    "audit.effect-lines": "{entries} line(s), last changed {changed}",
    "audit.effect-personal": (
        "a mailbox has an effect.dat of its own: {entries} line(s), last changed {changed}"
    ),
    "audit.effect-tab": "a TAB separates nothing here; write one blank: {text}",
    "audit.effect-hash-comment": "# begins no comment here; write ' instead: {text}",
    "audit.effect-no-type": "neither true, default, false, only nor norelay: {text}",
    "audit.effect-no-pattern": "no address, network, domain or sender: {text}",
    "audit.effect-too-long": "longer than 126 bytes: {text}",
    "audit.effect-no-end": "the last line has no line end, so it may not count: {text}",
    "audit.effect-open": "everybody may relay through this server: {text}",
    "audit.effect-local-domain": (
        "whoever claims a sender in {domain} may relay through this server, and senders are easily forged: "
        "{text}"
    ),
    "audit.effect-domain": (
        "whoever claims a sender in {domain} is let in and may relay, and senders are easily forged: {text}"
    ),
    "audit.effect-wide": "a very wide network may relay: {text}",
    "audit.effect-head": "the two default lines (#<> and #blank) must stay the first two",
    "audit.effect-behind": "never reached: line {line} ({above}) refuses it before: {text}",
    "audit.effect-behind-only": "never reached: `only` in line {line} ends the table: {text}",
    "audit.effect-behind-all": "never reached: line {line} takes everybody: {text}",
    "audit.file-unreadable": "it cannot be read: {why}",
    "audit.ordb-none": "no DNS block list is asked",
    "audit.ordb-many": "{zones} block lists, of which E-Post uses the first {used}",
    "audit.mail-no-rbl": "mail.dat has no RBL: rule; links in mail are not looked up",
    "audit.spool-unreadable": "this spool is not there or cannot be read",
    "audit.unseen-folders": "this user may not read {count} folder(s) of the spool, this one for instance",
    "audit.logs-off": "not written, so nobody can look into it: {logs}",
    "audit.logs-old": "not written for a day or more: {logs}",
    "audit.vrfy-answered": "VRFY or EXPN told accounts {answered} of {asked} times: switch it off",
    "audit.vrfy-refused": "VRFY and EXPN were asked {asked} times and told nothing",
    "audit.vrfy-no-log": "there is no receivelog, so whether VRFY is answered cannot be seen",
    "audit.vrfy-not-asked": (
        "nobody asked VRFY or EXPN in the newest receivelogs, so its answer cannot be seen"
    ),
    "audit.auth-lock-off": "no counter of failed logins and no lock-out: AuthLockOut seems to be off",
    "audit.auth-lock-never": (
        "failed logins are counted up to {highest} and nobody was ever locked out: is AuthLockOut too high?"
    ),
    "audit.auth-lock-not-yet": (
        "failed logins are counted ({files} files, up to {highest}); nobody was locked out yet"
    ),
    "audit.ip-lock-off": "no counter of connections and no IP lock-out: IPLockOut seems to be off",
    "audit.ip-lock-never": (
        "connections are counted up to {highest} and nobody was ever locked out: is IPLockOut too high?"
    ),
    "audit.ip-lock-not-yet": (
        "connections are counted ({files} files, up to {highest}); nobody was locked out yet"
    ),
    "audit.unseen-own": "which rows are mailguard's own cannot be read here (as root it can)",
    "audit.unseen-domains": "which domains are this server's is not known: --domain NAME",
    "audit.unseen-partners": "who is known here could not be asked: {why}",
    "audit.unseen-registry": (
        "the limits and times of lock-outs (AuthLockOut, AuthLockOutTime, IPLockOut and the others) stand in "
        "no file that is known: compare them in E-Post's own administration"
    ),
    "audit.unseen-accounts": "weak passwords, and mail that accounts forward, stand in no table",
    "audit.unseen-network": "firewalls, other mail gateways and DNS before this server",
}
