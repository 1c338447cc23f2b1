"""The catalogues are complete, fresh and fit: every text of the program, with the same arguments."""

from __future__ import annotations

import ast
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard import locale
from mailguard.cli.output import columns
from mailguard.daemon.words import SENTENCES
from mailguard.locale import said
from mailguard.locale.catalogue import Catalogue, CatalogueError, Entry, entries
from tests.locale.merge import BY_HAND, merged, written
from tests.locale.texts import ROOT, all_texts

PATHS = sorted(locale.FOLDER.glob("*/LC_MESSAGES/*.po"))
LANGUAGES = [path.parent.parent.name for path in PATHS]
#: What to do when one of these tests fails.
HOW = "run `python tests/locale/merge.py`, translate what is empty or fuzzy; see man/notes/0020-languages.md"
#: Arguments that a translation may use beside those of the English text.
MORE = {"time.moment": {"zone"}}
#: Character sets of terminals from before UTF-8, by language.
OLD_CHARSETS = {"ja": ("euc_jp", "cp932")}


def of(language: str) -> list[Entry]:
    path = locale.path_of(language)
    return list(entries(path.read_text(encoding="utf-8"), str(path)))


def arguments(text: str) -> set[str]:
    """The names in the braces of a text."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
class TestCatalogue:
    def test_every_text_is_translated(self, language: str) -> None:
        """Nothing that the program says is missing, empty or marked fuzzy."""
        have = {(one.context, one.english) for one in of(language) if one.translation and not one.fuzzy}
        missing = [(context, text) for context, text, _ in all_texts() if (context, text) not in have]
        assert not missing, HOW

    def test_no_text_is_stale(self, language: str) -> None:
        """Nothing is translated that the program does not say any more."""
        said = {(context, text) for context, text, _ in all_texts()}
        stale = [
            (one.context, one.english)
            for one in of(language)
            if one.context not in (None, BY_HAND) and (one.context, one.english) not in said
        ]
        assert not stale, HOW

    def test_the_catalogue_says_what_stands_there(self, language: str) -> None:
        """Each entry is found by its context and its English, as it was written."""
        catalogue = Catalogue(locale.path_of(language), language)
        for one in of(language):
            if one.context is not None:
                assert catalogue.message(one.context, one.english, 1) == one.translation

    def test_each_text_stands_once(self, language: str) -> None:
        """No entry hides another."""
        twice = [
            key
            for key, count in Counter((one.context, one.english) for one in of(language)).items()
            if count > 1
        ]
        assert not twice

    def test_arguments_are_those_of_the_english(self, language: str) -> None:
        """A translation fills in what the English text fills in: nothing else, and nothing left out."""
        for one in of(language):
            if one.context in (None, "help", "title"):
                continue
            if one.context == BY_HAND:
                have, told = (set(said.NAME.findall(text)) for text in (one.english, one.translation))
                assert told <= have, one
                continue
            plural = arguments(one.plural) if one.plural else set()
            want = arguments(one.english) | MORE.get(one.context or "", set())
            for told_text in one.told.values():
                told = arguments(told_text)
                assert told <= want | plural, one
                if one.context not in MORE and one.context != "click":
                    assert told == want, one

    def test_blanks_around_a_text_stay(self, language: str) -> None:
        """Texts that are indented, or put together with others, are so in every language; and one line stays
        one line."""
        for one in of(language):
            if one.context in (None, "click") or not one.translation:
                continue
            assert one.translation.count("\n") <= max(1, one.english.count("\n")) * ("\n" in one.english) + (
                "\n" in one.english
            ), one
            want = len(one.english) - len(one.english.lstrip(" "))
            have = len(one.translation) - len(one.translation.lstrip(" "))
            assert have == want or want == have + 1 == 1, one  # one blank is what parts words in English

    def test_labels_stand_in_columns(self, language: str) -> None:
        """What follows the labels of `explain` and `install` begins at one column, as terminals count."""
        catalogue = Catalogue(locale.path_of(language), language)
        for group in ("explain.", "install.w", "install.r"):
            said = {
                catalogue.message(context, text)
                for context, text, _ in all_texts()
                if context.startswith(group) and re.match(r"\S+ {2,}|\w+ +\{", text)
            }
            begins = {
                columns(found[0]) for text in said if (found := re.match(r"\S.*?\S? {2,}(?=\S)| {2,}", text))
            }
            assert len(begins) <= 1, said

    def test_known_problems_are_in_the_code(self, language: str) -> None:
        """Each text about settings and definitions that is translated is one that the program makes."""
        made = {shape(text) for text in literals()}
        made |= {f"{name} {{}}" for name in SENTENCES}  # what the guard may be blind to: an id and a log
        for one in of(language):
            if one.context == BY_HAND:
                assert shape(one.english) in made, f"nobody says {one.english!r}"

    def test_old_terminals_have_the_characters(self, language: str) -> None:
        """EUC-JP and Windows-31J can write all Japanese of it but arrows and such, which become numbers."""
        for one in of(language):
            if not (one.context or "").startswith("report."):
                for charset in OLD_CHARSETS.get(language, ()):
                    one.translation.encode(charset)

    def test_merging_a_fresh_catalogue_changes_nothing(self, language: str) -> None:
        """`merge.py` writes the file as it is: in the order of the program, each string in its form."""
        again = "\n\n".join(written(one) for one in merged(all_texts(), of(language))) + "\n"
        assert again == locale.path_of(language).read_text(encoding="utf-8"), HOW


def shape(text: str) -> str:
    """A text without what stands in its places, and without the name of what it is about."""
    return re.sub(r"(?:\{[^{}]*\})+", "{}", text).removeprefix("{}: ")


def literals() -> set[str]:
    """Every text in the code, formatted ones with `{}` for each value."""
    found = set()
    for path in (ROOT / "mailguard").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.add(
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
                    )
                )
    return found


def test_there_is_a_catalogue() -> None:
    """Japanese is there, and every language of the settings but English."""
    from mailguard.definitions.settings import LANGUAGES as known

    assert set(known) - {"auto", "en"} == set(LANGUAGES)


# ---------------------------------------------------------------- reading

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n\t"\\'), max_size=40)


@given(context=st.none() | TEXT, english=TEXT, told=TEXT, fuzzy=st.booleans())
def test_what_is_written_is_read_again(context: str | None, english: str, told: str, fuzzy: bool) -> None:
    """Any text survives being written into a catalogue."""
    entry = Entry(0, context, english, None, {0: told}, fuzzy)
    (again,) = entries(written(entry))
    assert (again.context, again.english, again.translation) == (context, english, told)
    assert again.fuzzy == fuzzy


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('"lost"', "1: a string that belongs to nothing"),
        ('msgid "a"\nmsgstr b', "2: no string in quotes"),
        ('msgid "a"\nnonsense "b"', "2: neither msgctxt"),
    ],
)
def test_a_broken_catalogue_is_told(content: str, says: str) -> None:
    """With the line."""
    with pytest.raises(CatalogueError, match=re.escape(says)):
        list(entries(content))


def test_plural_forms_follow_the_rule_of_the_language(tmp_path: Path) -> None:
    """A catalogue with several forms uses its own rule, for texts of ours by `count`."""
    path = tmp_path / "xx.po"
    path.write_text(
        'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=n>1;\\n"\n\n'
        'msgctxt "bans.title"\nmsgid "{count} ban(s) standing"\nmsgid_plural "{count} ban(s) standing"\n'
        'msgstr[0] "{count} un"\nmsgstr[1] "{count} plusieurs"\n',
        encoding="utf-8",
    )
    catalogue = Catalogue(path, "xx")
    said = [catalogue.message("bans.title", "{count} ban(s) standing", number) for number in (0, 1, 2)]
    assert said == ["{count} un", "{count} un", "{count} plusieurs"]
    assert catalogue.message("bans.title", "something new", 2) == "something new"


def test_fuzzy_and_empty_translations_are_not_said(tmp_path: Path) -> None:
    """Rather English than something about another text."""
    path = tmp_path / "xx.po"
    path.write_text(
        '#, fuzzy\nmsgctxt "a"\nmsgid "one"\nmsgstr "eins"\n\nmsgctxt "b"\nmsgid "two"\nmsgstr ""\n',
        encoding="utf-8",
    )
    catalogue = Catalogue(path, "xx")
    assert (catalogue.message("a", "one"), catalogue.message("b", "two")) == ("one", "two")
