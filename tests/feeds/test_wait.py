"""The one wait: descriptors come and go, and their numbers come back."""

from __future__ import annotations

import os

from mailguard.clock import ManualClock
from mailguard.feeds.wait import Wait


def test_a_number_that_was_given_anew() -> None:
    """Somebody closed his descriptor without a word; the next one with its number is waited for."""
    wait = Wait(ManualClock())
    called: list[str] = []
    read, write = os.pipe()
    wait.add(read, lambda _: called.append("first"))
    os.close(read)
    os.close(write)
    again, write = os.pipe()
    assert again == read
    wait.add(again, lambda _: called.append("second"))
    os.write(write, b"x")
    wait.dispatch(wait.poll(1.0), [])
    assert called == ["second"]
    wait.remove(again)
    assert wait.poll(0.0) == []
    wait.close()
    os.close(again)
    os.close(write)
