"""What the tests of the core share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import mailguard
from mailguard.core import native
from mailguard.core.pattern import matching


@pytest.fixture(scope="module", params=["compiled", "python"] if mailguard.NATIVE else ["python"])
def both_cores(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test of the module twice: with the compiled core where nothing else is asked for, and without."""
    choose = native.choose

    def only_python(name: str, use: bool | None) -> Any:
        return choose(name, bool(use))

    if request.param == "compiled" and not native.there():
        pytest.skip("the core is not compiled here")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.setattr(native, "choose", only_python)
        yield request.param


@pytest.fixture(params=[matching.SHORT, -1], ids=["one call", "in parts"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines up to a length are matched in one call, longer ones in parts: tests that ask for this run with
    both."""
    monkeypatch.setattr(matching, "SHORT", request.param)
