"""mailguard watches a mail server's logs and keeps attackers out of it."""

import os

__version__ = "0.1.0"
#: False with MAILGUARD_NATIVE=0 in the environment: no process of ours uses anything compiled.
NATIVE = os.environ.get("MAILGUARD_NATIVE") != "0"
