"""No line a client can send takes long: the bound is computed at load, and holds on the worst lines known.

Times are compared with what `re` needs for a plain run over as many bytes on the same machine at the same
moment, never with a clock's absolute value.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from mailguard.core import pattern as p
from mailguard.core.pattern import cost
from mailguard.problems import ProblemsError

NASTY = [
    "warning: {host:host}[{source:ip}]: SASL {method:[!-~]{1,100}} authentication failed: {reason:prose}"
    "{?, sasl_username={user:foreign}?}",
    "x-login: {:prose} (auth failed, {attempts:int} attempts): user=<{user:foreign}>"
    "{?, method={method:[!-;=?-~]{1,80}}?}, rip={source:ip}, lip={:ip}{?, {:prose}?}"
    "{?, session=<{session:base64}>?}",
    "{queue_id:token}: reject: header {:foreign} from {host:host}[{source:ip}]; from=<{sender:address}> "
    "to=<{recipient:address}> proto={:word} helo=<{helo:helo}>: {reason:prose}",
    "reject: from {host:host}[{source:ip}]: {:foreign}; from=<{:foreign}> to=<{:foreign}> helo=<{:foreign}>",
    "{:foreign} from=<{sender:address}>{? to=<{recipient:address}>?}",
    "auth({user:foreign},{source:ip}{?,<{session:base64}>?}): {a|b}",
    "{user:foreign} from {source:ip} LOGIN {=user} **** failed",
    "fatal: {:prose}: {:foreign}",
    "{:foreign}, {:prose}: {:word}!",
    "{? a{:[a ]{1,40}}?}{? a{:[a ]{1,40}}?}!{:foreign}",
]


def load(name: str) -> ModuleType:
    """A script of bench/ as a module."""
    path = Path(__file__).resolve().parents[2] / "bench" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bench_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def best(work: Callable[[], object], rounds: int = 5) -> float:
    """The shortest of some rounds, in time of the processor: what disturbs one only lengthens it."""
    out = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        work()
        out = min(out, time.thread_time() - start)
    return out


@pytest.mark.parametrize("template", NASTY)
def test_hostile_lines_stay_below_the_bound(template: str) -> None:
    """On 8 KiB of whatever a client would send to make the search long, no match takes longer than `re` needs
    to run once over as many bytes as the bound allows steps."""
    pattern = p.compile(template)
    plain = b"a" * cost.MOST_STEPS
    run = partial(re.compile(rb"[a-z0-9]*+\Z").match, plain)
    allowed = best(run)
    lines = list(load("patterns").hostile_lines(pattern))
    assert len(lines) > 5
    for line in lines:
        match = partial(pattern.match, line, 0, len(line))
        if best(match, 1) > allowed:
            assert best(match, 20) <= best(run, 20), line[:200]


@pytest.mark.parametrize("template", NASTY)
def test_twice_the_line_is_not_four_times_the_work(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 4 to 8 KiB of foreign text the worst time grows as the line does, not as its square. Both are
    measured in turns: what else the machine does hits both.
    """
    pattern = p.compile(template)
    bench = load("patterns")
    slowest = []
    for length in (4096, 8192):
        monkeypatch.setattr(bench, "LENGTH", length)
        work = [partial(pattern.match, line, 0, len(line)) for line in bench.hostile_lines(pattern)]
        slowest.append(max(work, key=lambda match: best(match, 3)))
    turns = [[best(match, 1) for match in slowest] for _ in range(20)]
    once, twice = map(min, zip(*turns, strict=True))
    assert twice < 3 * once + 20e-6


@pytest.mark.parametrize(
    "template",
    [
        "{:prose}: {:prose}: {:foreign}",
        "{:foreign} {:prose} {:prose} {:prose}",
        "{:prose}a{:prose}b{:prose}c",
        "{:foreign}a{:plain}a{:helo}a{:plain}",
    ],
)
def test_a_template_without_a_bound_is_refused(template: str) -> None:
    """Open-ended slots one after the other are refused at load, before any line is read."""
    with pytest.raises(ProblemsError, match="steps to match"):
        p.compile(template)
