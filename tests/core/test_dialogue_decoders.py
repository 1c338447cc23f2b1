"""Whom an authentication dialogue names, and that clients which answer in the wrong form name nobody else."""

from __future__ import annotations

from base64 import b64encode

import pytest

from mailguard.core.dialogue_decoders import sasl

DIGEST = b"0123456789abcdef" * 2
SECRET = b"horse-staple-battery-correct-horse-staple"


def dialogue(argument: bytes, *answers: bytes) -> tuple[str, str | None, bytes]:
    """Mechanism and name that are found, and what of the command's argument is blotted out."""
    exchange, secret = sasl(b" " + argument, 0, len(argument) + 1)
    for answer in answers:
        exchange.take(answer, 0, len(answer))
    return exchange.method, exchange.user, (b" " + argument)[secret:]


@pytest.mark.parametrize(
    ("mechanism", "answer", "name"),
    [
        (b"LOGIN", b"sato", "sato"),
        (b"LOGIN", b"", ""),
        (b"LOGIN", b"sato, [12/Dec/2017:00:01:49]", "sato, [12/Dec/2017:00:01:49]"),
        (b"PLAIN", b"\0sato\0" + SECRET, "sato"),
        (b"PLAIN", b"boss\0sato\0" + SECRET, "sato"),
        (b"PLAIN", b"\0sato\0", "sato"),
        (b"CRAM-MD5", b"sato " + DIGEST, "sato"),
        (b"CRAM-MD5", b"sato hanako " + DIGEST, "sato hanako"),
        (b"XOAUTH2", b"user=sato@example.jp\1auth=Bearer " + SECRET + b"\1\1", "sato@example.jp"),
        # In the wrong form.
        (b"LOGIN", b"\0sato\0" + SECRET, "sato"),
        (b"LOGIN", b"sato\0" + SECRET, "sato"),
        (b"LOGIN", b"user=sato\1auth=Bearer " + SECRET, "user=sato"),
        (b"PLAIN", b"sato\0" + SECRET, None),
        (b"PLAIN", b"sato\0" + SECRET + b"\0", None),
        (b"CRAM-MD5", b"\0sato\0" + SECRET, None),
        (b"CRAM-MD5", SECRET, None),
        (b"XOAUTH2", b"user=sato auth=Bearer " + SECRET + b"\1\1", None),
        (b"XOAUTH2", b"auth=Bearer " + SECRET + b"\1user=sato\1\1", None),
        (b"OAUTHBEARER", b"n,a=sato,\1auth=Bearer " + SECRET + b"\1\1", None),
    ],
)
def test_who_is_named(mechanism: bytes, answer: bytes, name: str | None) -> None:
    """In the command itself and after a challenge; the next answer is never looked at."""
    encoded = b64encode(answer)
    assert dialogue(mechanism, encoded, b64encode(SECRET)) == (mechanism.decode(), name, b"")
    if answer:
        assert dialogue(mechanism + b" " + encoded, b64encode(SECRET)) == (mechanism.decode(), name, encoded)


@pytest.mark.parametrize("argument", [b"%s", b"PLAIN=%s", b"PLAIN:%s", b"%s PLAIN", b"X%s"])
def test_what_is_no_mechanism_is_not_told(argument: bytes) -> None:
    """A client that leaves the mechanism away writes name and password in its place."""
    written = argument % b64encode(b"\0sato\0geheim")
    assert dialogue(written) == ("unknown", None, written)
