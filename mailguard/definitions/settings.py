"""The settings: defaults.toml with the administrator's file laid over it, key by key, as frozen values.

Owns: what a key may hold. `mailguard/defaults.toml` says what each means; a test keeps the two together.
Never: is half right. Any mistake anywhere refuses the whole, with all problems at once (exit 78).
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.detectors import Detector
from ..core.engine import Setup
from ..core.policy import Rules
from ..model import Network
from ..notation import format_duration, parse_network
from ..problems import Problem, ProblemsError
from . import source
from .detectors import DetectorReader, check_together, duration
from .reading import Reading, near
from .source import Document

DEFAULTS = Path(__file__).resolve().parent.parent / "defaults.toml"
DEFAULT_PATH = Path("/etc/mailguard/mailguard.toml")

MODES = ("observe", "enforce")
EVIDENCE = ("redacted", "full", "none")
LANGUAGES = ("auto", "en")
KINDS = ("file", "journal", "epost", "stdin")
TRUST = ("ban", "alert")
STARTS = ("end", "begin")
SCOPES = ("auth", "mail")

_TABLES = ("general", "log", "never", "firewall", "policy", "alerts", "detector")
_LOG = (
    "kind",
    "path",
    "parsers",
    "units",
    "identifiers",
    "timezone",
    "year",
    "trust",
    "silent_after",
    "start",
)

#: Networks for private use and this host itself; the text says which.
PRIVATE: tuple[tuple[str, str], ...] = (
    ("10.0.0.0/8", "private use (RFC 1918)"),
    ("172.16.0.0/12", "private use (RFC 1918)"),
    ("192.168.0.0/16", "private use (RFC 1918)"),
    ("100.64.0.0/10", "shared address space of a provider (RFC 6598)"),
    ("169.254.0.0/16", "link-local"),
    ("fc00::/7", "private use (RFC 4193)"),
    ("fe80::/10", "link-local"),
)
LOOPBACK: tuple[tuple[str, str], ...] = (
    ("127.0.0.0/8", "this host"),
    ("::1", "this host"),
    ("0.0.0.0/8", "this host"),
)

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class General:
    """`[general]`. Durations in seconds."""

    mode: str
    state: Path
    socket: Path
    evidence: str
    retention: float
    heartbeat: float  # 0: none
    language: str


@dataclass(frozen=True, slots=True)
class Log:
    """One `[log.NAME]`."""

    name: str
    kind: str
    path: tuple[str, ...] = ()
    parsers: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    timezone: str = ""
    year: int | None = None
    trust: str = "ban"
    silent_after: float = 0.0  # 0: learn what is normal
    start: str = "end"

    @property
    def may_ban(self) -> bool:
        return self.trust == "ban"


@dataclass(frozen=True, slots=True)
class Never:
    """`[never]`. `networks` are the configured ones; `listed` adds loopback and private use."""

    own: bool
    private: bool
    networks: tuple[tuple[Network, str], ...]

    def listed(self) -> tuple[tuple[Network, str], ...]:
        """What the settings say is never banned; own addresses and gateways, found at run time, come on
        top.
        """
        fixed = LOOPBACK + (PRIVATE if self.private else ())
        told = [(network, reason) for text, reason in fixed if (network := parse_network(text)) is not None]
        return (*told, *self.networks)


@dataclass(frozen=True, slots=True)
class Firewall:
    """`[firewall]`. `ports` by scope; the scope "mail" blocks its own and those of "auth"."""

    action: str
    ports: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Policy:
    """`[policy]`."""

    rules: Rules
    max_keys: int
    max_standing: int


@dataclass(frozen=True, slots=True)
class Alerts:
    """`[alerts]`. `command`: program and arguments; empty: none."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked."""

    path: Path | None  # the administrator's file; None: defaults only
    general: General
    logs: tuple[Log, ...]
    never: Never
    firewall: Firewall
    policy: Policy
    alerts: Alerts
    detectors: tuple[Detector, ...]

    def setup(
        self,
        *,
        secret: bytes = b"mailguard",
        never: Sequence[tuple[Network, str]] = (),
        track: bool = False,
        guessed: Iterable[str] = (),
    ) -> Setup:
        """What an engine is made of. `never`: own addresses and the like, found at run time."""
        return Setup(
            self.detectors,
            self.policy.rules,
            (*self.never.listed(), *never),
            self.policy.max_keys,
            self.policy.max_standing,
            secret,
            track,
            frozenset(guessed),
        )


