"""The proof that a line can be read in one way only, where it matters.

Two copies of the automaton read the same line side by side, over all lines at once: the pairs of states they
can reach together, and from which both can still come to an end, are all there is to look at. If one of these
pairs has a byte that the one copy lays to a slot and the other does not, then there is a line with two
readings, and the way through the pairs writes it down. Otherwise the slot is *proved*: every reading of every
line gives it the same bytes.

The automaton accepts a little more than the template (see `automaton`), so what is proved is true; a refusal
may, rarely, come from a length it did not count: `Ambiguity.exact` tells.

Owns: what "ambiguous" means. An absent slot and an empty one count as the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from .automaton import Automaton, anywhere, meet, padded, surrounded
from .variants import Echo
from .witness import Ambiguity, Step, write_line


class _Pairs:
    """The pairs of states that two automata reach together, with the way to each."""

    def __init__(self, a: Automaton, b: Automaton):
        self.a, self.b = a, b
        self.came: dict[Step, Step | None] = {(0, 0): None}  # shortest way back to the start
        self.back: dict[Step, list[Step]] = {}

    def explore(self) -> None:
        """All reachable pairs, breadth first."""
        a, b, came, back = self.a, self.b, self.came, self.back
        a_chars, b_chars, a_follow, b_follow = a.chars, b.chars, a.follow, b.follow
        level = [(0, 0)]
        while level:
            after: list[Step] = []
            for pair in level:
                q_next = b_follow[pair[1]]
                for p in a_follow[pair[0]]:
                    chars = a_chars[p]
                    for q in q_next:
                        if chars & b_chars[q]:
                            there = (p, q)
                            if there in came:
                                back[there].append(pair)
                            else:
                                came[there] = pair
                                back[there] = [pair]
                                after.append(there)
            level = after

    def useful(self) -> dict[Step, Step | None]:
        """The pairs from which both come to an end, each with the next step on the shortest way there."""
        ahead: dict[Step, Step | None] = {
            pair: None for pair in self.came if pair[0] in self.a.accept and pair[1] in self.b.accept
        }
        level = list(ahead)
        while level:
            before: list[Step] = []
            for pair in level:
                for earlier in self.back.get(pair, ()):
                    if earlier not in ahead:
                        ahead[earlier] = pair
                        before.append(earlier)
            level = before
        return ahead

    def way(self, through: Step, ahead: dict[Step, Step | None]) -> list[Step]:
        """The shortest line through this pair, as pairs without the start."""
        out: list[Step] = []
        here: Step | None = through
        while here is not None and here != (0, 0):
            out.append(here)
            here = self.came[here]
        out.reverse()
        here = ahead[through]
        while here is not None:
            out.append(here)
            here = ahead[here]
        return out


def prove_names(net: Automaton, names: Sequence[str], where: str = "whole") -> dict[str, Ambiguity]:
    """The ambiguous ones of these slots, each with its line."""
    pairs = _Pairs(net, net)
    pairs.explore()
    ahead = pairs.useful()
    slot = net.slot
    found: dict[str, Step] = {}
    for pair in pairs.came:  # in order of distance: the shortest line is shown
        if pair in ahead and slot[pair[0]] != slot[pair[1]]:
            for name in (slot[pair[0]], slot[pair[1]]):
                if name:
                    found.setdefault(name, pair)
    return {
        name: write_line(net, net, pairs.way(found[name], ahead), name, where)
        for name in names
        if name in found
    }


def prove_pair_nets(a: Automaton, b: Automaton, name: str, where: str = "whole") -> Ambiguity | None:
    """A line both accept while disagreeing about slot `name`, or None. Pairs that are past the slot in both,
    and have agreed so far, are not followed: the search of two unlike rules ends after a few dozen steps."""
    mine = [slot == name for slot in a.slot]
    other = [slot == name for slot in b.slot]
    a_ahead, b_ahead = _can_reach(a, mine), _can_reach(b, other)
    came: dict[Step, Step | None] = {(0, 0): None}
    level: list[Step] = [(0, 0)]
    apart: list[Step] = []
    while level:
        after: list[Step] = []
        for pair in level:
            for p in a.follow[pair[0]]:
                chars = a.chars[p]
                for q in b.follow[pair[1]]:
                    if chars & b.chars[q] and (p, q) not in came:
                        came[p, q] = pair
                        if mine[p] != other[q]:
                            apart.append((p, q))
                        elif a_ahead[p] or b_ahead[q]:
                            after.append((p, q))
        level = after
    onward: dict[Step, Step | None] = {pair: None for pair in apart}
    level = apart
    while level:
        after = []
        for pair in level:
            if pair[0] in a.accept and pair[1] in b.accept:
                return write_line(a, b, _joined(came, onward, pair), name, where)
            for p in a.follow[pair[0]]:
                chars = a.chars[p]
                for q in b.follow[pair[1]]:
                    if chars & b.chars[q] and (p, q) not in onward:
                        onward[p, q] = pair
                        after.append((p, q))
        level = after
    return None


def _joined(came: dict[Step, Step | None], onward: dict[Step, Step | None], end: Step) -> list[Step]:
    out: list[Step] = []
    here: Step | None = end
    while here is not None:
        out.append(here)
        first, here = here, onward[here]
    here = came[first]
    while here is not None and here != (0, 0):
        out.append(here)
        here = came[here]
    return out[::-1]


def _can_reach(net: Automaton, wanted: list[bool]) -> list[bool]:
    """For each state: whether a wanted state can still come after it."""
    out = [False] * len(net.chars)
    changed = True
    while changed:
        changed = False
        for state in range(len(out) - 1, -1, -1):
            if not out[state] and any(wanted[after] or out[after] for after in net.follow[state]):
                out[state] = changed = True
    return out


def prove_echo(shape: Echo, names: Sequence[str]) -> dict[str, Ambiguity]:
    """The same for a template with `{=name}`. Both repeated texts are equally long, so all readings of a line
    are concentric, and of two of them one holds its middle strictly inside the other's. The repeated text is
    certain if no middle can hold another with text on both sides; a slot in the middle already if such a pair
    never disagrees about it."""
    inner, outer = surrounded(shape.middle, True, True), surrounded(shape.middle, False, False)
    found = prove_names(outer, [name for name in names if name != shape.name])
    if meet(inner, outer):
        for name in names:
            if name == shape.name:
                line = shape.before + b"..." + shape.after
                found[name] = Ambiguity(name, line, b"", b"", exact=False)
            elif name not in found and (nested := prove_pair_nets(outer, inner, name)) is not None:
                found[name] = nested._replace(exact=False)
    return found


def prove_echo_pair(a: Echo, b: Echo, name: str) -> Ambiguity | None:
    """Whether two templates with `{=...}` can read a line with different places of slot `name`, which stands
    in the middle of each. The middles of a line's two readings lie within each other, or, where the texts
    around the repeated ones are not equally long, are shifted by a few bytes: each of these few cases is
    searched. The line of an ambiguity is the middle only."""
    if _differ(a.before, b.before) or _differ(a.after[::-1], b.after[::-1]):
        return None
    shift = (len(b.before) - len(a.before)) - (len(b.after) - len(a.after))
    one, two = surrounded(a.middle, False, False), surrounded(b.middle, False, False)
    cases = [(one, anywhere(b.middle)), (anywhere(a.middle), two)]
    for before in range(1, abs(shift)):
        behind = abs(shift) - before
        if shift > 0:  # the second middle begins later and ends later
            cases.append((padded(a.middle, 0, behind), padded(b.middle, before, 0)))
        else:
            cases.append((padded(a.middle, before, 0), padded(b.middle, 0, behind)))
    for first, second in cases:
        found = prove_pair_nets(first, second, name)
        if found is not None:
            return found._replace(exact=False)
    return None


def _differ(one: bytes, two: bytes) -> bool:
    """Whether no line can begin with both."""
    return not (one.startswith(two) or two.startswith(one))
