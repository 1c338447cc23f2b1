# The rules of a plan asked about one opened line; the twin of core/taking.py.

cdef struct Totals:
    # What is counted in a block; `Lines.count` adds it to the scanner's.
    long lines, hits, ambiguous, sourceless


@cython.final
cdef class Taker:
    """Finds the rule of a line, and has its event or its row made."""

    cdef Plans plans
    cdef Machine machine
    cdef Maker maker
    cdef Origin origin  # of the lines at hand
    cdef Packing packed  # takes their rows; None: objects are made
    cdef Source source, other
    cdef object reference, doubts

    def __init__(self, reference, Plans plans, Origin origin):
        """`reference`: the Python `Taker`, whose doubts and counters these are too."""
        self.reference, self.doubts = reference, reference.doubts
        self.plans, self.machine, self.origin = plans, plans.machine, origin
        self.maker = Maker(reference.maker.keep_lines)
        self.source, self.other = Source(reference.maker.addresses), Source(reference.maker.addresses)

    cdef bint take(self, Plan plan, const unsigned char *text, Py_ssize_t begin, Py_ssize_t stop, int64_t position,
                   Prefix *prefix, list found, Totals *totals) except -1:
        """Ask the rules in order; the first that fits takes the line. False when none does."""
        cdef Reading on, second
        cdef Rule rule, other
        cdef Py_ssize_t number
        self.ready(&on, text, prefix)
        for number in range(len(plan.rules)):
            rule = <Rule> plan.rules[number]
            if not reads(rule, &on, self.source):
                continue
            if len(rule.before):
                self.ready(&second, text, prefix)
                for other in rule.before:
                    if reads(other, &second, self.other):
                        return True
            if plan.check and self.doubtful(plan, rule, &on, text, prefix):
                totals.ambiguous += 1
                return True
            rule.count += 1
            if rule.silent:
                return True
            self.give(rule, plan, number, text, begin, stop, position, prefix, &on, found, totals)
            return True
        return False

    cdef int give(self, Rule rule, Plan plan, Py_ssize_t number, const unsigned char *text, Py_ssize_t begin,
                  Py_ssize_t stop, int64_t position, Prefix *prefix, Reading *on, list found, Totals *totals) except -1:
        """The row or the event of a line that the plan's rule `number` took, unless it makes none."""
        cdef long weight = rule.weight
        cdef Source source = self.source if rule.source >= 0 and self.source.there else None
        if source is None and rule.hostile and not rule.stateful and rule.source >= 0:
            totals.sourceless += 1
            return 0
        if rule.attempts >= 0:
            weight = number_of(on, rule.attempts) - rule.minus
            if rule.less >= 0:
                weight -= number_of(on, rule.less)
        if weight <= 0 and not rule.stateful:
            return 0
        if self.packed is not None and rule.packable and not (self.maker.keep_lines and rule.hostile):
            self.packed.add_line(rule, weight, source, plan.scope_numbers[number], self.origin, position, prefix, on)
            return 0
        found.append(self.maker.make(
            rule, weight, source, plan.scopes[number], self.origin, text, begin, stop, position, prefix, on
        ))
        if self.packed is not None:
            self.packed.add_objects(found)
        return 0

    cdef inline void ready(self, Reading *on, const unsigned char *text, Prefix *prefix) noexcept:
        on.data = text
        on.start, on.end = prefix.start, prefix.end
        on.planes = <const unsigned char *> PyBytes_AS_STRING(self.machine._planes)
        on.texts = <const unsigned char *> PyBytes_AS_STRING(self.machine._texts)
        on.choices = <const int *> PyBytes_AS_STRING(self.machine._choices)

    cdef bint doubtful(self, Plan plan, Rule first, Reading *on, const unsigned char *text, Prefix *prefix) except -1:
        """See `Taker.doubtful`."""
        cdef Reading second
        cdef Rule rule
        cdef Py_ssize_t length
        if first.source < 0 or on.begins[first.source] < 0:
            return False
        length = on.ends[first.source] - on.begins[first.source]
        self.ready(&second, text, prefix)
        for rule in plan.rules:
            if rule.source < 0 or rule.parser == first.parser or (rule.guessed and not first.guessed):
                continue
            if reads(rule, &second, self.other) and second.begins[rule.source] >= 0 and (
                second.ends[rule.source] - second.begins[rule.source] != length
                or memcmp(second.data + second.begins[rule.source], on.data + on.begins[first.source], length) != 0
            ):
                return True
        return False

    cdef int unmatched(self, Plan plan, const unsigned char *text, Prefix *prefix) except -1:
        """Count a line that no rule took; see `Taker.unmatched`."""
        cdef Reading on
        cdef Rule rule
        cdef long met = self.doubts.met + 1
        self.doubts.met = met
        if met > ALL and met % EVERY:  # `Doubts.skips`
            return 0
        opened = Opened(
            prefix.time,
            text_bytes(prefix.host, prefix.host_length),
            text_bytes(prefix.program, prefix.program_length),
            prefix.pid, 0, prefix.end - prefix.start, style_name(prefix.style),
        )
        message = text_bytes(text + prefix.start, prefix.end - prefix.start)
        self.plans.ask_rest(plan, opened.style, opened.program)
        if not plan.rest_covered:
            self.reference.unmatched(opened, message, False, self.plans.names)
            return 0
        self.ready(&on, text, prefix)
        for rule in plan.rest:
            if reads(rule, &on, self.source):
                return 0
        self.reference.note(opened, message)
        return 0