class _Merged(Document):
    """Two documents as one: values of the upper, where it has them, with their lines."""

    def where(self, *keys: str | int) -> str:
        upper: Document = self.__dict__["upper"]
        lower: Document = self.__dict__["lower"]
        if keys in upper.lines or keys not in lower.lines:
            for end in range(len(keys), 0, -1):
                if keys[:end] in upper.lines:
                    return upper.where(*keys[:end])
        return lower.where(*keys)


def _merge(lower: dict[str, Any], upper: dict[str, Any], depth: int) -> dict[str, Any]:
    """`upper` over `lower`, tables merged to `depth` levels below this one."""
    merged = dict(lower)
    for name, value in upper.items():
        below = lower.get(name)
        deeper = depth > 0 and isinstance(value, dict) and isinstance(below, dict)
        merged[name] = _merge(below, value, depth - 1) if deeper else value  # type: ignore[arg-type]
    return merged


def _merged(lower: Document, upper: Document) -> Document:
    data: dict[str, Any] = {}
    for name in (*lower.data, *(name for name in upper.data if name not in lower.data)):
        below, above = lower.data.get(name), upper.data.get(name)
        if isinstance(below, dict) and isinstance(above, dict):
            # A detector is a table of tables, and its `ban` is one again: key by key, all of it.
            data[name] = _merge(below, above, 2 if name == "detector" else 1)
        else:
            data[name] = above if name in upper.data else below
    document = _Merged(upper.path, data, {})
    document.__dict__["upper"], document.__dict__["lower"] = upper, lower
    return document


