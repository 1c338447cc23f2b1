"""Two settings files as one: the administrator's laid over the shipped one, with the lines of both."""

from __future__ import annotations

from typing import Any

from .source import Document


class Merged(Document):
    """Two documents as one: values of the upper, where it has them, with their lines."""

    def __init__(self, lower: Document, upper: Document, data: dict[str, Any]):
        super().__init__(upper.path, data, lower.lines | upper.lines)
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    lower: Document
    upper: Document

    def where(self, *keys: str | int) -> str:
        upper, lower = self.upper, self.lower
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


def lay_over(lower: Document, upper: Document) -> Merged:
    """`upper` over `lower`: tables key by key, everything else as a whole."""
    data: dict[str, Any] = {}
    for name in (*lower.data, *(name for name in upper.data if name not in lower.data)):
        below, above = lower.data.get(name), upper.data.get(name)
        if isinstance(below, dict) and isinstance(above, dict):
            # A detector is a table of tables, and its `ban` is one again: key by key, all of it.
            data[name] = _merge(below, above, 2 if name == "detector" else 1)
        else:
            data[name] = above if name in upper.data else below
    return Merged(lower, upper, data)
