"""The modules `browser` and `reports` of this folder are imported by their plain names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from reports import Render

from mailguard import locale
from mailguard.cli.reporting import Spoken
from mailguard.report import Report, render


@pytest.fixture
def page() -> Iterator[Render]:
    """A report as a page in a language."""

    def make(report: Report, language: str = "en") -> str:
        locale.use(language)
        assert locale.spoken() == language
        return render(report, Spoken(language))

    yield make
    locale.use("en")
