"""Where definition and settings files come from: the one module of this room that opens files.

A file is read with the line of every key, so that a problem can say `file:line`. A file of the same name in
the administrator's folder replaces the shipped one as a whole; a link to /dev/null there masks it.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import re
import stat
import sys
import zlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..problems import Problem, ProblemsError

#: Where the administrator's own definitions are. Tests and `--definitions` name another folder.
ETC = Path("/etc/mailguard")
_PACKAGE = Path(__file__).resolve().parent.parent
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_LARGEST = 8 * 1024 * 1024
_TOML = (
    'Write key = value: text in "quotes", lists in [brackets], the name of a table in [brackets] on a line '
    "of its own, each key once in its table."
)

#: What tomllib says -> what was probably meant.
_MISTAKES = {
    "Unescaped '\\' in a string": "Write templates in 'single quotes', in which a backslash is a backslash.",
    "Illegal character '\\n'": "Close the text with its quote on the same line.",
}

Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A TOML file: its values, and the line each key stands on."""

    path: str
    data: dict[str, Any]
    lines: dict[Keys, int]
    text: str = ""

    def where(self, *keys: str | int) -> str:
        """`file:line` of a key, or of the nearest table around it."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path}:{self.lines.get(keys, 1)}"


def read_text(path: Path | str, settings: bool = False) -> str:
    """The text of a UTF-8 file; /dev/null is an empty one. Raises ProblemsError when it cannot be read."""
    try:
        # Without waiting: opening a named pipe waits for somebody who writes.
        with open(path, "rb", opener=_without_waiting) as file:
            raw = file.read(_LARGEST + 1) if _is_file(file.fileno()) else None
    except OSError as error:
        raise ProblemsError(
            [
                Problem(
                    str(path),
                    f"cannot be read: {error.strerror or error}",
                    instead="Check the name and who may read it.",
                    settings=settings,
                )
            ]
        ) from None
    if raw is None:
        raise ProblemsError(
            [
                Problem(
                    str(path),
                    "is no file",
                    "it is a pipe, a socket or a device, and might never end",
                    "Name a file, or /dev/null for an empty one.",
                    settings,
                )
            ]
        )
    if len(raw) > _LARGEST:
        raise ProblemsError(
            [Problem(str(path), "is larger than 8 MiB", "no definition is", settings=settings)]
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ProblemsError(
            [
                Problem(
                    f"{path}:{line}",
                    "is not UTF-8",
                    f"byte 0x{raw[error.start]:02x} does not fit",
                    "Save the file as UTF-8; write other bytes in a sample with `encoding`.",
                    settings,
                )
            ]
        ) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _is_file(descriptor: int) -> bool:
    """Whether it is a regular file or /dev/null."""
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode):
        return True
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == os.stat(os.devnull).st_rdev


def load(path: Path | str, settings: bool = False) -> Document:
    """A TOML file with its line numbers. Raises ProblemsError when it cannot be read or is no TOML."""
    return parse(read_text(path, settings), str(path), settings)


def load_shipped(path: Path) -> Document:
    """As `load`, for settings that come with the program: what an earlier run read of the same text is kept
    in the cache, because reading TOML with its lines is slow."""
    text = read_text(path, settings=True)
    told = f"{path}\0{sys.version}\0{fingerprint(('definitions/source.py',))}\0{text}"
    key = hashlib.sha256(told.encode()).digest()
    try:
        known, data, lines = marshal.loads(read_cache(path.stem))
    except (EOFError, ValueError, TypeError):
        known, data, lines = b"", {}, {}
    if known == key:
        return Document(str(path), data, lines, text)
    document = parse(text, str(path), settings=True)
    write_cache(path.stem, marshal.dumps((key, document.data, document.lines)))
    return document


def text_of(path: Path | str) -> str:
    """As `read_text`; every line ends with LF alone."""
    return read_text(path).replace("\r\n", "\n")


def parse(text: str, path: str, settings: bool = False) -> Document:
    """As `load`, for a text already read."""
    import tomllib  # most runs read what is kept

    text = text.replace("\r\n", "\n")
    try:
        data = tomllib.loads(text)
        lines = _Locator(text, tomllib.loads).locate()
    except RecursionError:
        raise ProblemsError([Problem(path, "its values are nested too deep", settings=settings)]) from None
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = _POSITION.search(message)
        line = int(found.group(1)) if found and found.group(1) else max(1, text.rstrip("\n").count("\n") + 1)
        what = _POSITION.sub("", message)
        raise ProblemsError(
            [
                Problem(
                    f"{path}:{line}",
                    f"is not TOML: {what[:1].lower()}{what[1:]}",
                    instead=_MISTAKES.get(what, _TOML),
                    settings=settings,
                )
            ]
        ) from None
    return Document(path, data, lines, text)


class _Locator:
    """Finds the line of every key of a text that tomllib has accepted. `loads` reads TOML."""

    def __init__(self, text: str, loads: Callable[[str], dict[str, Any]]):
        self._text = text
        self._loads = loads
        self._at = 0
        self._starts = [0] + [i + 1 for i, char in enumerate(text) if char == "\n"]
        self._lines: dict[Keys, int] = {}
        self._arrays: dict[Keys, int] = {}

    def locate(self) -> dict[Keys, int]:
        table: Keys = ()
        while self._skip("\n"):
            line = self._line()
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._table(self._key(), line, array=True)
                self._at = self._text.index("]]", self._at) + 2
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._table(self._key(), line, array=False)
                self._at = self._text.index("]", self._at) + 1
            else:
                self._pair(table)
        return self._lines

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)

    def _skip(self, more: str = "") -> bool:
        """Over blanks and comments (and `more`); False at the end of the text."""
        text, end = self._text, len(self._text)
        while self._at < end:
            char = text[self._at]
            if char in " \t\r" or char in more:
                self._at += 1
            elif char == "#":
                stop = text.find("\n", self._at)
                self._at = end if stop < 0 else stop
                if "\n" not in more:
                    return self._at < end
            else:
                return True
        return False

    def _key(self) -> tuple[str, ...]:
        """A possibly dotted key."""
        names: list[str] = []
        while True:
            self._skip()
            char = self._text[self._at]
            if char in "\"'":
                begin = self._at
                self._string()
                raw = self._text[begin : self._at]
                names.append(self._loads(f"k = {raw}")["k"])
            else:
                begin = self._at
                while self._at < len(self._text) and (
                    self._text[self._at].isalnum() or self._text[self._at] in "-_"
                ):
                    self._at += 1
                names.append(self._text[begin : self._at])
            self._skip()
            if self._at < len(self._text) and self._text[self._at] == ".":
                self._at += 1
                continue
            return tuple(names)

    def _table(self, names: tuple[str, ...], line: int, array: bool) -> Keys:
        keys: Keys = ()
        for number, name in enumerate(names):
            keys += (name,)
            last = number == len(names) - 1
            if last and array:
                count = self._arrays.get(keys, 0)
                self._arrays[keys] = count + 1
                self._lines.setdefault(keys, line)
                keys += (count,)
            elif keys in self._arrays:
                keys += (self._arrays[keys] - 1,)
            self._lines.setdefault(keys, line)
        return keys

    def _pair(self, table: Keys) -> None:
        line = self._line()
        keys = table
        for name in self._key():
            keys += (name,)
            self._lines.setdefault(keys, line)
        self._skip()
        self._at += 1  # =
        self._value(keys)

    def _value(self, keys: Keys) -> None:
        self._skip("\n")
        char = self._text[self._at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self._at += 1
            number = 0
            while self._skip("\n,") and self._text[self._at] != "]":
                self._lines[(*keys, number)] = self._line()
                self._value((*keys, number))
                number += 1
            self._at += 1
        elif char == "{":
            self._at += 1
            while self._skip("\n,") and self._text[self._at] != "}":
                self._pair(keys)
            self._at += 1
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}\n#":
                self._at += 1

    def _string(self) -> None:
        """Over one string of any of the four kinds."""
        text = self._text
        quote = text[self._at]
        if text.startswith(quote * 3, self._at):
            self._at += 3
            while not text.startswith(quote * 3, self._at):
                self._at += 2 if text[self._at] == "\\" and quote == '"' else 1
            self._at += 3
            while self._at < len(text) and text[self._at] == quote:  # up to two quotes may end the content
                self._at += 1
            return
        self._at += 1
        while text[self._at] != quote:
            self._at += 2 if text[self._at] == "\\" and quote == '"' else 1
        self._at += 1


# ---------------------------------------------------------------- which file


def shipped(kind: str) -> Path:
    """The folder of shipped definitions: `parsers`, `actions`, `samples`; in a checkout or inside the
    wheel."""
    inside = _PACKAGE / "shipped" / kind
    if inside.is_dir():
        return inside
    return _PACKAGE.parent / ("samples/logs" if kind == "samples" else kind)


def search(kind: str, etc: Path | None = None) -> dict[str, Path]:
    """Every definition of that kind by name, sorted: the administrator's file where there is one, else the
    shipped.

    A name that is masked by a link to /dev/null is left out.
    """
    found = {path.stem: path for path in sorted(_files(shipped(kind)))}
    for path in sorted(_files((etc or ETC) / kind)):
        if path.is_symlink() and os.path.realpath(path) == os.devnull:
            found.pop(path.stem, None)
        else:
            found[path.stem] = path
    return dict(sorted(found.items()))


def masked(kind: str, etc: Path | None = None) -> list[str]:
    """Names that a link to /dev/null masks."""
    return [
        path.stem
        for path in sorted(_files((etc or ETC) / kind))
        if path.is_symlink() and os.path.realpath(path) == os.devnull
    ]


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".toml" and not path.name.startswith(".")]
    except OSError:
        return []


# ---------------------------------------------------------------- what was found out before


def cache_folders() -> list[Path]:
    """Where results of proofs may be kept, best first."""
    folders = []
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        folders.append(Path(home) / "mailguard")
    if os.geteuid() == 0:
        folders.append(Path("/var/cache/mailguard"))
    user = os.environ.get("HOME")
    if user:
        folders.append(Path(user) / ".cache" / "mailguard")
    return folders


def read_cache(name: str) -> bytes:
    """What an earlier run left under `name`; b"" where there is nothing to read.

    A file that somebody else could have written is not read: proofs are trusted. Nor is one that is not as it
    was written (the power failed, the disk is worn): what is read of it need not fail, it may be wrong.
    """
    for folder in cache_folders():
        try:
            # Neither waited for nor followed: in a folder of somebody else's it may be a pipe, or a link.
            with open(folder / name, "rb", opener=_itself) as file:
                state = os.fstat(file.fileno())
                ours = state.st_uid in (0, os.geteuid()) and not state.st_mode & 0o022
                content = file.read(4 * _LARGEST) if ours and stat.S_ISREG(state.st_mode) else b""
        except OSError:
            continue
        if content[-_SUM:] == _sum(name, content[:-_SUM]):
            return content[:-_SUM]
    return b""


_SUM = 4  # bytes behind what was written: there, earlier programs read over them


def _sum(name: str, content: bytes) -> bytes:
    return zlib.crc32(content, zlib.crc32(name.encode())).to_bytes(_SUM, "big")


def _itself(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)


def write_cache(name: str, content: bytes) -> bool:
    """Leave `content` for later runs, atomically; False where no folder takes it (nothing depends on it)."""
    import tempfile  # only for who has found out something new

    for folder in cache_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        except OSError:
            continue
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o644)  # not by its name, under which others may have put something else
                file.write(content + _sum(name, content))
            os.replace(temporary, folder / name)
        except BaseException as error:  # Ctrl-C leaves nothing lying about either
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if not isinstance(error, OSError):
                raise
            continue
        return True
    return False


def fingerprint(modules: Sequence[str]) -> str:
    """A hash of the program text that results depend on: files or folders below the package."""
    digest = hashlib.sha256()
    for module in modules:
        root = _PACKAGE / module
        for path in sorted(root.glob("*.py")) if root.is_dir() else [root]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
