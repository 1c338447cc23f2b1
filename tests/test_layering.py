"""Who may import whom. The rooms of the program stay apart because this test reads every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mailguard"

TABLE = """
Who may import whom (the design's table):
  model, notation, problems      by everyone
  locale                         the words; by daemon and cli
  core/*                         those, core, the standard library without I/O, the matching engines
  definitions/*                  + core; one module there opens files (source.py)
  feeds/*                        + core.envelope, clock
  epost/*                        the words and epost
  firewall/*                     + definitions, clock, epost
  ledger, clock, control,        the words and the standard library
  health, sdnotify, demo
  enforcer                       firewall and what that may use
  daemon, replay                 all of the above
  tuning                         definitions, replay and what those may use
  report/*                       the words and replay
  cli/*                          everything; click and rich only here, heavy imports only inside functions
"""

WORDS = {"mailguard", "mailguard.model", "mailguard.notation", "mailguard.problems"}
CORE = WORDS | {"mailguard.core"}
DEFINITIONS = CORE | {"mailguard.definitions"}
FIREWALL = DEFINITIONS | {"mailguard.firewall", "mailguard.clock", "mailguard.epost"}
ALL_BUT_CLI = FIREWALL | {
    "mailguard.feeds",
    "mailguard.ledger",
    "mailguard.control",
    "mailguard.enforcer",
    "mailguard.health",
    "mailguard.sdnotify",
    "mailguard.demo",
    "mailguard.eventfile",
    "mailguard.daemon",
    "mailguard.locale",
    "mailguard.replay",
}

#: Room (longest prefix wins) -> the modules and packages of ours that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "mailguard": WORDS,
    "mailguard.core": CORE,
    "mailguard.definitions": DEFINITIONS,
    "mailguard.feeds": WORDS | {"mailguard.feeds", "mailguard.core.envelope", "mailguard.clock"},
    "mailguard.epost": WORDS | {"mailguard.epost"},
    "mailguard.firewall": FIREWALL,
    "mailguard.enforcer": FIREWALL,
    "mailguard.eventfile": WORDS | {"mailguard.eventfile"},
    "mailguard.locale": WORDS | {"mailguard.locale"},
    "mailguard.ledger": WORDS | {"mailguard.clock"},
    "mailguard.control": WORDS | {"mailguard.clock"},
    "mailguard.daemon": ALL_BUT_CLI,
    "mailguard.replay": ALL_BUT_CLI,
    "mailguard.tuning": DEFINITIONS | {"mailguard.eventfile", "mailguard.replay", "mailguard.tuning"},
    "mailguard.report": WORDS | {"mailguard.replay", "mailguard.report"},
    "mailguard.cli": ALL_BUT_CLI | {"mailguard.tuning", "mailguard.report", "mailguard.cli"},
    "mailguard.__main__": {"mailguard.cli"},
}

#: The standard library that core may use: values only, no clock, no files, no network, no threads.
PURE = {
    "__future__", "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "codecs", "collections",
    "contextlib", "copy", "dataclasses", "datetime", "difflib", "enum", "functools", "hashlib", "heapq",
    "importlib",  # core.native finds its own compiled modules
    "hmac", "ipaddress", "itertools", "json", "math", "operator", "re", "string", "struct", "types", "typing",
    "weakref", "zlib", "zoneinfo", "random",
}  # fmt: skip
ENGINES = {"regex", "hyperscan", "ahocorasick_rs"}
CLI_ONLY = {"click", "rich"}
#: Calls that would bring the world into core, even through an allowed module.
WORLDLY_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}
WORLDLY_METHODS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
OPENING_MODULE = "mailguard.definitions.source"


def name_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, Path]:
    return {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


MODULES = sources()


def room_of(module: str) -> str:
    rooms = [room for room in MAY_IMPORT if module == room or module.startswith(room + ".")]
    return max(rooms, key=len)


def imports(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every import in `tree`, relative ones made absolute; `from package import module` names the module."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield node.lineno, full if full in MODULES else base


def allowed(target: str, may: set[str]) -> bool:
    return any(target == one or (one != "mailguard" and target.startswith(one + ".")) for one in may)


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_table(module: str) -> None:
    """Each module imports of ours only what its room may, and click and rich stay in cli."""
    room = room_of(module)
    tree = ast.parse(MODULES[module].read_bytes())
    for line, target in imports(module, tree):
        top = target.partition(".")[0]
        where = f"{MODULES[module].relative_to(ROOT)}:{line}"
        if top == "mailguard":
            assert allowed(target, MAY_IMPORT[room] | {room}), (
                f"{where}: {room} may not import {target}\n{TABLE}"
            )
        elif top in CLI_ONLY:
            assert room == "mailguard.cli", f"{where}: {top} belongs to cli only\n{TABLE}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("mailguard.core")])
def test_core_touches_nothing(module: str) -> None:
    """Core has no clock, no files, no network, no threads: time and bytes come in as values."""
    tree = ast.parse(MODULES[module].read_bytes())
    for line, target in imports(module, tree):
        top = target.partition(".")[0]
        where = f"{MODULES[module].relative_to(ROOT)}:{line}"
        assert top in PURE | ENGINES | {"mailguard"}, f"{where}: core may not import {target}\n{TABLE}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        where = f"{MODULES[module].relative_to(ROOT)}:{node.lineno}"
        if isinstance(node.func, ast.Name):
            assert node.func.id not in WORLDLY_CALLS, f"{where}: core may not call {node.func.id}()\n{TABLE}"
        elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            call = (node.func.value.id, node.func.attr)
            assert call not in WORLDLY_METHODS, f"{where}: core may not ask for the time\n{TABLE}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("mailguard.definitions")])
def test_one_module_of_definitions_opens_files(module: str) -> None:
    """Only definitions/source.py opens files; the rest turns text into values."""
    if module == OPENING_MODULE:
        return
    for node in ast.walk(ast.parse(MODULES[module].read_bytes())):
        if isinstance(node, ast.Call):
            where = f"{MODULES[module].relative_to(ROOT)}:{node.lineno}"
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert name not in {"open", "read_text", "read_bytes", "write_text", "write_bytes"}, (
                f"{where}: only definitions/source.py opens files\n{TABLE}"
            )


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("mailguard.cli")])
def test_cli_imports_are_light(module: str) -> None:
    """At import a command loads click, the words and the standard library; the rest only when it runs."""
    light = WORDS | {"mailguard.cli", "mailguard.clock", "mailguard.control", "mailguard.locale"}
    heavy = {"rich", "sqlite3", "pyroute2", "hyperscan", "regex", "watchdog", "asyncio", "multiprocessing"}
    tree = ast.parse(MODULES[module].read_bytes())
    top_level = ast.Module(
        [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], type_ignores=[]
    )
    for line, target in imports(module, top_level):
        where = f"{MODULES[module].relative_to(ROOT)}:{line}"
        assert target.partition(".")[0] not in heavy, f"{where}: {target} is imported inside functions only"
        if target.startswith("mailguard"):
            assert allowed(target, light), f"{where}: {target} is imported inside functions only\n{TABLE}"


def test_no_package_at_the_top_beside_ours() -> None:
    """parsers/ and actions/ are folders of definitions, never Python packages that would claim the name."""
    for folder in ("parsers", "actions", "samples", "man"):
        assert not list((ROOT / folder).rglob("*.py")), f"{folder}/ holds Python"
    assert sys.version_info >= (3, 11)
