"""mailguard watches a mail server's logs and keeps attackers out of it."""

__version__ = "0.1.0"
