"""DSM's own API for the block list, by two commands of the administrator's: argument lists, never a shell.

The documented call is `synowebapi --exec api=SYNO.Core.Security.AutoBlock.Rules method=create version=1
type=deny ip=ADDRESS`, on the NAS or over ssh; `delete` in the same way. It says what it does and then answers
in JSON, and ends with 0 whatever the answer is.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Sequence

from mailguard.firewall import tools
from mailguard.firewall.interface import FirewallError
from mailguard.model import Network
from mailguard.notation import V6, format_address, format_network

#: Error numbers below are common to all of DSM's APIs: no such method, no permission, ...
_OF_ONE_API = 400


class WebApi:
    """Entries put in and taken out by commands with {address} or {network}. `tell`: for what is said once."""

    def __init__(
        self, create: Sequence[str], delete: Sequence[str], timeout: float, tell: Callable[[str], None]
    ):
        self._create, self._delete = tuple(create), tuple(delete)
        self._timeout = timeout
        self._tell = tell

    @property
    def whole(self) -> bool:
        """Whether networks are handed over as they are."""
        return any("{network}" in one for one in self._create)

    def put(self, entry: Network) -> bool:
        """Put an entry in. False when DSM refuses it, which is said; FirewallError when the call failed."""
        return self._call(self._create, entry)

    def take(self, entry: Network) -> bool:
        """Take an entry out; the same."""
        return self._call(self._delete, entry)

    def text(self, entry: Network, put: bool) -> str:
        """The command as a person reads it."""
        return shlex.join(_filled(self._create if put else self._delete, entry))

    def probe(self) -> str:
        """Why the commands cannot be run; "" when they can."""
        for arguments in (self._create, self._delete):
            if not os.access(arguments[0], os.X_OK):
                return f"{arguments[0]} is not there or cannot be run"
        return ""

    def _call(self, arguments: Sequence[str], entry: Network) -> bool:
        filled = _filled(arguments, entry)
        answer = tools.run(filled, timeout=self._timeout)
        begin, end = answer.find("{"), answer.rfind("}")
        try:
            told = json.loads(answer[begin : end + 1]) if begin >= 0 else None
        except ValueError:
            told = None
        if isinstance(told, dict) and told.get("success") is True:
            return True
        error = told.get("error") if isinstance(told, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and code >= _OF_ONE_API:
            what = "put in" if arguments is self._create else "taken out"
            self._tell(f"DSM says that {format_network(entry)} cannot be {what} (error {code})")
            return False
        why = f"error {code}" if isinstance(code, int) else "an answer that is none"
        name = filled[0].rpartition("/")[2]
        raise FirewallError(f"{name}: DSM answered {format_network(entry)} with {why}")


def _filled(arguments: Sequence[str], entry: Network) -> tuple[str, ...]:
    """Arguments with their placeholders filled: texts of parsed addresses, so nothing a shell could read."""
    values = {
        "{address}": format_address(entry.address),
        "{network}": format_network(entry),
        "{family}": "6" if entry.address >= V6 else "4",
    }
    filled = []
    for argument in arguments:
        for name, value in values.items():
            argument = argument.replace(name, value)
        filled.append(argument)
    return tuple(filled)