class _Reader:
    """Reads merged settings; problems gather in `reading`."""

    def __init__(self, document: Document, parsers: Iterable[str] | None, actions: Iterable[str] | None):
        self.reading = Reading(document, settings=True)
        self.data = document.data
        self.parsers = None if parsers is None else sorted(parsers)
        self.actions = None if actions is None else sorted(actions)

    def table(self, name: str, known: Iterable[str] | None = None) -> dict[str, Any]:
        value = self.data.get(name, {})
        if not isinstance(value, dict):
            self.reading.problem((name,), f"{name} must be a table", instead=f"Write [{name}].")
            return {}
        if known is not None:
            self.reading.keys(value, known, (name,), f"[{name}]")
        return value

    def choice(self, table: dict[str, Any], name: str, known: Sequence[str], keys: Keys, about: str) -> str:
        value = table.get(name, known[0])
        if value not in known:
            self.reading.problem(
                (*keys, name), f"{about}: {name} cannot be {value!r}", instead=near(str(value), known)
            )
            return known[0]
        return str(value)

    def text(self, table: dict[str, Any], name: str, keys: Keys, about: str) -> str:
        return str(self.reading.get(table, name, str, "", keys, about))

    def seconds(self, table: dict[str, Any], name: str, keys: Keys, about: str, least: float = 0.0) -> float:
        return duration(self.reading, table.get(name, "0s"), (*keys, name), about, least) or 0.0

    def number(self, table: dict[str, Any], name: str, least: int, most: int, keys: Keys, about: str) -> int:
        value = table.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.reading.problem(
                (*keys, name),
                f"{about}: {name} must be a whole number from {least} to {most}",
                f"{value!r} is none",
            )
            return least
        return value

    # ------------------------------------------------------------ tables

    def general(self) -> General:
        table = self.table("general", General.__dataclass_fields__)
        keys, about = ("general",), "[general]"
        paths = {}
        for name in ("state", "socket"):
            text = self.text(table, name, keys, about)
            if not text.startswith("/"):
                self.reading.problem(
                    (*keys, name), f"{about}: {name} must be an absolute path", f"{text!r} is none"
                )
            paths[name] = Path(text)
        return General(
            self.choice(table, "mode", MODES, keys, about),
            paths["state"],
            paths["socket"],
            self.choice(table, "evidence", EVIDENCE, keys, about),
            self.seconds(table, "retention", keys, about, 86400.0),
            self.seconds(table, "heartbeat", keys, about),
            self.choice(table, "language", LANGUAGES, keys, about),
        )

    def logs(self) -> tuple[Log, ...]:
        found = []
        for name, table in self.table("log").items():
            keys, about = ("log", name), f"[log.{name}]"
            if not isinstance(table, dict):
                self.reading.problem(keys, f"log: {name} must be a table", instead=f"Write [log.{name}].")
                continue
            self.reading.keys(table, _LOG, keys, about)
            found.append(self._log(name, table, keys, about))
        return tuple(found)

    def _log(self, name: str, table: dict[str, Any], keys: Keys, about: str) -> Log:
        reading = self.reading
        kind = self.choice(table, "kind", KINDS, keys, about)
        path = reading.texts(table, "path", keys, about)
        if kind in ("file", "epost") and not path:
            reading.problem(keys, f"{about}: path is missing", "a log of this kind is found by its path")
        if kind == "stdin" and path:
            reading.problem((*keys, "path"), f"{about}: standard input has no path")
        if kind != "journal":
            for key in ("units", "identifiers"):
                if table.get(key):
                    reading.problem(
                        (*keys, key), f"{about}: {key} is for journals only", f"this log is of kind {kind!r}"
                    )
        parsers = reading.texts(table, "parsers", keys, about)
        if self.parsers is not None:
            for parser in parsers:
                if parser not in self.parsers:
                    reading.problem(
                        (*keys, "parsers"),
                        f"{about}: there is no parser {parser!r}",
                        instead=near(parser, self.parsers),
                    )
        timezone = self.text(table, "timezone", keys, about)
        if timezone:
            try:
                zoneinfo.ZoneInfo(timezone)
            except (KeyError, ValueError, OSError):
                reading.problem(
                    (*keys, "timezone"),
                    f"{about}: there is no time zone {timezone!r}",
                    instead='Write a name like "Asia/Tokyo" or "UTC".',
                )
        year = self.number(table, "year", 1970, 2999, keys, about) if "year" in table else None
        return Log(
            name,
            kind,
            path,
            parsers,
            reading.texts(table, "units", keys, about),
            reading.texts(table, "identifiers", keys, about),
            timezone,
            year,
            self.choice(table, "trust", TRUST, keys, about),
            self.seconds(table, "silent_after", keys, about),
            self.choice(table, "start", STARTS, keys, about),
        )

    def never(self) -> Never:
        table = self.table("never", ("own", "private", "networks"))
        keys, about = ("never",), "[never]"
        own = self.choice(table, "own", ("auto", "off"), keys, about) == "auto"
        private = bool(self.reading.get(table, "private", bool, True, keys, about))
        networks = []
        for number, entry in enumerate(self.reading.tables(table, "networks", keys, about)):
            place: Keys = (*keys, "networks", number)
            self.reading.keys(entry, ("network", "reason"), place, about)
            text = entry.get("network")
            network = parse_network(text) if isinstance(text, str) else None
            if network is None:
                self.reading.problem(
                    place,
                    f"{about}: {text!r} is no network",
                    self._why_no_network(text),
                    'Write "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32".',
                )
            elif not isinstance(entry.get("reason"), str) or not entry["reason"].strip():
                self.reading.problem(
                    place,
                    f"{about}: {text} has no reason",
                    "in a year nobody knows why it is spared",
                    'Write { network = "...", reason = "our office" }.',
                )
            else:
                networks.append((network, entry["reason"]))
        return Never(own, private, tuple(networks))

    @staticmethod
    def _why_no_network(text: object) -> str:
        body, slash, _ = str(text).partition("/")
        return "bits are set to the right of the prefix" if slash and parse_network(body) is not None else ""

    def firewall(self) -> Firewall:
        table = self.table("firewall", ("action", "ports"))
        keys, about = ("firewall",), "[firewall]"
        action = self.text(table, "action", keys, about)
        if self.actions is not None and action != "auto" and action not in self.actions:
            self.reading.problem(
                (*keys, "action"),
                f"{about}: there is no action {action!r}",
                instead=near(action, ("auto", *self.actions)),
            )
        ports: dict[str, tuple[int, ...]] = {}
        told = self.reading.get(table, "ports", dict, {}, keys, about)
        self.reading.keys(told, SCOPES, (*keys, "ports"), about)
        for scope in SCOPES:
            numbers = told.get(scope, [])
            if not isinstance(numbers, list) or not all(
                isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536 for port in numbers
            ):
                self.reading.problem(
                    (*keys, "ports", scope), f"{about}: ports.{scope} must be a list of TCP ports"
                )
                continue
            ports[scope] = tuple(sorted(set(numbers)))
        if told and not any(ports.values()):
            self.reading.problem((*keys, "ports"), f"{about}: without ports nothing would be blocked")
        return Firewall(action, ports)

    def policy(self) -> Policy:
        known = ("escalation", "forget", "max_bans", "max_networks", "max_keys", "max_standing")
        table = self.table("policy", known)
        keys, about = ("policy",), "[policy]"
        steps = self.reading.texts(table, "escalation", keys, about)
        escalation = [duration(self.reading, step, (*keys, "escalation"), about) for step in steps]
        times = tuple(step for step in escalation if step is not None)
        if list(times) != sorted(times):
            self.reading.problem(
                (*keys, "escalation"),
                f"{about}: escalation must not fall",
                "repeat offenders stay out longer",
            )
        rules = Rules(
            times,
            self.seconds(table, "forget", keys, about, 3600.0),
            self.number(table, "max_bans", 1, 1_000_000, keys, about),
            self.number(table, "max_networks", 1, 100_000, keys, about),
        )
        return Policy(
            rules,
            self.number(table, "max_keys", 1000, 100_000_000, keys, about),
            self.number(table, "max_standing", 1000, 10_000_000, keys, about),
        )

    def alerts(self) -> Alerts:
        table = self.table("alerts", ("command",))
        command = self.reading.texts(table, "command", ("alerts",), "[alerts]")
        if command and not command[0].startswith("/"):
            self.reading.problem(
                ("alerts", "command"),
                "[alerts]: command must begin with an absolute path",
                "what a search path finds may be somebody else's",
            )
        return Alerts(command)

    def detectors(self, retention: float) -> tuple[Detector, ...]:
        found: list[Detector] = []
        for name, table in self.table("detector").items():
            if not isinstance(table, dict):
                self.reading.problem(("detector", name), f"detector: {name} must be a table")
                continue
            detector = DetectorReader(self.reading, name, table).read()
            if detector is None:
                continue
            found.append(detector)
            longest = max(detector.within, detector.ban.longest if detector.ban else 0.0)
            if retention and longest > retention:
                self.reading.problem(
                    ("detector", name),
                    f"detector {name}: needs more than [general] retention keeps",
                    f"its window or its longest ban is {format_duration(longest)}, "
                    f"retention is {format_duration(retention)}",
                    "Raise retention, or shorten the detector.",
                )
        check_together(self.reading, found)
        return tuple(found)


