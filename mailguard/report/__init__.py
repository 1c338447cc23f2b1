"""What a rehearsal found as one self-contained page of HTML."""

from __future__ import annotations

from .contents import Frontier, Point, Report, Words
from .gather import begun, gather
from .page import policy, render
from .watching import Watcher

__all__ = ["Frontier", "Point", "Report", "Watcher", "Words", "begun", "gather", "policy", "render"]
