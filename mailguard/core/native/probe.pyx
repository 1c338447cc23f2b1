"""The smallest compiled module: shows that the build works."""

INTERFACE = 1


def add(long one, long other):
    """Their sum."""
    return one + other
