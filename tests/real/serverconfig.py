"""The settings of the real mail server that the tests run: Postfix, two Dovecots, rsyslogd, and its TLS.

Everything lives under one folder, `root`, so that nothing of the host's own mail server is touched. Each odd
port below serves one thing that a server may be set to do (limits, block lists, tables, short time limits).
"""

from __future__ import annotations

from pathlib import Path

SERVER4, SERVER6 = "203.0.113.25", "2001:db8:25::25"
GATEWAY4, GATEWAY6 = "203.0.113.1", "2001:db8:25::1"
OUTSIDE4 = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.128/25")  # whole networks of clients
OUTSIDE6 = ("2001:db8:1000::/36",)
SINK = "198.51.100.200"  # where the server delivers to: a mail server outside

#: A name for each TCP port that something listens on.
PORTS = {
    "smtp": 25,
    "smtps": 465,
    "submission": 587,
    "postscreen": 2525,
    "postscreen-deep": 2526,
    "limits": 2601,
    "impatient": 2602,
    "tables": 2603,
    "ports": 2604,
    "faulty": 2605,
    "broken": 2606,
    "tls-only": 2607,
    "strict": 2608,
    "dnsbl": 2609,
    "filtered": 2610,
    "imap": 143,
    "imaps": 993,
    "pop3": 110,
    "pop3s": 995,
    "sieve": 4190,
    "dovecot-submission": 2587,
    "imap-quiet": 1143,
    "imaps-quiet": 1993,
    "pop3-quiet": 1110,
    "sieve-quiet": 14190,
}

_MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mail1.example.net
mydomain = example.net
mydestination = mail1.example.net, localhost
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = all
alias_maps = hash:{root}/postfix/aliases
alias_database = hash:{root}/postfix/aliases
virtual_mailbox_domains = example.net, lmtp.example.net, virtual.example.net
virtual_mailbox_maps = texthash:{root}/postfix/mailboxes
virtual_mailbox_base = {root}/mail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
virtual_transport = lmtp:unix:private/dovecot-lmtp
transport_maps = texthash:{root}/postfix/transport
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_tls_security_level = may
smtpd_tls_cert_file = {root}/tls.pem
smtpd_tls_key_file = {root}/tls.key
smtpd_tls_loglevel = 1
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 8
smtpd_forbid_bare_newline = no
anvil_status_update_time = 5s
postscreen_greet_wait = 1s
postscreen_dnsbl_timeout = 5s
postscreen_dnsbl_min_ttl = 1s
postscreen_greet_action = enforce
postscreen_dnsbl_action = enforce
postscreen_dnsbl_sites = bl.example.org
postscreen_bare_newline_action = enforce
postscreen_non_smtp_command_action = enforce
postscreen_pipelining_action = enforce
postscreen_denylist_action = enforce
postscreen_access_list = permit_mynetworks, cidr:{root}/postfix/postscreen_access
postscreen_command_time_limit = 2s
postscreen_command_count_limit = 4
maximal_backoff_time = 1h
minimal_backoff_time = 1h
queue_run_delay = 1h
bounce_notice_recipient = devnull
notify_classes =
delay_warning_time = 0
"""

_MASTER = """
smtp       inet n - n - - smtpd
smtps      inet n - n - - smtpd -o syslog_name=postfix/smtps -o smtpd_tls_wrappermode=yes
submission inet n - n - - smtpd -o syslog_name=postfix/submission -o smtpd_tls_security_level=encrypt
  -o smtpd_tls_auth_only=yes -o smtpd_sender_restrictions=reject_authenticated_sender_login_mismatch
  -o smtpd_sender_login_maps=texthash:{root}/postfix/logins
2525       inet n - n - 1 postscreen -o postscreen_cache_map=btree:$data_directory/screen1
2526       inet n - n - 1 postscreen -o postscreen_cache_map=btree:$data_directory/screen2
  -o postscreen_bare_newline_enable=yes -o postscreen_non_smtp_command_enable=yes
  -o postscreen_pipelining_enable=yes
smtpd      pass - - n - - smtpd
dnsblog    unix - - n - 0 dnsblog
tlsproxy   unix - - n - 0 tlsproxy
2601       inet n - n - - smtpd -o smtpd_client_connection_rate_limit=3
  -o smtpd_client_connection_count_limit=2 -o smtpd_client_message_rate_limit=1
  -o smtpd_client_recipient_rate_limit=1 -o smtpd_client_new_tls_session_rate_limit=1
  -o smtpd_client_auth_rate_limit=1
