"""What a rehearsal found as one self-contained page of HTML."""

from __future__ import annotations

from .contents import Frontier, Point, Report, Words
from .gather import gather
from .page import policy, render
from .watching import Watcher

__all__ = ["Frontier", "Point", "Report", "Watcher", "Words", "gather", "policy", "render"]
