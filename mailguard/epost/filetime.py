"""FILETIME: decimal counts of 100 ns since 1601-01-01 00:00 UTC, as E-Post writes them into its tables."""

from __future__ import annotations

#: Seconds from 1601-01-01 to 1970-01-01.
OFFSET = 11_644_473_600
PER_SECOND = 10_000_000
#: What a signed 64-bit FILETIME can hold.
LARGEST = (1 << 63) - 1


def to_filetime(seconds: float) -> int:
    """The count of a moment in seconds since 1970, never before 1601-01-01 nor beyond 64 bits.

    Never 0: a row with 0 is a permanent one.
    """
    whole, rest = divmod(seconds, 1.0)
    return max(1, min(LARGEST, (int(whole) + OFFSET) * PER_SECOND + round(rest * PER_SECOND)))


def from_filetime(count: int) -> float:
    """Seconds since 1970."""
    whole, rest = divmod(count, PER_SECOND)
    return whole - OFFSET + rest / PER_SECOND