2602       inet n - n - - smtpd -o smtpd_timeout=1s
2603       inet n - n - - smtpd -o smtpd_delay_reject=yes -o smtpd_helo_required=yes
  -o cleanup_service_name=checks
  -o smtpd_client_restrictions=check_client_access,cidr:{root}/postfix/client_access
  -o smtpd_helo_restrictions=reject_invalid_helo_hostname,$helo_table
  -o helo_table=check_helo_access,texthash:{root}/postfix/helo_access
  -o smtpd_sender_restrictions=check_sender_access,texthash:{root}/postfix/sender_access,$unknown_sender
  -o unknown_sender=reject_non_fqdn_sender,reject_unknown_sender_domain
  -o smtpd_recipient_restrictions=check_recipient_access,texthash:{root}/postfix/recipient_access,$by_policy
  -o by_policy=check_policy_service,unix:private/policy
  -o smtpd_etrn_restrictions=reject
  -o smtpd_data_restrictions=reject_unauth_pipelining
2604       inet n - n - - smtpd -o smtpd_client_port_logging=yes
2605       inet n - n - - smtpd -o smtpd_sasl_path=private/faultyauth
2606       inet n - n - - smtpd -o smtpd_sasl_path=private/nosuchauth
2607       inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
2608       inet n - n - - smtpd -o smtpd_helo_required=yes -o strict_rfc821_envelopes=yes
  -o smtpd_forbid_bare_newline=reject -o smtpd_forbid_unauth_pipelining=yes
  -o disable_vrfy_command=yes
  -o smtpd_helo_restrictions=reject_non_fqdn_helo_hostname,reject_unknown_helo_hostname
  -o smtpd_client_restrictions=reject_unknown_client_hostname
2609       inet n - n - - smtpd -o smtpd_client_restrictions=reject_rbl_client,bl.example.org
2610       inet n - n - - smtpd -o smtpd_proxy_filter=127.0.0.1:10025
pickup     unix n - n 60 1 pickup
cleanup    unix n - n - 0 cleanup
checks     unix n - n - 0 cleanup -o header_checks=regexp:{root}/postfix/header_checks
  -o body_checks=regexp:{root}/postfix/body_checks
