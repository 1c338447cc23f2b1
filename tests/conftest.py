"""What every test shares: golden files, tests that need root, and a mode in which nothing may be left out.

* `pytest --renew` writes golden files anew instead of comparing; the difference is then read in review.
* Tests marked `kernel` or `real` need root and network namespaces. Without them they are left out, and the
  closing lines say how many were.
* With MAILGUARD_NATIVE=0 nothing compiled is used, and tests marked `compiled`, which are about that, are not
  selected: the closing lines say how many.
* With MAILGUARD_TESTS_MUST_RUN=1 in the environment (CI) a skip of any sort is a failure.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import mailguard

MUST_RUN = os.environ.get("MAILGUARD_TESTS_MUST_RUN") == "1"
# Tests read English, whatever the developer's own language is.
os.environ.pop("LANGUAGE", None)
os.environ["LC_ALL"] = "C.UTF-8"
LEFT_OUT = "left out: needs root and network namespaces"


# A slow machine is no failure. CI, which runs everything for everybody, tries the same examples each time;
# a developer tries new ones.
settings.register_profile("mailguard", deadline=None, derandomize=MUST_RUN, print_blob=True)
settings.load_profile("mailguard")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="write golden files anew instead of comparing")


@cache
def may_use_kernel() -> bool:
    """True when this process may make network namespaces, so that kernel tests stay inside their own."""
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run(["unshare", "--net", "true"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what this user cannot run; in must-run mode it runs and fails, so that nobody overlooks it."""
    if not mailguard.NATIVE:
        about = [item for item in items if item.get_closest_marker("compiled")]
        config.hook.pytest_deselected(items=about)
        items[:] = [item for item in items if not item.get_closest_marker("compiled")]
    if MUST_RUN or may_use_kernel():
        return
    for item in items:
        if item.get_closest_marker("kernel") or item.get_closest_marker("real"):
            item.add_marker(pytest.mark.skip(reason=LEFT_OUT))


def _forbid(report: Any) -> None:
    """Turn a skip into a failure that says why it is one."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"this test was left out, and MAILGUARD_TESTS_MUST_RUN=1 forbids that: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if MUST_RUN:
        _forbid(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    if MUST_RUN:
        _forbid(report)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests an ordinary user's run did without."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(1 for report in skipped if LEFT_OUT in str(report.longrepr))
    if count:
        terminalreporter.write_line(f"{count} tests were left out: they need root and network namespaces.")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter. Not pytest's own: off those it takes the rights of others, whenever
    one of its workers starts."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare text with a golden file; with --renew write the file instead."""

    def check(path: Path, text: str) -> None:
        if request.config.getoption("--renew"):
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"{path} is missing; make it with pytest --renew and read it"
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; pytest --renew writes it anew"

    return check
