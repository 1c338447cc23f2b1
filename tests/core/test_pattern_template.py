"""Templates: what the language means and what it refuses."""

from __future__ import annotations

import pytest

from mailguard.core import pattern as p
from mailguard.core.pattern.slots import TYPES, is_address, members
from mailguard.problems import ProblemsError
from tests.templates import read

# ---------------------------------------------------------------- the language


@pytest.mark.parametrize(
    ("template", "message", "fields"),
    [
        ("plain text", "plain text", {}),
        ("plain text", "plain text ", None),
        ("a {{b}} c", "a {b} c", {}),
        ("why??", "why??", {}),
        ("{:word}", "abc-1", {}),
        ("{user:word}!", "bob!", {"user": b"bob"}),
        ("{user:word}!", "!", None),
        ("{ok|abort}", "abort", {}),
        ("{a|ab|abc}c", "abc", {}),
        ("{ok|abort}", "fail", None),
        ("a{?, b?}", "a", {}),
        ("a{?, b?}", "a, b", {}),
        ("a{? {user:word}?}.", "a.", {"user": None}),
        ("a{? {user:word}?}.", "a bob.", {"user": b"bob"}),
        ("a{? b{? {user:word}?}?}.", "a b c.", {"user": b"c"}),
        ("a{? b{? {user:word}?}?}.", "a c.", None),
        ("id {queue_id:[A-Z0-9]{6,20}}:", "id ABC123:", {"queue_id": b"ABC123"}),
        ("id {queue_id:[A-Z0-9]{6,20}}:", "id ABC12:", None),
        ("id {queue_id:[A-Z0-9]{6,20}}:", "id " + "A" * 21 + ":", None),
        ("{:[a]}b", "ab", {}),
        ("{:[a]{3}}b", "aaab", {}),
        ("{:[a]{3}}b", "aab", None),
        ("{:[\\]\\\\\\^-]{4}}", "]\\^-", {}),
        ("{reason:[^,]{1,9}}, x", "a b=c, x", {"reason": b"a b=c"}),
        ("{reason:[^,]{1,9}}, x", "a\x01b, x", None),
        ("Grüße {:word}", "Grüße x", {}),
        ("{user:foreign}", "", {"user": b""}),
        ("user={user:foreign}.", "user=a.b..", {"user": b"a.b."}),
        ("{user:foreign}\t{:int}", "a\tb\t1", {"user": b"a\tb"}),
    ],
)
def test_the_language_means_what_its_table_says(
    template: str, message: str, fields: dict[str, bytes | None] | None
) -> None:
    """Text, slots, classes with bounds, alternatives, optional and nested parts cover the whole message or
    nothing."""
    assert read(template, message) == fields


@pytest.mark.parametrize(
    ("template", "column", "what"),
    [
        ("", 1, "empty template"),
        ("a\nb", 2, "line feed"),
        ("a}b", 2, "closing brace without"),
        ("a?}", 3, "closing brace without"),
        ("a{b", 2, "not closed"),
        ("a{?b", 2, "not closed"),
        ("a{??}", 2, "nothing in it"),
        ("a{|b}", 2, "empty alternative"),
        ("a{b|b}", 2, "twice"),
        ("a{word}", 2, "is no slot"),
        ("a{user}", 2, "is no slot"),
        ("a{:wrod}", 2, "unknown slot type 'wrod'"),
        ("a{usr:word}", 2, "unknown field 'usr'"),
        ("a{source:host}", 2, "the source as host"),
        ("a{time:word}", 2, "the time as word"),
        ("{user:word} {user:word}", 13, "the field 'user' twice"),
        ("{user:word} {=user}", 13, "repeats no foreign slot"),
        ("{=user} {user:foreign}", 1, "repeats no foreign slot"),
        ("a{:[]{1,2}}", 2, "empty class"),
        ("a{:[z-a]{1,2}}", 7, "runs backwards"),
        ("a{:[a]{3,2}}", 2, "the bounds 3 to 2"),
        ("a{:[a]{0}}", 2, "the bounds 0 to 0"),
        ("a{:[a]{1,9999}}", 2, "the bounds 1 to 9999"),
        ("a{:[a]+}", 2, "not closed"),
        ("a{:[a]*}", 2, "not closed"),
        ("a{:[a\\d]{1,2}}", 7, "in a class"),
        ("a{:[ä]{1,2}}", 5, "in a class"),
        ("{:foreign}{:foreign}", 11, "two foreign slots touch"),
        ("{:foreign}{?x?}{:foreign}", 16, "two foreign slots touch"),
        ("{:foreign} {:int} {:foreign}", 12, "between two foreign slots"),
        ("{:foreign} {?{:int} ?}{:foreign}", 14, "between two foreign slots"),
        ("{:int}{:foreign}", 1, "touches a foreign slot"),
        ("{:foreign}{:int}", 11, "touches a foreign slot"),
        ("{:int}{?a?}{:foreign}", 1, "touches a foreign slot"),
        ("{:foreign}{?a{:foreign}?}{:int}", 26, "touches a foreign slot"),
        ("{user:foreign} {:word}{=user}", 23, "a slot touches the repeated text"),
        ("{user:foreign} a {=user} {ok|no}", 18, "outside the two repeated texts"),
        ("{:int}:{user:foreign} a {=user}", 25, "outside the two repeated texts"),
        ("{user:foreign} a {=user} {:foreign}", 18, "beside another foreign slot"),
        ("{a|b}" * 7 + "{:foreign}x" + "{c|d}" * 7 + "{:foreign}", 1, "more than 64 ways"),
        ("{:prose} {:prose} {:prose} {:prose}!", 1, "steps to match"),
        ("a{? b" * 9 + "?}" * 9, 42, "nested more than 8 deep"),
        ("a" + "{? b" * 2000 + "?}" * 2000, 34, "nested more than 8 deep"),
    ],
)
def test_a_bad_template_is_refused_at_its_column(template: str, column: int, what: str) -> None:
    """Every mistake names the column, and says what to write where there is something to say."""
    with pytest.raises(ProblemsError) as caught:
        p.compile(template, where="x.toml:7")
    found = caught.value.problems[0]
    assert found.where == "x.toml:7"
    assert what in found.what
    assert found.what.startswith(f"column {column}: ")


