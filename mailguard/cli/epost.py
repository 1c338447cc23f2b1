"""`mailguard epost`: E-Post's own tables, looked at and looked after."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from mailguard.locale.said import said
from mailguard.model import Network
from mailguard.notation import format_network, format_time
from mailguard.problems import EXIT_NO_INPUT

from .arguments import network as network_of
from .client import GuardError, question, socket_option
from .completing import actions
from .config import config_option, settings_path
from .eposts import USUAL, place_of, places
from .messages import text
from .moments import ago
from .output import columns, is_terminal, output_option, safe, write_json, write_line, write_table
from .wide import wrap

if TYPE_CHECKING:
    from mailguard.epost.audit import Finding
    from mailguard.epost.folders import Content
    from mailguard.firewall.epost import Epost
    from mailguard.firewall.epostcare import Done

#: Networks about which the guard is asked.
_ASKED = 500
#: Where the Unix programs keep the spool, when no log says otherwise.
SPOOL = "/var/spool/epms"
_TIMES = ("since", "oldest", "newest", "changed")


@click.group("epost")
def command() -> None:
    """Look at and after E-Post's own tables."""


# ---------------------------------------------------------------- audit


@command.command("audit")
@click.option("--program", metavar="FOLDER", multiple=True, help="E-Post's program folder, with its tables.")
@click.option("--spool", metavar="FOLDER", multiple=True, help="E-Post's mail work folder.")
@click.option("--domain", metavar="NAME", multiple=True, help="A domain of this mail server.")
@click.option("--own", type=network_of, metavar="NETWORK", multiple=True, help="A network that must get in.")
@config_option
@socket_option
@output_option
def audit_(
    program: tuple[str, ...],
    spool: tuple[str, ...],
    domain: tuple[str, ...],
    own: tuple[Network, ...],
    config: str | None,
    socket: str,
    form: str,
) -> int:
    """Look for mistakes and surprises in E-Post's tables and control files.

    Own addresses, partners and never-listed networks that are kept out; lines that do nothing, or more
    than was meant; lock-outs that never come; and what no file shows. Nothing is changed.

    Exit 0: nothing to do; 1: warnings; 2: somebody is kept out who must get in, or the server relays for
    strangers.
    """
    from mailguard.definitions.settings import load_settings

    settings = load_settings(settings_path(config))
    logs = [path for log in settings.logs if log.kind == "epost" for path in log.path]
    programs = list(program) or [place.program for place in places()] or [USUAL[0]]
    spools = list(spool) or logs or [SPOOL]
    if not any(os.path.isdir(one) for one in (*programs, *spools)):
        click.echo(text("audit.nothing", folders=", ".join((*programs, *spools))), err=True)
        return EXIT_NO_INPUT
    guarded = _guarded(settings.never.own, settings.never.listed(), own)
    findings = list(findings_of(programs, spools, guarded, domain, _speaker(socket)))
    _show(findings, form)
    severities = {finding.severity for finding in findings}
    return 2 if "severe" in severities else 1 if "warning" in severities else 0


def _guarded(
    ask: bool, listed: Sequence[tuple[Network, str]], own: Sequence[Network]
) -> list[tuple[Network, str]]:
    """Who must get in, with the reason; the narrowest first, because its reason says most, and of those what
    people said."""
    from mailguard.firewall.own import own_networks

    found = [*((network, text("audit.told")) for network in own), *listed]
    found += [(network, said(reason)) for network, reason in own_networks()] if ask else []
    return sorted(dict.fromkeys(found), key=lambda one: -one[0].prefix)


