"""Builds the compiled core, where that can be done; without a compiler the installation goes on without it.

Called by pip and `python -m build` as a build hook of hatchling, and by people as a command:

    python hatch_build.py            build in place every mailguard/core/native/*.pyx (`make native`)
    python hatch_build.py --asan     the same with AddressSanitizer, for tests/fuzz

The compiled modules only make the guard faster: each is the equal twin of Python code that is always there. So
nothing here may stop an installation. `mailguard check` and `mailguard status` say which of both is in use.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
FOLDER = Path("mailguard/core/native")
GENERATED = "build/native"  # the C that Cython makes, and objects
FLAGS = ("-O2", "-g0", "-fwrapv", "-fno-strict-aliasing", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2")
ASAN = ("-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE")
DIRECTIVES = {"language_level": 3, "boundscheck": True, "wraparound": False, "binding": False}

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a command, where only Cython and setuptools are needed
    BuildHookInterface = object  # type: ignore[assignment,misc]


def sources() -> list[Path]:
    """The modules that can be compiled."""
    return sorted((ROOT / FOLDER).glob("*.pyx"))


def build(*, asan: bool = False) -> list[Path]:
    """Compile all of them in place, those that changed; the files made, relative to the top of the project.

    Raises whatever Cython, setuptools or the compiler raise.
    """
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    flags = list(ASAN if asan else FLAGS)
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        shared = [str(path.relative_to(ROOT)) for path in (ROOT / FOLDER).glob("*.p[xy][di]")]
        modules = [
            Extension(
                ".".join(path.relative_to(ROOT).with_suffix("").parts),
                [str(path.relative_to(ROOT))],
                depends=shared,
                extra_compile_args=flags,
                extra_link_args=["-fsanitize=address"] if asan else [],
            )
            for path in sources()
        ]
        extensions = cythonize(modules, compiler_directives=DIRECTIVES, build_dir=GENERATED, quiet=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # setuptools warns of commands that nobody runs here
            command = build_ext(Distribution({"ext_modules": extensions}))
            command.inplace = True
            command.build_temp = GENERATED
            command.force = asan
            command.ensure_finalized()
            command.run()
        return [Path(command.get_ext_fullpath(module.name)).relative_to(ROOT) for module in extensions]
    finally:
        os.chdir(before)


class NativeHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    """Puts the compiled core into the wheel; of an editable installation it stays beside its sources."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling: called before a wheel is built; `version` is "standard" or "editable"."""
        if self.target_name != "wheel":
            return
        try:
            made = build()
        except (Exception, SystemExit) as problem:
            # No compiler, no headers, no room: the Python code does the same, more slowly.
            self.app.display_warning(
                f"mailguard: the compiled core was not built ({type(problem).__name__}: {problem}); "
                "going on without it: same events, more time."
            )
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["artifacts"] += [str(path) for path in made]


def main() -> int:
    """Build in place and say what was built; 1 when it failed."""
    try:
        made = build(asan="--asan" in sys.argv[1:])
    except (Exception, SystemExit) as problem:
        print(f"The compiled core was not built: {type(problem).__name__}: {problem}", file=sys.stderr)
        print(
            "mailguard works without it: same events, more time. It wants gcc, Python's headers",
            file=sys.stderr,
        )
        print("(python3-dev) and Cython (pip install cython setuptools).", file=sys.stderr)
        return 1
    print("compiled:", *made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
