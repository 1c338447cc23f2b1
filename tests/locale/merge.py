"""Brings the catalogues up to date with the program: `python tests/locale/merge.py`.

New texts are added without a translation, texts whose English changed keep theirs and are marked `fuzzy`,
texts that are gone are left out. The order is that of the program. What is then to do says
`pytest tests/locale`. `wrong` entries (see mailguard/cli/wrongs.py) are made by hand and kept as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from mailguard import locale  # noqa: E402
from mailguard.locale.catalogue import Entry, entries  # noqa: E402

#: Made by hand: the contexts of texts that are not listed anywhere in the program.
BY_HAND = "wrong"


def quoted(keyword: str, text: str) -> str:
    """A string of a PO file; one with line feeds over several lines."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    parts = [part.replace("\n", "\\n") for part in escaped.splitlines(keepends=True)]
    if len(parts) > 1:
        return "\n".join([f'{keyword} ""', *(f'"{part}"' for part in parts)])
    return f'{keyword} "{"".join(parts)}"'


def written(entry: Entry) -> str:
    """An entry as it stands in the file."""
    lines = ["#, fuzzy"] if entry.fuzzy else []
    if entry.context is not None:
        lines.append(quoted("msgctxt", entry.context))
    lines.append(quoted("msgid", entry.english))
    if entry.plural is None:
        lines.append(quoted("msgstr", entry.translation))
    else:
        lines.append(quoted("msgid_plural", entry.plural))
        lines += [quoted(f"msgstr[{form}]", told) for form, told in sorted(entry.told.items() or [(0, "")])]
    return "\n".join(lines)


def merged(texts: Iterable[tuple[str, str, str | None]], old: Iterable[Entry]) -> list[Entry]:
    """The entries of the new catalogue, the header first."""
    kept = list(old)
    exact: Mapping[tuple[str | None, str], Entry] = {(one.context, one.english): one for one in kept}
    named = {one.context: one for one in kept if one.context not in ("help", "click", "title", BY_HAND)}
    found = [one for one in kept if one.context is None]
    for context, english, plural in texts:
        before = exact.get((context, english))
        entry = Entry(0, context, english, plural)
        if before is not None:
            entry.told, entry.fuzzy = before.told, before.fuzzy
        elif context in named:
            entry.told, entry.fuzzy = named[context].told, bool(named[context].translation)
        found.append(entry)
    return found + [one for one in kept if one.context == BY_HAND]


def main() -> None:
    from tests.locale.texts import all_texts

    for path in sorted(locale.FOLDER.glob("*/LC_MESSAGES/*.po")):
        old = list(entries(path.read_text(encoding="utf-8"), str(path)))
        new = merged(all_texts(), old)
        path.write_text("\n\n".join(written(one) for one in new) + "\n", encoding="utf-8")
        missing = sum(not one.translation for one in new)
        fuzzy = sum(one.fuzzy for one in new)
        print(f"{path.relative_to(ROOT)}: {len(new)} texts, {missing} without translation, {fuzzy} fuzzy")


if __name__ == "__main__":
    main()
