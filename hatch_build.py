"""Builds the compiled core, where that can be done; without a compiler the installation goes on without it.

Called by pip and `python -m build` as a build hook of hatchling, and by people as a command:

    python hatch_build.py [NAME]...             build in place native/NAME.pyx; without a name
                                                all of them (`make native`)
    python hatch_build.py --sanitize [NAME]...  the same with AddressSanitizer, for bench/fuzz.py

The compiled modules only make the guard faster: each is the equal twin of Python code that is always there.
So nothing here may stop an installation. `mailguard check` and `mailguard status` say which is in use.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
FOLDERS = tuple(Path("mailguard", room, "native") for room in ("core", "feeds", "firewall", "ledger"))
GENERATED = "build/native"  # the C that Cython makes, and objects
FLAGS = (
    "-O2",
    "-g0",
    "-fwrapv",
    "-ffp-contract=off",  # times are added as Python adds them
    "-fno-strict-aliasing",
    "-fstack-protector-strong",
)
SANITIZE = ("-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE")
DIRECTIVES = {"language_level": 3, "boundscheck": True, "wraparound": False, "binding": False}

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a command, where only Cython and setuptools are needed
    BuildHookInterface = object  # type: ignore[assignment,misc]


def sources() -> list[Path]:
    """The modules that can be compiled."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.pyx"))


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """Builders go one after the other: they share the generated C and the objects in `folder`."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def put(made: Path, place: Path) -> None:
    """Make `place` the file that was made, in one step: whoever has the old one loaded keeps it whole, and
    nobody loads half of the new one. One that is the same stays."""
    if place.exists() and place.read_bytes() == made.read_bytes():
        return
    handle, fresh = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    os.close(handle)
    try:
        shutil.copyfile(made, fresh)
        shutil.copymode(made, fresh)
        os.replace(fresh, place)
    except BaseException:
        os.unlink(fresh)
        raise


def build(source: Path, *, sanitize: bool = False) -> Path:
    """Compile one of them in place, if it changed; the file made, relative to the top of the project.

    Raises whatever Cython, setuptools or the compiler raise.
    """
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        with alone(GENERATED):
            return _build(source, sanitize)
    finally:
        os.chdir(before)


def _build(source: Path, sanitize: bool) -> Path:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    path = source.relative_to(ROOT)
    module = Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        extra_compile_args=list(SANITIZE if sanitize else FLAGS),
        extra_link_args=["-fsanitize=address"] if sanitize else [],
    )
    generated = GENERATED + ("-sanitize" if sanitize else "")
    (extension,) = cythonize([module], compiler_directives=DIRECTIVES, build_dir=generated, quiet=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # setuptools warns of commands that nobody runs here
        command = build_ext(Distribution({"ext_modules": [extension]}))
        command.build_temp = generated
        command.build_lib = generated + "/lib"
        command.force = sanitize
        command.ensure_finalized()
        command.run()
    made = Path(command.get_ext_fullpath(extension.name))
    place = path.with_name(made.name)
    put(made, place)
    return place


class NativeHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    """Puts the compiled core into the wheel; of an editable installation it stays beside its sources."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling: called before a wheel is built; `version` is "standard" or "editable"."""
        if self.target_name != "wheel":
            return
        made = []
        for source in sources():
            try:
                made.append(build(source))
            except (Exception, SystemExit) as problem:
                # No compiler, no headers, no room: the Python code does the same, more slowly.
                self.app.display_warning(
                    f"mailguard: the compiled core ({source.stem}) was not built: {type(problem).__name__}: "
                    f"{problem}; going on without it: same events, more time."
                )
        if not made:
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["artifacts"] += [str(path) for path in made]


def main() -> int:
    """Build in place and say what was built; 1 when something failed."""
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    failed = False
    for source in sources():
        if names and source.stem not in names:
            continue
        try:
            print("compiled:", build(source, sanitize="--sanitize" in sys.argv[1:]))
        except (Exception, SystemExit) as problem:
            failed = True
            print(
                f"The compiled core ({source.stem}) was not built: {type(problem).__name__}: {problem}\n"
                "mailguard works without it: same events, more time. It wants a C compiler (gcc), Python's\n"
                "headers (python3-dev) and Cython (pip install cython setuptools).",
                file=sys.stderr,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
