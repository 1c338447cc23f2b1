"""`mailguard install`: the systemd units, their users and folders, and the manual pages.

Every step is planned as a value first; `--dry-run` prints the plan, `--root` carries out only its files below
another folder (for packagers), and a normal run carries out all of it and says each step.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailguard.problems import EXIT_PERMISSION, EXIT_UNAVAILABLE, Problem, ProblemsError

from .config import CONFIG
from .messages import text
from .output import write_line

if TYPE_CHECKING:
    from mailguard.definitions.actions import Action

UNITS = Path(__file__).resolve().parent.parent / "units"
MANUALS = "/usr/local/share/man"

#: File in units/ -> where it goes.
PLACES = {
    "sysusers.conf": "/etc/sysusers.d/mailguard.conf",
    "tmpfiles.conf": "/etc/tmpfiles.d/mailguard.conf",
    "mailguard-enforcer.socket": "/etc/systemd/system/mailguard-enforcer.socket",
    "mailguard-enforcer.service": "/etc/systemd/system/mailguard-enforcer.service",
    "mailguard.service": "/etc/systemd/system/mailguard.service",
}

#: What the enforcer's unit allows beyond the least, for drivers that need it.
DROP_IN = "/etc/systemd/system/mailguard-enforcer.service.d/action.conf"

#: What the judge's unit allows beyond the least where logs come over the net.
JUDGE_DROP_IN = "/etc/systemd/system/mailguard.service.d/syslog.conf"

FIRST_SETTINGS = """\
# Settings of mailguard. What does not stand here has its default: see mailguard.toml(5).
# After a change: mailguard check && systemctl reload mailguard

[general]
# "observe" only says what would be banned; "enforce" bans. `mailguard enforce` switches too.
mode = "{mode}"

[never]
# Networks that are never banned, each with the reason.
networks = [
  # {{ network = "192.0.2.0/24", reason = "our office" }},
]
"""


@dataclass(frozen=True)
class Write:
    """Write a file; `keep` leaves one that is there alone, because it is the administrator's."""

    path: str
    content: str
    mode: int = 0o644
    keep: bool = False

    def __str__(self) -> str:
        return text("install.write", path=self.path)


@dataclass(frozen=True)
class Command:
    """Run a program of the system; an argument list, never a shell."""

    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return text("install.run", command=" ".join(self.arguments))


@dataclass(frozen=True)
class Remove:
    """Remove a file that an earlier installation wrote and this one does not want."""

    path: str

    def __str__(self) -> str:
        return text("install.remove", path=self.path)


Step = Write | Command | Remove


def plan(config: str, mode: str, start: bool, action: Action, program: Path, python: Path) -> Iterator[Step]:
    """The steps of an installation, in order. `action`: the way to ban that the enforcer is for."""
    names = {
        "@MAILGUARD@": str(program),
        "@PYTHON@": str(python),
        "@CONFIG@": config,
        "@ACTION@": action.name,
    }
    yield Write(config, FIRST_SETTINGS.format(mode=mode), keep=True)
    for name, place in PLACES.items():
        content = (UNITS / name).read_text(encoding="utf-8")
        for placeholder, value in names.items():
            content = content.replace(placeholder, value)
        yield Write(place, content)
    more = drop_in(action)
    yield Write(DROP_IN, more) if more else Remove(DROP_IN)
    listens = listening(config)
    yield (
        Write(JUDGE_DROP_IN, (UNITS / "judge-syslog.conf").read_text(encoding="utf-8"))
        if listens
        else Remove(JUDGE_DROP_IN)
    )
    for page in manual_pages():
        place = f"man{page.suffix[1:]}/{page.name}"
        if page.parent.name != "man":  # man/ja/mailguard.8
            place = f"{page.parent.name}/{place}"
        yield Write(f"{MANUALS}/{place}", page.read_text(encoding="utf-8"))
    yield Command(("systemd-sysusers", "/etc/sysusers.d/mailguard.conf"))
    yield Command(("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/mailguard.conf"))
    yield Command(("systemctl", "daemon-reload"))
    if start:
        # One that runs already takes the new units; the bans stand meanwhile.
        yield Command(("systemctl", "stop", "mailguard.service", "mailguard-enforcer.service"))
    verb = ("enable", "--now") if start else ("enable",)
    yield Command(("systemctl", *verb, "mailguard-enforcer.socket", "mailguard.service"))


