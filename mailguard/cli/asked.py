"""What the guard did when it was asked to change something: its effects, in the one notation."""

from __future__ import annotations

from typing import Any

from .messages import text
from .output import write_json, write_line


def report(form: str, answer: dict[str, Any], nothing: str = "asked.nothing") -> None:
    """Each effect on a line, or `nothing` in words; then what the guard adds."""
    if form == "json":
        write_json({name: value for name, value in answer.items() if name != "ok"})
        return
    effects = answer.get("effects", [])
    for effect in effects:
        write_line(effect["text"] if isinstance(effect, dict) else effect)
    for note in answer.get("notes", []):
        write_line(note)
    if not effects and not answer.get("notes"):
        write_line(text(nothing))
