"""What an act costs that waits for the line with its address, while as many wait as may: by mechanism and
account, microseconds of processor time each.

    python bench/waiting.py

Who guesses floods both logs of a server, so it is the attacker who says how many wait.
"""

from __future__ import annotations

from pathlib import Path
from time import process_time

from mailguard.core.heard import Heard
from mailguard.core.servers import Servers
from mailguard.definitions.parsers import load_parser
from mailguard.model import Event

ROOT = Path(__file__).resolve().parents[1]
NOW = 1_797_040_000.0
MANY, MORE = 10_000, 1_000


def told(rule: str, log: str, number: int, user: str, second: float) -> Event:
    source = None if "receiveimap4" in rule else 3_405_803_777 + number
    fields = {"user": user, "method": "PLAIN"}
    return Event(
        "auth_failure", second, source, rule, 1, fields, log, number, "auth", True, frozenset(("user",)), b""
    )


def main() -> None:
    parsers = [load_parser(ROOT / "parsers" / f"epost-{name}.toml") for name in ("imap4log", "receiveimap4")]
    line = next(
        rule.full_name
        for parser in parsers
        for rule in parser.rules
        if rule.heard_by and rule.event == "auth_failure"
    )
    act = next(
        rule.full_name
        for parser in parsers
        for rule in parser.rules
        if parser.dialogue is not None and rule.event == "auth_failure"
    )
    for words, names, apart, lines in (
        ("acts, each of another account", MANY, 0.0, False),
        ("acts of one account", 1, 0.0, False),
        ("acts while lines of four seconds ago wait", MANY, 4.0, True),
        ("lines, each of another account", MANY, 0.0, True),
    ):
        heard = Heard(parsers, Servers(parsers), True)
        for number in range(MANY):
            user = f"u{number % names}"
            if lines:
                heard.line(told(line, "/s/imap4log/MAIL1", number, user, NOW), NOW)
            else:
                heard.said(told(act, "/s/receiveimap4/MAIL1", number, user, NOW), NOW)
        later = [
            told(act, "/s/receiveimap4/MAIL1", number, f"w{number % names}", NOW + apart)
            if apart or not lines
            else told(line, "/s/imap4log/MAIL1", number, f"w{number % names}", NOW)
            for number in range(MORE)
        ]
        begun = process_time()
        for number, event in enumerate(later):
            heard.release(NOW + 1.0 + number / MORE)
            (heard.line if event.source is not None else heard.said)(event, NOW + 1.0 + number / MORE)
        held = process_time() - begun
        begun = process_time()
        heard.release(NOW + 10.0)
        freed = process_time() - begun
        print(f"{words}: {held / MORE * 1e6:.1f} µs each; let go: {freed / MANY * 1e6:.1f} µs each")


if __name__ == "__main__":
    main()
