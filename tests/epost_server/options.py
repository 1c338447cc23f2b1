"""What an administrator can set, and what differs from build to build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ALL_LOGS = frozenset({
    "acceptlog", "inlog", "receivelog", "outlog", "outlocallog", "faillog", "senderlog",
    "pop3log", "receivepop3", "imap4log", "receiveimap4",
})  # fmt: skip

POP_LIKE_IMAP = "imap"  # [stamp] USER from IP COMMAND ARGUMENTS STATUS
POP_ANCESTOR = "ancestor"  # USER from IP COMMAND ARGUMENTS [stamp] (REPLY)

#: errno of a reset and of a time-out, as get_reply() says them on each system.
ERRNO = {"windows": (10054, 10060), "linux": (104, 110), "bsd": (54, 60)}


@dataclass(frozen=True)
class Options:
    """One installation. Times are in the units of the real values."""

    name: str = "example.jp"  # the server's own name
    domains: frozenset[str] = frozenset({"example.jp"})
    accounts: Mapping[str, str] = field(default_factory=dict)  # local part -> password
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # mailing list -> members
    zone: str = "Asia/Tokyo"
    system: str = "windows"  # "windows", "linux", "bsd": errno values
    build: tuple[int, int] = (2026, 6)  # year and month: many habits follow from it

    # ---- logs
    logs: frozenset[str] = ALL_LOGS
    computer: str = "MAIL1"  # the folder below each log's; "": none
    line_end: bytes = b"\r\n"  # Windows text mode; b"\n" elsewhere
    id_form: str = (
        "short"  # "short": B + 10 digits; "long": year, month; "text": <> without one; "bare": nothing
    )
    codes: bool = True  # replies have x.y.z codes (from receiver 4.83 on)
    name_blank: bool = False  # `NAME [IP]` in record 2 instead of `NAME[IP]`
    late_stamps: bool = True  # record 2 has the stamp of the last AUTH or MAIL FROM; False: of its writing
    own_ends: str = "multi"  # whose own line end receivelog keeps: "multi"-line replies, "all" texts, "none"
    log_data: bool = False  # receivelog also has the lines of messages
    wide_context: bool = False  # contexts of 64-bit processes
    contexts: int = 0x347C89C8  # where memory addresses begin
    pop_form: str = POP_LIKE_IMAP
    quotes_left: str = (
        "none"  # what a quoted name leaves behind in imap4log: "none", "name", "argument", "both"
    )
    literals: bool = False  # LOGIN takes literals, and so names with line ends; no such build is known
    debug: bool = False  # lines that begin with a blank
    banner: str = "E-POST ESMTP Receiver (4.90) ..."

    # ---- SMTP
    auth: bool = True
    mechanisms: tuple[str, ...] = ("LOGIN", "PLAIN", "CRAM-MD5")
    challenges: tuple[str, str] = ("username:", "Password:")
    need_auth: bool = True  # a local sender must log in
    verify: bool = False  # VRFY and EXPN are answered
    size_limit: int = 20971520  # bytes
    recipient_limit: int = 100
    session_limit: int = 1000
    listed: frozenset[str] = frozenset()  # addresses that a DNS block list names
    reverse_dns: bool = False  # clients without a name are turned away
    names: Mapping[str, str] = field(default_factory=dict)  # address -> name by reverse DNS
    spf_failing: frozenset[str] = frozenset()  # addresses whose mail fails SPF
    filtered: bytes = b""  # a message with these bytes is caught by the filter
    remote: Mapping[str, str] = field(
        default_factory=dict
    )  # domain -> "IP NAME", or "550 words" of its refusal

    # ---- lock-outs; 0 is off, a time of 0 is for ever
    auth_lock_out: int = 0  # failed logins
    auth_lock_out_time: int = 0  # minutes
    ip_lock_out: int = 0  # connections
    ip_lock_out_time: int = 0  # seconds
    ip_lock_out_sample: int = 0  # seconds of silence after which counting begins anew

    # ---- what follows from the build

    @property
    def result_of_silence(self) -> bool:
        """Is there a record 2 for clients that leave before AUTH and MAIL FROM?"""
        return self.build >= (2026, 6)

    @property
    def file_at_close(self) -> bool:
        """Record 2 goes into the file of the day on which the session closes; before: of its stamp."""
        return self.build >= (2026, 6)

    @property
    def true_mechanism(self) -> bool:
        return self.build >= (2024, 12)

    @property
    def success_clears(self) -> bool:
        return self.build >= (2018, 8)

    @property
    def white_rows(self) -> bool:
        return self.build >= (2016, 8)

    @property
    def ipv6_prefixes(self) -> bool:
        return self.build >= (2021, 12)

    def ip_lock_outs(self, service: str) -> bool:
        return self.ip_lock_out > 0 and self.build >= ((2019, 2) if service == "smtp" else (2019, 6))

    @property
    def auth_lock_outs(self) -> bool:
        return self.auth_lock_out > 0 and self.build >= (2016, 1)

    def account(self, name: str) -> str | None:
        """The account behind a login name or address of ours."""
        local, at, domain = name.partition("@")
        if at and domain.lower() not in self.domains:
            return None
        return next((one for one in self.accounts if one.lower() == local.lower()), None)

    def is_local(self, address: str) -> bool:
        """Is this an address in a domain of ours?"""
        return address.rpartition("@")[2].lower() in self.domains