def test_all_mistakes_are_said_at_once() -> None:
    """A template with three mistakes gives three problems, with the near name where there is one."""
    with pytest.raises(ProblemsError) as caught:
        p.compile("{usr:word} {:hots} {source:token}")
    assert [one.what.split(":")[0] for one in caught.value.problems] == ["column 1", "column 12", "column 20"]
    assert "'user'" in caught.value.problems[0].instead
    assert "'host'" in caught.value.problems[1].instead


def test_the_problem_shows_the_place_in_a_long_template() -> None:
    """The mark stands under the column, also when the template is longer than a line of the terminal."""
    with pytest.raises(ProblemsError) as caught:
        p.compile("x" * 200 + "{:nonsense}" + "y" * 200)
    shown, mark = str(caught.value).splitlines()[-3:-1]
    assert shown[mark.index("^")] == "{"


# ---------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            "ip",
            ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "::1"],
            [
                "192.0.2",
                "192.0.2.007",
                "192.0.2.256",
                "1",
                "::::",
                "fe80::1%eth0",
                "IPv6:::1",
                "192.0.2.7:25",
                "",
            ],
        ),
        (
            "host",
            ["unknown", "a.example.com", "192.0.2.10.example.com", "a_b.example"],
            ["a b", "a[b", "", "x" * 256],
        ),
        ("int", ["0", "1234567890123456789"], ["", "-1", "1.5", "12345678901234567890", "١"]),
        ("token", ["SCRAM-SHA-256-PLUS", "0.01/0.02/0/0", "a+b@example"], ["a b", "a=b", "", "[x]"]),
        ("word", ["ESMTP", "END-OF-MESSAGE"], ["a_b", "a b", ""]),
        ("base64", ["mx+Ir9Ng+9XAAAJN", "UGFzc3dvcmQ6", "AA=="], ["a-b", "", "a b"]),
        (
            "helo",
            ["example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "a,b", "pc-名前"],
            ["a b", "<x>", "a;b", "a@b", ""],
        ),
        ("plain", ["a b/c: d", "名前"], ["a,b", "a=b", "[x]", "", "a\x7f"]),
        (
            "prose",
            ["SSL_accept() failed: error:0A00009C:SSL routines::http request", "(x)", "don't"],
            ["a,b", "a=b", "<a>", "[a]", "", "x" * 301, 'a"'],
        ),
        ("stamp", ["12/Dec/2017:00:01:49"], ["2/Dec/2017:00:01:49", "12/12/2017:00:01:49", ""]),
        (
            "address",
            ["", "a@example.net", '"a b"@example.net', '"> to=<b"@example.net', '"\\""@x', "名@例.jp", '""'],
            ["a b", "a>b", '"', '"\\"', "a\\b", "<>"],
        ),
        ("foreign", ["", "anything > at = all, [x]"], []),
    ],
)
@pytest.mark.usefixtures("both_ways")
def test_each_type_takes_its_own_and_nothing_else(kind: str, good: list[str], bad: list[str]) -> None:
    """A slot holds what its type says, wherever it stands: alone, before a foreign slot, and after one."""
    name = "source" if kind == "ip" else "time" if kind == "stamp" else "reason"
    slot = f"<{{{name}:{kind}}}>"
    shapes = {slot: ("<", ">"), slot + "={:foreign}": ("<", ">=y"), "{:foreign}=" + slot: ("x=<", ">")}
    if kind == "foreign":
        del shapes[slot + "={:foreign}"]  # there it may end earlier
    for template, around in shapes.items():
        for text in good:
            found = read(template, around[0] + text + around[1])
            assert found == {name: text.encode()}, (template, text)
        for text in bad:
            assert read(template, around[0] + text + around[1]) is None, (template, text)


def test_every_bounded_type_has_an_end() -> None:
    """No type but foreign is without a greatest length, and none takes a line feed."""
    for kind in TYPES.values():
        assert kind.foreign or kind.greatest > 0
        assert all(10 not in members(chars) for chars, _, _ in kind.runs)


def test_the_source_is_always_an_address() -> None:
    """What looks like an address to the class, but is none, does not match."""
    assert read("from {source:ip}", "from 1.2") is None
    assert is_address(b"2001:db8::7")
    assert not is_address(b"1:2")


def test_an_optional_source_may_be_absent() -> None:
    """A part that holds the source may be missing where the template says so; then the value is None."""
    template = "connect{? from [{source:ip}]?}."
    assert read(template, "connect.") == {"source": None}
    assert read(template, "connect from [192.0.2.7].") == {"source": b"192.0.2.7"}
