"""What the guard did when it was asked to change something: the words for its answer's id."""

from __future__ import annotations

from typing import Any

from .messages import text
from .moments import timed
from .output import write_json, write_line


def report(form: str, answer: dict[str, Any], message: str, /, **arguments: object) -> None:
    """The answer as JSON, or the sentence `message` with the answer's arguments and these."""
    if form == "json":
        write_json(timed({name: value for name, value in answer.items() if name != "ok"}))
    else:
        write_line(text(message, **{**answer.get("args", {}), **arguments}))