def findings_of(
    programs: Sequence[str],
    spools: Sequence[str],
    guarded: Sequence[tuple[Network, str]],
    domains: Sequence[str],
    speaks: Callable[[Network], str],
) -> Iterator[Finding]:
    """Everything that is found in these folders."""
    from mailguard.epost import audit, effect, folders, tables
    from mailguard.feeds.interface import EPOST_LOGS

    now = time.time()
    looked = [folders.spool(one, EPOST_LOGS) for one in spools]
    known = {name.lower() for name in domains} | {name for one in looked for name in one.servers}
    all_tables: list[Content] = []
    for program in programs:
        place = place_of(program)
        own = place.own()
        if own is None:
            yield audit.Finding(audit.UNSEEN, "unseen-own", place.state, {})
        if not os.path.isdir(program):
            yield audit.Finding(audit.WARNING, "program-missing", program, {})
            continue
        for kind, name in tables.FILES.items():
            content = folders.control_file(program, name)
            all_tables.append(content)
            mine, lock = (own or {}).get(folders.same_path(content.path), set()), place.locks.get(kind)
            yield from audit.table_findings(content, mine, guarded, lock, now)
            yield from audit.partner_findings(content, mine, speaks, lock, now)
        yield from audit.effect_findings(folders.control_file(program, effect.FILE), known, now)
        yield from audit.list_findings(
            *(folders.control_file(program, one) for one in ("ordb.dat", "mail.dat"))
        )
    for one in looked:
        for personal in one.personal:
            yield from audit.effect_findings(personal, known, now, personal=True)
        yield from audit.spool_findings(one, all_tables, now)
    if not known:
        yield audit.Finding(audit.UNSEEN, "unseen-domains", "", {})
    if silent := getattr(speaks, "silent", ""):
        yield audit.Finding(audit.UNSEEN, "unseen-partners", "", {"why": silent})
    yield from audit.unseen()


class _Speaker:
    """What speaks for a network, asked of the running guard; "" for nothing. `silent`: why it cannot be
    asked."""

    def __init__(self, socket: str):
        self._socket = socket
        self._known: dict[Network, str] = {}
        self.silent = ""

    def __call__(self, network: Network) -> str:
        if self.silent or len(self._known) >= _ASKED:
            return ""
        if network not in self._known:
            self._known[network] = self._ask(network)
        return self._known[network]

    def _ask(self, network: Network) -> str:
        try:
            answer = question(self._socket, "why", network=format_network(network))
        except GuardError as error:
            if error.answer is None:
                self.silent = str(error)
            return ""
        known = answer.get("standing") or {}
        if known.get("revoked"):
            return ""
        words = [
            text(f"audit.speaks-{what}", days=known[f"{what}_days"])
            for what in ("mail", "login")
            if known.get(f"{what}_days")
        ]
        return ", ".join(words)


def _speaker(socket: str) -> _Speaker:
    return _Speaker(socket)


def sentence(finding: Finding) -> str:
    """A finding in words."""
    args = dict(finding.args)
    for name in _TIMES:
        value = args.get(name)
        if isinstance(value, float):
            args[name] = ago(value)
        elif value is None and name in ("oldest", "newest"):
            args[name] = "-"
    if finding.id in ("caught", "partner"):
        args["when"] = "" if args["since"] is None else text("audit.when", ago=args["since"])
    return text(f"audit.{finding.id}", **args)


def _show(findings: Sequence[Finding], form: str) -> None:
    order = {"severe": 0, "warning": 1, "note": 2, "unseen": 3}
    ordered = sorted(findings, key=lambda one: order[one.severity])
    if form == "json":
        for one in ordered:
            args = {
                name: format_time(value) if name in _TIMES and isinstance(value, float) else value
                for name, value in one.args.items()
            }
            write_json(
                {
                    "severity": one.severity,
                    "id": one.id,
                    "where": one.where,
                    "args": args,
                    "text": sentence(one),
                }
            )
        return
    rows = [(text(f"audit.severity.{one.severity}"), one.where, sentence(one)) for one in ordered]
    if form == "auto" and is_terminal():
        write_line(text("audit.title", count=len(rows)))
        for line in _laid_out(rows, get_terminal_size().columns):
            write_line(line)
    else:
        write_table(form, "", (), rows)