def drop_in(action: Action, alone: bool = True) -> str:
    """What the enforcer's unit allows beyond the least, "" for nothing; of E-Post's files its tables alone.

    `alone`: this action is all that the enforcer does, so it may also take away what the unit allows.
    """
    if action.driver == "several":
        from mailguard.firewall.actions import parts_of

        return "\n".join(more for part in parts_of(action) if (more := drop_in(part, alone=False)))
    template = UNITS / f"enforcer-{action.driver}.conf"
    if not template.exists():
        return ""
    content = template.read_text(encoding="utf-8")
    if action.driver == "epost":
        from mailguard.definitions.eposttables import files

        content = content.replace("@TABLES@", " ".join(f'"-{path}"' for path in files(dict(action.options))))
        if not alone:
            takes = ("# For the action epost: no capability", "CapabilityB", "AmbientC", "RestrictA")
            content = "".join(line for line in content.splitlines(True) if not line.startswith(takes))
    return content


def listening(config: str) -> bool:
    """Whether the settings name a log that comes over the net."""
    from mailguard.definitions.settings import load_settings

    return Path(config).exists() and any(log.kind == "syslog" for log in load_settings(config).logs)


def chosen_action(config: str) -> Action:
    """The action that the settings name; with "auto" the one that works here, else nftables."""
    from mailguard.definitions.actions import find_action
    from mailguard.definitions.settings import load_settings
    from mailguard.firewall.choose import AUTO, probe

    name = load_settings(config if Path(config).exists() else None).firewall.action
    found = [action for one in (AUTO if name == "auto" else (name,)) if (action := find_action(one))]
    working = [action for action in found if not probe(action)]
    return (working or found)[0]


def manual_pages() -> list[Path]:
    """The shipped manual pages, in a checkout or in a wheel; translated ones lie in folders by language."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "shipped" / "man", package.parent / "man"):
        if folder.is_dir():
            return sorted(page for page in folder.rglob("mailguard*") if page.suffix in {".5", ".7", ".8"})
    return []


def unreadable(program: Path) -> str | None:
    """The first folder above `program` that the guard's own user could not enter, if there is one."""
    for folder in [*reversed(program.parents)]:
        if str(folder) in {"/root", "/home", "/run/user"}:
            return str(folder)  # ProtectHome= hides these from the units
        if not folder.stat().st_mode & 0o001:
            return str(folder)
    return None


def carry_out(step: Step, root: Path | None) -> None:
    """Do one step, below `root` when it is given (then commands are left out)."""
    if isinstance(step, Remove):
        path = Path(step.path) if root is None else root / step.path.lstrip("/")
        path.unlink(missing_ok=True)
        return
    if isinstance(step, Command):
        if root is None:
            result = subprocess.run(step.arguments, stdin=subprocess.DEVNULL, check=False)
            if result.returncode != 0:
                raise click.ClickException(text("install.failed", command=" ".join(step.arguments)))
        return
    path = Path(step.path) if root is None else root / step.path.lstrip("/")
    if step.keep and path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(step.content, encoding="utf-8")
    fresh.chmod(step.mode)
    fresh.replace(path)


@click.command("install")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--enforce", is_flag=True, help="Let new settings start in enforce mode instead of observe.")
@click.option("--no-start", is_flag=True, help="Enable the units but do not start them now.")
@click.option("--config", default=CONFIG, show_default=True, metavar="FILE", help="The settings file to use.")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write below this folder; run nothing.",
)
def command(dry_run: bool, enforce: bool, no_start: bool, config: str, root: Path | None) -> int:
    """Install the systemd units, with least privilege.

    Writes the units, their users and folders, first settings and the manual pages, enables and starts the
    guard, and prints each step. Settings that exist are left alone.
    """
    python = Path(sys.executable).absolute()
    program = python.with_name("mailguard")
    action = chosen_action(config)
    mode = "enforce" if enforce else "observe"
    steps = [
        step
        for step in plan(config, mode, not no_start, action, program, python)
        if not isinstance(step, Remove) or Path(f"{root or ''}{step.path}").exists()
    ]
    if dry_run:
        for step in steps:
            write_line(step)
            if isinstance(step, Write) and not step.path.startswith(MANUALS):
                for line in step.content.splitlines():
                    write_line("    " + line)
        return 0
    if root is None:
        if os.geteuid() != 0:
            click.echo(text("install.not-root"), err=True)
            return EXIT_PERMISSION
        if not Path("/run/systemd/system").is_dir():
            click.echo(text("install.no-systemd"), err=True)
            return EXIT_UNAVAILABLE
        hidden = unreadable(program)
        if hidden is not None:
            raise ProblemsError(
                [
                    Problem(
                        str(program),
                        text("install.hidden", folder=hidden),
                        text("install.hidden-why"),
                        text("install.hidden-instead"),
                        settings=True,
                    )
                ]
            )
    for step in steps:
        if root is None or not isinstance(step, Command):
            write_line(step)
            carry_out(step, root)
    if root is None:
        write_line(text("install.done" if not no_start else "install.done-no-start"))
    return 0
