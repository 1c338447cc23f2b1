"""Every sentence the command line says, by id. A translation is another table with the same ids.

`text("ban.refused", network="192.0.2.0/24", why="...")` fills the arguments in; values that came from outside
are made safe where they are written, not here.
"""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    # errors
    "error.interrupted": "mailguard: interrupted",
    "error.file": "mailguard: {name}: {what}",
    "error.firewall": "mailguard: the firewall refused: {what}",
    "error.unexpected": (
        "mailguard: this should not happen: {kind}: {what}\n"
        "Please report it; MAILGUARD_DEBUG=1 shows where it happened."
    ),
    # usage
    "usage.no-command": "There is no command '{name}'.{hint}",
    "usage.near": " Did you mean '{name}'?",
    "usage.network": "'{text}' is no address or network (such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64)",
    "usage.network-host-bits": "'{text}' has host bits set; the network is {network}",
    "usage.duration": "'{text}' is no length of time (such as 10m, 1h30m, 7d){extra}",
    "usage.or-permanent": " and not the word permanent",
    "usage.time": (
        "'{text}' is neither a time (such as 2026-11-22T03:00:00+01:00) nor a length of time ago (such as 2h)"
    ),
    "usage.zone": "'{text}' is no time zone (such as Europe/Berlin or UTC)",
    # install
    "install.write": "write {path}",
    "install.run": "run   {command}",
    "install.failed": "this failed: {command}",
    "install.not-root": "mailguard: installing units needs root; --dry-run shows what would be done",
    "install.no-systemd": "mailguard: systemd does not run this host; start `mailguard run` yourself",
    "install.hidden": "the guard's own user cannot read this program, because {folder} is closed to it",
    "install.hidden-why": "the units run as users of their own and hide home folders on purpose",
    "install.hidden-instead": (
        "install mailguard where every user can read it:\n"
        "python3 -m venv /opt/mailguard && /opt/mailguard/bin/pip install mailguard && "
        "/opt/mailguard/bin/mailguard install"
    ),
    "install.done": "mailguard runs; `mailguard status` tells how it is, `mailguard enforce` switches bans on",
    "install.done-no-start": "mailguard starts with the next boot, or by: systemctl start mailguard",
}


def text(message: str, /, **arguments: object) -> str:
    """The sentence `message` with its arguments filled in."""
    return MESSAGES[message].format_map(arguments)