def _laid_out(rows: Sequence[tuple[str, str, str]], width: int) -> Iterator[str]:
    """Findings as paragraphs: how grave, where (whole, that it can be copied), and below it the sentence."""
    room = max((columns(severity) for severity, _, _ in rows), default=0) + 2
    for severity, where, words in rows:
        yield ""
        lines = wrap(safe(words), max(width - room, 20))
        head = severity + " " * (room - columns(severity))
        yield head + (where or lines.pop(0))
        yield from (" " * room + line for line in lines)


# ---------------------------------------------------------------- prepare and compact


def _care_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--service-stopped", is_flag=True, help="E-Post's services and the enforcer are stopped now."
        ),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option(
            "--action", default="epost", show_default=True, metavar="NAME", shell_complete=actions,
            help="The action whose tables are meant.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


@command.command("prepare")
@_care_options
@click.option(
    "--allow", type=click.IntRange(0, 100_000), metavar="NUMBER", default=0, help="Lines for white-list rows."
)
@click.option(
    "--reject", type=click.IntRange(0, 1_000_000), metavar="NUMBER", default=0, help="Lines for bans."
)
@click.option(
    "--effect",
    type=click.IntRange(0, 100_000),
    metavar="NUMBER",
    default=0,
    help="Lines for bans in effect.dat.",
)
def prepare_(action: str, dry_run: bool, service_stopped: bool, allow: int, reject: int, effect: int) -> None:
    """Make the reject tables that are missing, and set lines aside in them.

    White-list rows and lines of effect.dat are only written where lines were set aside; on a share bans
    are best written there too, so that nobody appends at the same moment. Setting lines aside rewrites a
    table, so E-Post's services must be stopped for that moment.
    """
    from mailguard.firewall.epostcare import make, reserve

    wanted = allow or reject or effect
    if wanted and not (service_stopped or dry_run):
        raise click.UsageError(text("epost.stop-first"))
    driver = _driver(action, "effect" if effect else "")
    done = make(driver, dry_run)
    if wanted:
        done += reserve(driver, allow, reject, effect, dry_run)
    _tell(done, "epost.reserved", dry_run)


@command.command("compact")
@_care_options
@click.option(
    "--unknown",
    is_flag=True,
    help="Also rows with the value 0 that mailguard's list does not know: those of a list that was lost.",
)
def compact_(action: str, dry_run: bool, service_stopped: bool, unknown: bool) -> None:
    """Take mailguard's dead rows out of the tables; those of others stay, byte for byte.

    It rewrites the tables, so E-Post's services and the enforcer must be stopped. A copy of each table is
    kept beside the enforcer's state file.
    """
    from mailguard.firewall.epostcare import compact

    if not (service_stopped or dry_run):
        raise click.UsageError(text("epost.stop-first"))
    _tell(compact(_driver(action), dry_run, unknown), "epost.compacted", dry_run)


def _driver(name: str, more: str = "") -> Epost:
    from mailguard.definitions.actions import load_action
    from mailguard.definitions.eposttables import arguments
    from mailguard.firewall.epost import Epost

    from .definitions import find

    action = load_action(find("actions", name))
    if action.driver != "epost":
        raise click.UsageError(text("epost.no-driver", name=name, driver=action.driver))
    known = arguments(dict(action.options))
    if more and more not in known["kinds"]:
        known["kinds"] = [*known["kinds"], more]
    return Epost(**known)


def _tell(done: Sequence[Done], what: str, dry: bool) -> None:
    if not done:
        write_line(text("epost.nothing"))
    for one in done:
        words = text("epost.made", path=one.path) if one.made else text(
            what, path=one.path, lines=one.lines, before=one.before, after=one.after
        )  # fmt: skip
        write_line(text("epost.would", what=words) if dry else words)
        if one.copy:
            write_line(text("epost.copy", path=one.copy))
    with suppress(StopIteration):
        folder = next(os.path.dirname(one.path) for one in done if one.made)
        write_line(text("epost.rights", folder=folder))
