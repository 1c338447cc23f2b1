"""Turns of the loop in which lines came and nothing else is due, without Python between their parts.

After a sleep the processor's caches are cold, and a Python function that only finds out that it has nothing to do
costs more than a microsecond (see man/notes/0013-live-latency.md). So of what `Loop.step` and `Judge.feed` do here
is only what a block of whole lines needs, in their order; the first thing that is different ends it, and Python goes
on from there.
"""

from mailguard.core.growth import ASKED, STRIDE, TOGETHER
from mailguard.core.judge import ROWS_FROM
from mailguard.core.loop import SET_BACK
from mailguard.core.window import LATENESS
from mailguard.model import HOSTILE

INTERFACE = 1

cdef enum:
    MOST = 1024  # blocks

cdef Py_ssize_t asked = ASKED, stride = STRIDE, together = TOGETHER, rows_from = ROWS_FROM
cdef double set_back = SET_BACK, lateness = LATENESS
cdef object hostile = HOSTILE


cdef class Usual:
    """The parts of a `Judge`, as they are now, and what came of the turns of one `run`."""

    cdef readonly list seen      # the blocks that were judged
    cdef readonly object left    # a block that is still to be judged; None
    cdef readonly Py_ssize_t size  # bytes that were judged
    cdef readonly double now     # wall time of the last block

    cdef object engine, scan, newest, sessions, join, alone, concerns, feed_many, growth
    cdef dict running, ways
    cdef list evidence  # None: nobody wants any
    cdef tuple held
    cdef frozenset concerned
    cdef list later
    cdef Py_ssize_t passed, offset
    cdef bint sampling

    def __init__(self, scan, dict ways, newest, sessions, engine, growth, dict running, evidence):
        """`scan`, its `ways` and `newest` as the judge has them, `running` its newest stamps by log; `evidence`:
        where its hostile events go."""
        self.scan, self.ways, self.newest = scan, ways, newest
        self.sessions, self.engine, self.growth = sessions, engine, growth
        self.running, self.evidence = running, evidence
        self.join, self.feed_many = sessions.join, engine.feed_many
        self.alone, self.concerns = sessions.alone, sessions.concerns
        self.held, self.concerned = sessions.held, sessions.concerned

    def run(self, near, gate, double wall, Py_ssize_t room):
        """Judge what `near` gives, until there is something else to do: its time is over, `room` bytes were judged,
        an effect followed, or a block wants a whole step.

        The effects to be carried out; None where there are none and nothing of them was begun. `wall`: the time of
        the step before. Raises what reading and judging raise.
        """
        cdef object take = near.take, block
        cdef list effects
        cdef Py_ssize_t size
        cdef double now
        self.seen, self.left, self.size, self.now = [], None, 0, wall
        self.begin()
        try:
            while self.size < room and len(self.seen) < MOST and not self.waits():
                block = take()
                if block is None:
                    return None
                if not isinstance(block, tuple):
                    raise TypeError("a block is wanted")
                size = (<Py_ssize_t> (<tuple> block)[3]) - <Py_ssize_t> (<tuple> block)[2]
                now = (<tuple> block)[5]
                if size >= rows_from or now < self.now - set_back or <double> self.engine.clock > now + lateness:
                    self.left = block
                    return None
                self.seen.append(block)
                self.size += size
                self.now = now
                effects = self.judge(block, now)
                if effects or gate.begun is not None:
                    return effects
            return None
        finally:
            self.end()

    cdef bint waits(self) except -1:
        """An event waits for others, or for its time."""
        cdef object one
        for one in self.held:
            if len(one):
                return True
        return False

    cdef list judge(self, block, double now):
        """`Judge.feed` of one block that is no flood."""
        cdef object log = (<tuple> block)[0], event, latest
        cdef object way = self.ways.get(log)
        cdef list found = None, events
        cdef object before
        if way is not None:
            found = way.scan(block)
        if found is None:
            found = self.scan(block)
        if not found:
            return found
        latest = self.newest(found)
        before = self.running.get(log)
        if before is None or latest > before:
            self.running[log] = latest
        if self.concerned and self.concerns(found, self.concerned):
            self.sessions.now = now
            events = self.join(found)
        else:
            events = self.alone(found)
        if self.evidence is not None:
            for event in events:
                if ((<tuple> event)[0] if isinstance(event, tuple) else event.kind) in hostile:  # as sessions.pyx
                    self.evidence.append(event)
        effects = self.feed_many(events)
        if self.growth is not None:
            self.saw(events)
        return effects

    # ------------------------------------------------------------ who is busy

    cdef int begin(self) except -1:
        """Take over what `Growth` counts."""
        if self.growth is not None:
            self.passed, self.offset = self.growth.passed, self.growth.offset
            self.later, self.sampling = self.growth.later, self.growth.times == stride

    cdef int end(self) except -1:
        """Give it back."""
        if self.growth is not None:
            self.growth.passed = self.passed

    cdef int saw(self, list events) except -1:
        """`Growth.saw`, live; of a flood without Python."""
        cdef Py_ssize_t at
        if not self.sampling or self.passed < asked:
            self.growth.passed = self.passed
            self.growth.saw(events)
            self.begin()
            return 0
        at = self.passed + self.offset
        at = stride - 1 - (at + stride - 1) % stride
        while at < len(events):
            self.later.append(events[at])
            at += stride
        self.passed += len(events)
        if len(self.later) >= together:
            self.growth.count_later()
            self.later = self.growth.later
        return 0