def load_settings(
    path: Path | str | None = None,
    *,
    text: str | None = None,
    parsers: Iterable[str] | None = None,
    actions: Iterable[str] | None = None,
) -> Settings:
    """The settings of the file at `path` (None: the defaults alone), laid over the shipped ones.

    `text` is the content instead of what the file holds (then `path` is only its name). `parsers` and
    `actions` are the names there are; None: those in the definition folders. Raises ProblemsError with
    every problem.
    """
    lower = source.load(DEFAULTS, settings=True)
    document = lower
    if path is not None:
        upper = source.parse(text, str(path), True) if text is not None else source.load(path, True)
        document = _merged(lower, upper)
    reader = _Reader(
        document,
        source.search("parsers") if parsers is None else parsers,
        source.search("actions") if actions is None else actions,
    )
    reader.reading.keys(document.data, _TABLES, (), "settings")
    general = reader.general()
    settings = Settings(
        None if path is None else Path(path),
        general,
        reader.logs(),
        reader.never(),
        reader.firewall(),
        reader.policy(),
        reader.alerts(),
        reader.detectors(general.retention),
    )
    if reader.reading.problems:
        raise ProblemsError(_in_order(reader.reading.problems))
    return settings


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By file and line, so that they can be mended from top to bottom."""

    def place(problem: Problem) -> tuple[str, int]:
        file, _, line = problem.where.rpartition(":")
        return file, int(line) if line.isdigit() else 0

    return sorted(problems, key=place)
