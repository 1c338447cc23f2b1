"""The real mail server for tests: `mailhost` runs for the whole session, `new_mailhost` starts another one.

The helper modules of this folder are imported by their plain names (`mailhost`, `attacks`), from here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mailhost import Mailhost


@pytest.fixture(scope="session")
def mailhost() -> Iterator[Mailhost]:
    """One running mail server for all tests that only look at its logs."""
    with Mailhost() as host:
        yield host


@pytest.fixture
def new_mailhost() -> Iterator[Mailhost]:
    """A mail server for one test that bans, stops or restarts something."""
    with Mailhost() as host:
        yield host
