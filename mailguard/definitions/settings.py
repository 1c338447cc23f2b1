"""The settings: defaults.toml with the administrator's file laid over it, key by key, as frozen values.

Owns: what a key may hold. `mailguard/defaults.toml` says what each means; a test keeps the two together.
Never: is half right. Any mistake anywhere refuses the whole, with all problems at once (exit 78).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..core.detectors import Detector
from ..core.policy import Rules
from ..notation import parse_network
from ..problems import Problem, ProblemsError
from . import source
from .assigned import assigned
from .detectors import DetectorReader, check_together, duration
from .growing import KEYS as GROWTH_KEYS
from .growing import growth
from .layers import Merged, lay_over
from .listening import listening
from .options import Alerts, Firewall, General, Growth, Log, Never, Policy, Settings
from .overlap import read_twice
from .reading import Reading, near
from .remembered import Passed
from .source import Document

__all__ = [
    "DEFAULTS",
    "DEFAULT_PATH",
    "Alerts",
    "Firewall",
    "General",
    "Growth",
    "Log",
    "Never",
    "Policy",
    "Settings",
    "load_settings",
]

DEFAULTS = Path(__file__).resolve().parent.parent / "defaults.toml"
DEFAULT_PATH = Path("/etc/mailguard/mailguard.toml")

MODES = ("observe", "enforce")
EVIDENCE = ("redacted", "full", "none")
LANGUAGES = ("auto", "en", "ja")
KINDS = ("file", "journal", "epost", "stdin", "syslog", "synology-db")
TRUST = ("ban", "alert")
STARTS = ("end", "begin")
SCOPES = ("auth", "mail")

_TABLES = ("general", "log", "never", "firewall", "policy", "alerts", "growth", "detector")
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
    "listen",
    "senders",
)

Keys = tuple[str | int, ...]


class _Reader:
    """Reads merged settings; problems gather in `reading`."""

    def __init__(self, document: Document, parsers: Iterable[str] | None, actions: Iterable[str] | None):
        self.reading = Reading(document, settings=True)
        self.data = document.data
        self.lower: dict[str, Any] = document.lower.data if isinstance(document, Merged) else document.data
        self.parsers = None if parsers is None else sorted(parsers)
        self.actions = None if actions is None else sorted(actions)

    def table(self, name: str, known: Iterable[str] | None = None) -> dict[str, Any]:
        value: Any = self.data[name]
        if not isinstance(value, dict):
            self.reading.problem((name,), f"{name} must be a table", instead=f"Write [{name}].")
        table: dict[str, Any] = value if isinstance(value, dict) else self.lower[name]
        if known is not None:
            self.reading.keys(table, known, (name,), f"[{name}]")
        return table

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
        table = self.table("general", General._fields)
        keys, about = ("general",), "[general]"
        paths = {}
        for name in ("state", "socket"):
            before = len(self.reading.problems)
            text = self.text(table, name, keys, about)
            if not text.startswith("/") and len(self.reading.problems) == before:
                self.reading.problem(
                    (*keys, name),
                    f"{about}: {name} must be an absolute path",
                    f"{text!r} is none",
                    f'Write {name} = "/...".',
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
        for path, first, second in read_twice(found):
            self.reading.problem(
                ("log", second, "path"),
                f"[log.{second}]: {path} is read by [log.{first}] already",
                "each failure would count twice",
                "Name the file in one of them; parsers is a list.",
            )
        return tuple(found)

    def _log(self, name: str, table: dict[str, Any], keys: Keys, about: str) -> Log:
        reading = self.reading
        kind = self.choice(table, "kind", KINDS, keys, about)
        path = reading.texts(table, "path", keys, about)
        if kind in ("file", "epost") and not path and table.get("kind", kind) == kind:
            reading.problem(keys, f"{about}: path is missing", "a log of this kind is found by its path")
        for text in path:
            if not text.startswith("/"):
                reading.problem(
                    (*keys, "path"), f"{about}: path must be absolute", f"{text!r} begins in no known folder"
                )
        if kind == "stdin" and path:
            reading.problem((*keys, "path"), f"{about}: standard input has no path")
        if kind != "journal":
            for key in ("units", "identifiers"):
                if table.get(key):
                    reading.problem(
                        (*keys, key), f"{about}: {key} is for journals only", f"this log is of kind {kind!r}"
                    )
        parsers = reading.texts(table, "parsers", keys, about)
        listen, senders = listening(reading, kind, table, keys, about)
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
            from zoneinfo import ZoneInfo

            try:
                ZoneInfo(timezone)
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
            # What comes over the net may come from anybody: to believe it is the administrator's word.
            self.choice(
                ({"trust": "alert"} if kind == "syslog" else {}) | table, "trust", TRUST, keys, about
            ),
            self.seconds(table, "silent_after", keys, about),
            self.choice(table, "start", STARTS, keys, about),
            listen,
            senders,
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
        shipped = self.lower["detector"]
        tables = self.table("detector")
        before = len(self.reading.problems)
        key = Passed.key("detector", repr(tables))
        tried = key in Passed()
        for name, table in tables.items():
            if not isinstance(table, dict):
                self.reading.problem(("detector", name), f"detector: {name} must be a table")
                continue
            detector = DetectorReader(self.reading, name, table, shipped, tried).read()
            if detector is None:
                continue
            found.append(detector)
        if not tried and len(self.reading.problems) == before:
            Passed.add(key)
        short = [
            detector.name
            for detector in found
            if max(detector.within, detector.ban.longest if detector.ban else 0.0) > retention
        ]
        if short and retention:
            self.reading.problem(
                ("general", "retention"),
                "[general]: retention is shorter than the window or the longest ban of a detector",
                f"what led to a ban must outlive it: {', '.join(short)}",
                "Raise retention, or shorten the detectors.",
            )
        check_together(self.reading, found)
        return tuple(found)


def load_settings(
    path: Path | str | None = None,
    *,
    text: str | None = None,
    parsers: Iterable[str] | None = None,
    actions: Iterable[str] | None = None,
    assignments: Sequence[str] = (),
) -> Settings:
    """The settings of the file at `path` (None: the defaults alone), laid over the shipped ones.

    `assignments` are texts `KEY=VALUE` that are laid over both (see `assigned`).
    `text` is the content instead of what the file holds (then `path` is only its name). `parsers` and
    `actions` are the names there are; None: those in the definition folders. Raises ProblemsError with
    every problem.
    """
    lower = source.load_shipped(DEFAULTS)
    document = lower
    if path is not None:
        upper = source.parse(text, str(path), True) if text is not None else source.load(path, True)
        document = lay_over(lower, upper)
    if assignments:
        document = lay_over(document, assigned(assignments))
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
        growth(reader.reading, reader.table("growth", GROWTH_KEYS)),
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
