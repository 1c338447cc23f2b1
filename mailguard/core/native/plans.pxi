# Which rules to ask about which lines; the twin of `compiled.Plans`.

cdef enum:
    MOST_WORDS = 16  # of 64 literals
    PLANS = 1024  # places for kinds of lines that are remembered
    NEAR = 8  # places that a kind may have
    MOST_KEPT = 4096
    LONGEST_PROGRAM = 128


cdef class Plan:
    """The rules to ask about one kind of line, and the scopes of their events; see `compiled.Plan`."""

    cdef tuple rules, scopes
    cdef bytes scope_numbers
    cdef tuple rest  # rules that are not searched for; None: not asked for yet
    cdef bint check, known, covered, rest_covered


cdef struct Place:
    # A kind of line that was met.
    unsigned long long mixed
    int style, length, plan  # -1: free
    unsigned long long words[MOST_WORDS]
    char program[LONGEST_PROGRAM]


cdef class Machine:
    """The rules of a scanner for the machine, made when first needed."""

    cdef object pool
    cdef dict rules
    cdef bytes _planes, _texts, _choices

    def __init__(self):
        self.pool = Pool()
        self.rules = {}

    cdef Rule rule(self, entry):
        """The rule of an `Entry`."""
        made = self.rules.get(entry)
        if made is None:
            made = self.rules[entry] = Rule(entry, self.pool)
            (<Rule> made).before = tuple([self.rule(other) for other in entry.before])
            self._planes = None
        return made

    cdef pour(self):
        """Make what the code of all rules shares ready."""
        if self._planes is None:
            self._planes, self._texts = bytes(self.pool.planes), bytes(self.pool.texts)
            self._choices = self.pool.choices.tobytes()

    def give_counts(self):
        """Add to `Entry.count` how many lines each rule took."""
        cdef Rule rule
        for entry, rule in self.rules.items():
            entry.count += rule.count
            rule.count = 0


@cython.final
cdef class Plans:
    """The kinds of lines that were met in logs of the same parsers (an envelope, a program, the literals found), and
    the plan of each: made when first asked for, forgotten all at once when they are too many."""

    cdef object plans, names, bits
    cdef Machine machine
    cdef list kept
    cdef Place places[PLANS]
    cdef int words

    def __init__(self, plans, names, bits, Machine machine, int words):
        """`plans`: the reference, which knows what to ask for the parsers called `names`; `bits`: what it calls each
        literal; `words`: how many words of a mask hold them."""
        self.plans, self.names, self.bits, self.machine, self.words = plans, names, bits, machine, words
        self.forget()

    cdef forget(self):
        """Take all kinds of lines for new ones."""
        cdef int at
        self.kept = []
        for at in range(PLANS):
            self.places[at].plan = -1

    cdef Plan of(self, Prefix *prefix, unsigned long long *mask):
        """The rules to ask about a line of that style and program on which those literals were found."""
        cdef int length = prefix.program_length, at, first
        cdef unsigned long long mixed = prefix.style + 1
        cdef Place *place
        for at in range(self.words):
            mixed = (mixed ^ mask[at]) * 0x9E3779B97F4A7C15ull
        for at in range(length):
            mixed = (mixed ^ prefix.program[at]) * 0x100000001B3ull
        first = (mixed >> 40) % PLANS
        for at in range(NEAR):
            place = &self.places[(first + at) % PLANS]
            if place.plan < 0:
                break
            if (
                place.mixed == mixed
                and place.style == prefix.style
                and place.length == length
                and memcmp(place.words, mask, self.words * sizeof(unsigned long long)) == 0
                and memcmp(place.program, prefix.program, length) == 0
            ):
                return <Plan> self.kept[place.plan]
        else:
            place = &self.places[first]
        made = self.make(text_bytes(prefix.program, length), prefix.style, mask)
        if len(self.kept) >= MOST_KEPT:
            self.forget()
        place.mixed, place.plan = mixed, len(self.kept)
        self.kept.append(made)
        place.style, place.length = prefix.style, length
        memcpy(place.words, mask, self.words * sizeof(unsigned long long))
        memcpy(place.program, prefix.program, length)
        return made

    cdef Plan make(self, bytes program, int style, unsigned long long *mask):
        """Ask the reference, and make its rules ready."""
        cdef Plan made = Plan()
        plan = self.plans.plan(style_name(style), program, self.bits_of(mask), self.names)
        rules = [self.machine.rule(entry) for entry in plan.entries]
        made.rules = tuple(rules)
        made.scopes = tuple([entry.scope_of(program) if entry.scopes else entry.scope for entry in plan.entries])
        made.scope_numbers = bytes([SCOPE_NAMES.index(scope) for scope in made.scopes])
        made.check, made.known = plan.check, plan.known
        made.covered = all([covered(rule) for rule in rules])
        self.machine.pour()
        return made

    cdef int ask_rest(self, Plan plan, str style, bytes program) except -1:
        """Find the rules of such lines that are not searched for, once for each plan."""
        if plan.rest is None:
            rest = self.plans.plan(style, program, REST, self.names)
            plan.rest = tuple([self.machine.rule(entry) for entry in rest.entries])
            plan.rest_covered = all([(<Rule> one).covered for one in plan.rest])
            self.machine.pour()
        return 0

    cdef bits_of(self, unsigned long long *mask):
        """The literals of a line as the reference takes them."""
        cdef int number
        bits = 0
        for number in range(len(self.bits)):
            if mask[number >> 6] >> (number & 63) & 1:
                bits |= self.bits[number]
        return bits


cdef bint covered(Rule rule):
    cdef Rule other
    return rule.covered and all([covered(other) for other in rule.before])


cdef inline str style_name(int style):
    return SYSLOG if style == SYSLOG_LINE else EPOST if style == EPOST_COMMA else EPOST_LINE
