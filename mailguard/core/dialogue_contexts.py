"""Lines of a context in which no session is open: where sessions begin, and traces outside of them.

Owns: what is certain about a context whose beginning was not seen: nothing, until a session begins in it.
"""

from __future__ import annotations

import re

from .dialogue_events import Telling
from .dialogue_log import Log, Run
from .dialogue_state import ODD, REFUSED, Held, Open
from .dialogue_words import Machine

_TELLS = 12  # bytes of a greeting that no other reply begins with


class Contexts(Telling):
    """Opens sessions."""

    def _unseen(
        self, run: Run, context: bytes, head: bytes, match: re.Match[bytes], time: float
    ) -> Open | None:
        """A line of a context that has no session among the young; the session where an old one has."""
        store = run.store
        known = store.young.get(context, "")
        if known == "" and store.old:
            known = store.revive(context)
            if isinstance(known, Open):
                return known
        at = match.start(3)
        if self._begin(run, context, at, match, time):
            return None
        for machine in run.log.machines:
            if run.begins(machine.ends, at):
                return None
            if context == machine.nobody or run.begins(machine.traces + machine.reading, at):
                self._trace_alone(run, machine, context, known, at, time)
                return None
        if known is not False:
            store.put(context, False)
        for machine in run.log.machines:
            made = self._presence(run, machine, None, time, at)
            if made is not None:
                run.found.append(made)
                break
        run.blot(at, run.stop(at))  # nobody knows what it is: it may be a password
        return None

    def _begin(self, run: Run, context: bytes, at: int, match: re.Match[bytes], time: float) -> bool:
        """Open a session where a greeting stands; False where none does."""
        for machine in run.log.machines:
            if run.begins(machine.greeting, at):
                run.store.put(context, Open(machine, time) if machine.dialogue.turns else None)
                if machine.alike:
                    run.log.banner = _banner(bytes(run.data[at : run.stop(at)]))
                run.store.touched.add(context)
                return True
        return False

    def _trace_alone(
        self, run: Run, machine: Machine, context: bytes, known: object, at: int, time: float
    ) -> None:
        """A trace outside of a session: certain where none can be open, else when the next line agrees."""
        text = bytes(run.data[at : run.stop(at)])
        made = self._traced(run, None, machine, text, at, time)
        settled = known == "" and not run.store.evicted and self._settled(run.log, time)
        certain = machine.dialogue.turns and (known is None or settled)
        if context == machine.nobody or certain:
            if made is not None:
                run.found.append(made)
            return
        session = Open(machine, time)
        session.turn, session.state, session.held = ODD, REFUSED, Held(False, made, "")
        run.store.put(context, session)

    @staticmethod
    def _settled(log: Log, time: float) -> bool:
        """True when the log was read for so long that no session is older than what was read."""
        return log.began is not None and time - log.began > log.store.lifetime


def _banner(line: bytes) -> bytes:
    """A greeting as far as it is the same each time; empty where that tells little."""
    same = re.split(rb"[<0-9]", line, maxsplit=1)[0]
    return same if len(same) >= _TELLS else b""
