"""A setting as text for the settings file: only what differs from the present one."""

from __future__ import annotations

from typing import Any

from ..core.cases import run_case
from ..core.detectors import Detector
from ..notation import format_duration
from .grid import changed


def settings_text(now: Detector, then: Detector) -> str:
    """TOML to paste; empty where nothing differs. `case = []` where a case of the present setting would no
    longer hold: the guard refuses settings whose cases fail."""
    different = changed(now, then)
    if not different:
        return ""
    lines = [f"[detector.{now.name}]"]
    if "count" in different:
        lines.append(f"count = {then.count}")
    if "distinct" in different:
        lines.append(f'distinct = {{ field = "{then.distinct}", count = {then.values} }}')
    if "within" in different:
        lines.append(f'within = "{format_duration(then.within)}"')
    if "key" in different:
        lines.append(f'key = "{then.key}"')
    if "ban" in different and then.ban is not None:
        ban = then.ban
        lines.append(
            f'ban = {{ first = "{format_duration(ban.first)}", factor = {_number(ban.factor)}, '
            f'longest = "{format_duration(ban.longest)}" }}'
        )
    if not _cases_hold(now, then):
        lines.append("case = []")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _cases_hold(now: Detector, then: Detector) -> bool:
    """The cases of the present setting are true of the other, too."""
    for case in now.cases:
        got: Any = run_case(then, case)
        if got != case.fires and (got is None or case.fires is None or abs(got - case.fires) >= 1e-3):
            return False
    return True
