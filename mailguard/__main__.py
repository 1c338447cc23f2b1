"""`python -m mailguard` is the same as `mailguard`."""

from mailguard.cli import main

main()
