"""What tests do with a template: read a message by it."""

from __future__ import annotations

from mailguard.core import pattern as p


def read(template: str, message: str | bytes, cut: bool = False) -> dict[str, bytes | None] | None:
    """The captured fields of a message, or None."""
    pattern = p.compile(template)
    data = message.encode() if isinstance(message, str) else message
    values = pattern.match(data, 0, len(data), cut)
    return None if values is None else dict(zip(pattern.names, values, strict=True))