qmgr       unix n - n 300 1 qmgr
tlsmgr     unix - - n 1000? 1 tlsmgr
rewrite    unix - - n - - trivial-rewrite
bounce     unix - - n - 0 bounce
defer      unix - - n - 0 bounce
trace      unix - - n - 0 bounce
verify     unix - - n - 1 verify
flush      unix n - n 1000? 0 flush
proxymap   unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp       unix - - n - - smtp
relay      unix - - n - - smtp -o syslog_name=postfix/relay
showq      unix n - n - - showq
error      unix - - n - - error
retry      unix - - n - - error
discard    unix - - n - - discard
local      unix - n n - - local
virtual    unix - n n - - virtual
lmtp       unix - - n - - lmtp
piped      unix - n n - - pipe flags=R user=nobody argv=/bin/sh -c ${{extension}}
anvil      unix - - n - 1 anvil
scache     unix - - n - 1 scache
"""

_TABLES = {
    "aliases": "devnull: /dev/null\npostmaster: devnull\n"
    "gone: x@gone.example.org\nlater: x@later.example.org\n"
    'false: "|exit 69"\nretry: "|exit 75"\n',
    "mailboxes": "alice@example.net alice/\nbob@example.net bob/\n@lmtp.example.net any/\n"
    "carol@virtual.example.net carol/\n",
    "transport": "out.example.org smtp:[{sink}]:25\nslow.example.org smtp:[{sink}]:2025\n"
    "no.example.org smtp:[{sink}]:3025\nclosed.example.org smtp:[{sink}]:4025\n"
    "gone.example.org error:5.1.2 that domain has gone\nlater.example.org retry:4.3.2 not today\n"
    "nowhere.example.org discard:as asked\nvirtual.example.net virtual:\n"
    "false+exit 0@piped.example.org piped:\npiped.example.org piped:\n",
    "logins": "alice@example.net alice@example.net\nbob@example.net bob@example.net\n",
    "postscreen_access": "192.0.2.230 reject\n192.0.2.231 permit\n",
    "client_access": "192.0.2.220 554 5.7.1 go away; from=<x@example.com> to=<z> proto=ESMTP "
    "helo=<[203.0.113.99]>\n"
    "192.0.2.221 450 4.7.1 come back later\n192.0.2.222 HOLD\n192.0.2.223 WARN watch this one\n"
    "192.0.2.224 DISCARD\n192.0.2.225 INFO only saying\n192.0.2.226 521 5.7.1 no mail from you\n",
    "helo_access": "bad.example.org REJECT your HELO\nmail1.example.net REJECT you are not me\n"
    "soft.example.org 450 4.7.1 later\n",
    "sender_access": "bad@example.org REJECT\nbroken@example.org no_such_restriction\n"
    "redirect@example.org REDIRECT devnull@mail1.example.net\n"
    "filter@example.org FILTER discard:filtered\nprepend@example.org PREPEND X-Seen: yes\n"
    "bcc@example.org BCC devnull@mail1.example.net\n",
    "recipient_access": "full@example.net 552 5.2.2 mailbox full\nlater@example.net 450 4.2.0 Greylisted\n",
    "header_checks": "/^Subject: .*reject me/ REJECT no such subjects\n/^Subject: .*hold me/ HOLD odd\n"
    "/^Subject: .*warn me/ WARN look at this\n/^Subject: .*discard me/ DISCARD unwanted\n",
    "body_checks": "/buy now/ REJECT no adverts\n",
}

_DOVECOT = """
base_dir = {root}/{name}
state_dir = {root}/{name}-state
{logging}
protocols = imap pop3 lmtp sieve submission
listen = *, ::
ssl = yes
ssl_cert = <{root}/tls.pem
ssl_key = <{root}/tls.key
disable_plaintext_auth = yes
auth_master_user_separator = *
auth_mechanisms = plain login cram-md5
auth_failure_delay = 0
auth_verbose = {verbose}
{chars}
login_trusted_networks =
mail_location = maildir:{root}/mail/%u
first_valid_uid = 1
mail_max_userip_connections = 2
default_login_user = dovenull
default_internal_user = dovecot
hostname = mail1.example.net
submission_relay_host = 127.0.0.1
submission_relay_port = 25
passdb {{
  driver = imap
  args = host=127.0.0.1 port=9
  username_filter = *@broken.example.net
  result_internalfail = return
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {root}/users
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {root}/more-users
  username_filter = dave@*
}}
userdb {{
  driver = passwd-file
  args = {root}/users
}}
userdb {{
  driver = passwd-file
  args = {root}/more-users
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
service managesieve-login {{
  inet_listener sieve {{
    port = {sieve}
  }}
}}
service submission-login {{
  inet_listener submission {{
    port = {submission}
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {root}/queue/private/{auth} {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
service lmtp {{
  unix_listener {root}/queue/private/{lmtp} {{
    mode = 0600
    user = postfix
    group = postfix
  }}
}}
"""

_RSYSLOG = """
module(load="imuxsock" SysSock.Use="on" SysSock.Name="/dev/log" SysSock.RateLimit.Interval="0")
global(workDirectory="{root}")
mail.*          action(type="omfile" file="{root}/mail.log" template="RSYSLOG_TraditionalFileFormat")
mail.*          action(type="omfile" file="{root}/mail-3339.log" template="RSYSLOG_FileFormat")
mail.*          action(type="omfile" file="{root}/mail-5424.log" template="RSYSLOG_SyslogProtocol23Format")
auth,authpriv.* action(type="omfile" file="{root}/auth.log" template="RSYSLOG_TraditionalFileFormat")
"""


def write(root: Path) -> None:
    """Write every settings file under `root`. The folders must not exist yet."""
    for folder in ("queue", "queue/private", "data", "postfix", "mail", "dovecot", "quiet"):
        (root / folder).mkdir()
    (root / "postfix/main.cf").write_text(_MAIN.format(root=root))
    (root / "postfix/master.cf").write_text(_MASTER.format(root=root))
    for name, text in _TABLES.items():
        (root / "postfix" / name).write_text(text.replace("{sink}", SINK))
    for name, people in (("users", ("alice", "bob", "carol")), ("more-users", ("dave",))):
        (root / name).write_text(
            "".join(
                f"{user}@example.net:{{PLAIN}}secret of {user}:5000:5000::{root}/mail/{user}::"
                f"{'nologin' if user == 'carol' else ''}\n"
                for user in people
            )
        )
    (root / "dovecot/dovecot.conf").write_text(
        _DOVECOT.format(
            root=root,
            name="dovecot-run",
            logging="syslog_facility = mail",
            verbose="yes",
            chars="",
            imap=143,
            imaps=993,
            pop3=110,
            pop3s=995,
            sieve=4190,
            submission=2587,
            auth="auth",
            lmtp="dovecot-lmtp",
        )
    )
    (root / "quiet/dovecot.conf").write_text(
        _DOVECOT.format(
            root=root,
            name="quiet-run",
            logging=f"log_path = {root}/dovecot.log",
            verbose="no",
            chars="auth_username_chars =",
            imap=1143,
            imaps=1993,
            pop3=1110,
            pop3s=1995,
            sieve=14190,
            submission=12587,
            auth="quiet-auth",
            lmtp="quiet-lmtp",
        )
    )
    (root / "rsyslog.conf").write_text(_RSYSLOG.format(root=root))
    (root / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
