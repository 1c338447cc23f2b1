# Standing, bans and the timeline of one try: `core.standing`, `bans`, `policy` and `replay.timeline` on arrays.
# Included by trying.pyx.

cdef double DAY = 86400.0
cdef double RIPE = 2 * 86400.0
cdef double LINGER = 3600.0

cdef struct Earned:  # `standing.Standing`
    double mail1, mail2, login1, login2
    uint16_t mail_days, login_days
    uint8_t revoked

cdef struct Known:  # a user at a network
    double first
    uint8_t there, revoked

cdef struct Target:  # a source or a network
    double[3] until  # of its bans, by scope
    double[3] put  # the clock when they were imposed: what was over by then is in the book until the clock goes on
    double end  # of its latest ban, for the ordinal
    double since  # timeline: the first hostile event since its latest ban
    int32_t latest  # timeline: its latest ban, -1: none
    uint16_t ordinal  # 0: never banned
    uint8_t seen, counted, caught, spared

cdef struct Stand:  # `timeline.BanRecord`
    double time, until, delay
    int32_t earlier
    uint32_t target, detector
    uint8_t scope, wide, hurt

cdef struct Hit:  # somebody known under a ban
    int32_t ban
    uint32_t person
    uint8_t login


cdef inline double day_of(double time) noexcept nogil:
    """time // 86400.0 as Python computes it."""
    cdef double rest = fmod(time, DAY), quotient, whole
    if rest < 0:
        rest += DAY
    quotient = (time - rest) / DAY
    whole = floor(quotient)
    return whole + 1 if quotient - whole > 0.5 else whole


cdef inline void later(double *first, double *last, uint16_t *days, double time, double midnight) noexcept nogil:
    """`standing._later`; `midnight`: when the day of `time` began."""
    if not days[0]:
        first[0] = last[0] = time
        days[0] = 1
    elif time > last[0]:
        if last[0] < midnight and days[0] < 0xFFFF:
            days[0] += 1
        last[0] = time
    else:
        if first[0] >= midnight + DAY and days[0] < 0xFFFF:
            days[0] += 1
        if time < first[0]:
            first[0] = time


cdef inline bint at_home(Earned *earned, double now) noexcept nogil:
    """`Standing.home`; nothing here is older than 13 months."""
    return not earned.revoked and earned.login_days >= 2 and earned.login1 <= now - RIPE


cdef inline void clean(Target *target) noexcept nogil:
    """Nothing happened to it."""
    target.until[0] = target.until[1] = target.until[2] = -INFINITY
    target.put[0] = target.put[1] = target.put[2] = target.end = target.since = 0.0
    target.latest, target.ordinal = -1, 0
    target.seen = target.counted = target.caught = 0


cdef inline bint good(Earned *earned, double now) noexcept nogil:
    """`Standing.good`."""
    if earned.revoked:
        return False
    return earned.mail_days >= 2 and earned.mail1 <= now - RIPE or at_home(earned, now)


@cython.final
cdef class Book:
    """All that a try changes besides the histories."""

    cdef Py_ssize_t sources, networks, pairs
    cdef Target *source
    cdef Target *network
    cdef Earned *source_standing
    cdef Earned *network_standing
    cdef Known *known_at
    cdef double *mute  # of each source by scope: until when all that is hostile is stopped, for sure
    cdef int32_t *members  # numbers of sources, network by network
    cdef int32_t *first  # where those of each network begin; one more than there are networks
    cdef Stand *stands
    cdef int32_t standing, stands_room
    cdef Hit *hits
    cdef int32_t hitting, hits_room
    cdef int32_t *last_hit  # of each person: the ban that hit it last
    cdef Py_ssize_t people
    cdef double *escalation
    cdef Py_ssize_t escalating
    cdef double forget
    cdef int64_t stopped, lifted, logins, messages, banned_targets

    def __cinit__(self):
        self.source, self.network, self.source_standing, self.network_standing = NULL, NULL, NULL, NULL
        self.known_at, self.members, self.first, self.stands, self.hits = NULL, NULL, NULL, NULL, NULL
        self.last_hit, self.escalation, self.mute = NULL, NULL, NULL

    def __dealloc__(self):
        free(self.source)
        free(self.network)
        free(self.source_standing)
        free(self.network_standing)
        free(self.known_at)
        free(self.members)
        free(self.first)
        free(self.stands)
        free(self.hits)
        free(self.last_hit)
        free(self.escalation)
        free(self.mute)

    def __init__(self, Events events, object rules, bytes spared_sources, bytes spared_networks):
        """`spared_...`: a byte for each, 1 where it touches the never-list. `begin` is to be called, too."""
        cdef Py_ssize_t i, network
        self.sources, self.networks = len(events.sources.keys), len(events.sources.network_keys)
        self.pairs, self.people = events.keys("user+network"), len(events.names.people.known) + 1
        self.source = <Target *>calloc(max(1, self.sources), sizeof(Target))
        self.network = <Target *>calloc(max(1, self.networks), sizeof(Target))
        self.source_standing = <Earned *>calloc(max(1, self.sources), sizeof(Earned))
        self.network_standing = <Earned *>calloc(max(1, self.networks), sizeof(Earned))
        self.known_at = <Known *>calloc(self.pairs, sizeof(Known))
        self.members = <int32_t *>calloc(max(1, self.sources), sizeof(int32_t))
        self.first = <int32_t *>calloc(self.networks + 2, sizeof(int32_t))
        self.last_hit = <int32_t *>malloc(self.people * sizeof(int32_t))
        self.mute = <double *>malloc(3 * max(1, self.sources) * sizeof(double))
        self.escalating = len(rules.escalation)
        self.escalation = <double *>calloc(max(1, self.escalating), sizeof(double))
        if (
            self.source == NULL or self.network == NULL or self.source_standing == NULL
            or self.network_standing == NULL or self.known_at == NULL or self.members == NULL
            or self.first == NULL or self.last_hit == NULL or self.escalation == NULL or self.mute == NULL
        ):
            raise MemoryError
        if len(spared_sources) != self.sources or len(spared_networks) != self.networks:
            raise ValueError("a byte is wanted for each source and each network")
        for i in range(self.escalating):
            self.escalation[i] = rules.escalation[i]
        self.forget = rules.forget
        for i in range(self.sources):
            self.source[i].spared = spared_sources[i] != 0
            self.first[<Py_ssize_t>events.sources.network_at[i] + 2] += 1
        for i in range(self.networks):
            self.network[i].spared = spared_networks[i] != 0
            self.first[i + 2] += self.first[i + 1]
        for i in range(self.sources):
            network = events.sources.network_at[i]
            self.members[self.first[network + 1]] = <int32_t>i
            self.first[network + 1] += 1

    cdef void begin(self) noexcept:
        """Begin anew, with nothing in it."""
        cdef Py_ssize_t i
        for i in range(self.sources):
            clean(self.source + i)
        for i in range(self.networks):
            clean(self.network + i)
        for i in range(3 * self.sources):
            self.mute[i] = -INFINITY
        for i in range(self.people):
            self.last_hit[i] = -1
        memset(self.source_standing, 0, self.sources * sizeof(Earned))
        memset(self.network_standing, 0, self.networks * sizeof(Earned))
        memset(self.known_at, 0, self.pairs * sizeof(Known))
        self.standing = self.hitting = 0
        self.stopped = self.lifted = self.logins = self.messages = self.banned_targets = 0

    # ------------------------------------------------------------ what speaks for somebody

    cdef inline bint known(self, uint32_t both, double time) noexcept nogil:
        """`Book.known`."""
        cdef Known *known = self.known_at + both
        return known.there and not known.revoked and known.first <= time

    cdef inline bint settle(self, uint32_t both, double time) noexcept nogil:
        """`Book.settle`."""
        cdef Known *known = self.known_at + both
        if known.revoked:
            return False
        if not known.there or time < known.first:
            known.first = time
        known.there = 1
        return True

    cdef inline void login(self, Row *row) noexcept nogil:
        """`Book.login`."""
        cdef Earned *earned = self.source_standing + row.source
        if not self.settle(row.both, row.time):
            return
        if not earned.revoked:
            later(&earned.login1, &earned.login2, &earned.login_days, row.time, row.midnight)
        earned = self.network_standing + row.network
        later(&earned.login1, &earned.login2, &earned.login_days, row.time, row.midnight)

    cdef inline void mail(self, Row *row) noexcept nogil:
        """`Book.mail`."""
        cdef Earned *earned = self.source_standing + row.source
        if earned.revoked:
            return
        later(&earned.mail1, &earned.mail2, &earned.mail_days, row.time, row.midnight)
        earned = self.network_standing + row.network
        later(&earned.mail1, &earned.mail2, &earned.mail_days, row.time, row.midnight)

    cdef void revoke(self, Row *row) noexcept nogil:
        """`Book.revoke`."""
        cdef Known *known = self.known_at + row.both
        cdef Earned *earned = self.source_standing + row.source
        cdef bint shared = earned.login_days > 0
        known.there, known.revoked, known.first = 1, 1, row.time
        if shared:
            return
        memset(earned, 0, sizeof(Earned))
        earned.login1 = earned.login2 = row.time
        earned.login_days, earned.revoked = 1, 1

    # ------------------------------------------------------------ bans

    cdef inline bint meets(self, Target *target, int scope, double time, double clock) noexcept nogil:
        """A ban of exactly this target covers the scope at `time`."""
        cdef int wider
        for wider in range(scope, 3):
            if time < target.until[wider] and self.there(target, wider, clock):
                return True
        return False

    cdef inline bint there(self, Target *target, int scope, double clock) noexcept nogil:
        """The ban is still in the book, see `Bans.expire`."""
        return clock < target.until[scope] + LINGER or clock == target.put[scope]

    cdef inline bint covering(self, Row *row) noexcept nogil:
        """`Bans.covering`."""
        cdef int scope = row.flags & SCOPE
        return (
            self.meets(self.source + row.source, scope, row.time, row.clock)
            or self.meets(self.network + row.network, scope, row.time, row.clock)
        )

    cdef double length(self, Watch *watch, int ordinal) noexcept nogil:
        """`Policy.length`."""
        cdef double length = watch.first
        cdef int i
        for i in range(ordinal - 1):
            length *= watch.factor
            if length >= watch.longest:
                break
        if self.escalating:
            length = max(length, self.escalation[min(<Py_ssize_t>ordinal, self.escalating) - 1])
        return min(length, watch.longest)

    cdef int decide(
        self, Watch *watch, Span *span, bint trusted, bint wide, uint32_t place, uint32_t around, Row *row
    ) except -1:
        """`Policy.decide` about source or network `place`; `around`: the network of a source."""
        cdef Target *target = (self.network if wide else self.source) + place
        cdef Earned *earned = (self.network_standing if wide else self.source_standing) + place
        cdef double time = row.time, until
        cdef int ordinal
        if not trusted or target.spared:
            return 0
        if wide:
            if good(earned, time):
                return 0
        elif span.kinds & ~watch.forgiven == 0:
            if good(earned, time):
                return 0
        elif watch.slow and at_home(earned, time):
            return 0
        if self.meets(target, span.scope, time, row.clock):
            return 0
        if not wide and self.meets(self.network + around, span.scope, time, row.clock):
            return 0
        ordinal = 1
        if target.ordinal and time - target.end < self.forget:
            ordinal = min(target.ordinal + 1, 0xFFFF)
        until = time + self.length(watch, ordinal)
        self.impose(watch, span.scope, wide, place, time, until, row.clock)
        if not target.ordinal:
            self.banned_targets += 1
        target.ordinal, target.end = ordinal, until
        return 0

    cdef int impose(
        self, Watch *watch, int scope, bint wide, uint32_t place, double time, double until, double clock
    ) except -1:
        """`Policy.impose`, and what the timeline makes of it."""
        cdef Target *target = (self.network if wide else self.source) + place
        cdef int32_t i
        self.record(watch, scope, wide, place, time, until)
        self.replace(target, scope, True, time, until, clock)
        if wide:
            for i in range(self.first[place], self.first[place + 1]):
                self.replace(self.source + self.members[i], scope, False, time, until, clock)
                self.silence(self.members[i], scope, until)
        else:
            self.silence(place, scope, until)
        target.until[scope], target.put[scope] = until, clock
        return 0

    cdef inline void silence(self, Py_ssize_t source, int scope, double until) noexcept:
        """A ban is imposed. It is the latest of the source at these scopes, so it ends only when another is imposed,
        which comes here too; an earlier one that lasts longer need not be known: who is not mute is judged."""
        cdef int narrow
        for narrow in range(scope + 1):
            self.mute[3 * source + narrow] = until

    cdef inline int replace(
        self, Target *target, int scope, bint own, double time, double until, double clock
    ) noexcept:
        """Lift the bans of a target that one of `scope` up to `until` replaces; `own`: it is of the same network."""
        cdef int narrow
        for narrow in range(scope + 1):
            if own and narrow == scope:
                continue
            if time < target.until[narrow] <= until and self.there(target, narrow, clock):
                target.until[narrow] = -INFINITY
                self.lift(target, narrow, time)
        return 0

    # ------------------------------------------------------------ the timeline

    cdef void lift(self, Target *target, int scope, double time) noexcept:
        """`Timeline._effect` of a Lift."""
        cdef int32_t at = target.latest
        self.lifted += 1
        while at >= 0:
            if self.stands[at].scope == scope and self.stands[at].until > time:
                self.stands[at].until = time
            at = self.stands[at].earlier

    cdef inline void catch(self, Target *source, double *since, bint *some) noexcept:
        """A hostile source comes under a ban."""
        if not source.seen:
            return
        if source.counted:
            if not some[0] or source.since < since[0]:
                since[0] = source.since
            some[0] = True
        source.counted, source.caught = 0, 1

    cdef int record(self, Watch *watch, int scope, bint wide, uint32_t place, double time, double until) except -1:
        """`Timeline._impose`."""
        cdef Target *target = (self.network if wide else self.source) + place
        cdef Stand *stand
        cdef double since = 0.0
        cdef bint some = False
        cdef int32_t i
        cdef void *grown
        if self.standing == self.stands_room:
            self.stands_room = max(1024, 2 * self.stands_room)
            grown = realloc(self.stands, self.stands_room * sizeof(Stand))
            if grown == NULL:
                raise MemoryError
            self.stands = <Stand *>grown
        if wide:
            for i in range(self.first[place], self.first[place + 1]):
                self.catch(self.source + self.members[i], &since, &some)
        else:
            self.catch(target, &since, &some)
        stand = self.stands + self.standing
        stand.time, stand.until, stand.delay = time, until, max(0.0, time - since) if some else NAN
        stand.scope, stand.wide, stand.target, stand.detector = scope, wide, place, watch.detector
        stand.hurt, stand.earlier = 0, -1
        if target.latest >= 0:
            if self.stands[target.latest].until > time and self.stands[target.latest].scope != scope:
                stand.earlier = target.latest
        target.latest = self.standing
        self.standing += 1
        return 0

    cdef inline bint stopped_by(self, int32_t at, Row *row) noexcept nogil:
        cdef int scope = row.flags & SCOPE
        while at >= 0:
            if row.time < self.stands[at].until and scope <= self.stands[at].scope:
                return True
            at = self.stands[at].earlier
        return False

    cdef int saw(self, Row *row) except -1:
        """`Timeline._events` for one event."""
        cdef Target *source = self.source + row.source
        cdef int32_t wide = self.network[row.network].latest
        cdef bint banned = source.latest >= 0 or wide >= 0
        if row.role & HOSTILE_KIND:
            if banned and (self.stopped_by(source.latest, row) or self.stopped_by(wide, row)):
                self.stopped += 1
                return 0
            if not source.seen:
                source.seen = 1
            if not source.counted:
                source.since, source.counted = row.time, 1
        elif banned and row.role & (MAIL_KIND | LOGIN_KIND):
            self.watched(source.latest, row)
            self.watched(wide, row)
        return 0

    cdef int watched(self, int32_t at, Row *row) except -1:
        """`Timeline._watched`."""
        cdef Hit *hit
        cdef void *grown
        cdef int scope = row.flags & SCOPE
        while at >= 0:
            if row.time < self.stands[at].until and scope <= self.stands[at].scope:
                self.stands[at].hurt = 1
                if row.role & LOGIN_KIND:
                    self.logins += 1
                else:
                    self.messages += 1
                if self.last_hit[row.person] != at:
                    self.last_hit[row.person] = at
                    if self.hitting == self.hits_room:
                        self.hits_room = max(1024, 2 * self.hits_room)
                        grown = realloc(self.hits, self.hits_room * sizeof(Hit))
                        if grown == NULL:
                            raise MemoryError
                        self.hits = <Hit *>grown
                    hit = self.hits + self.hitting
                    hit.ban, hit.person, hit.login = at, row.person, row.role & LOGIN_KIND != 0
                    self.hitting += 1
            at = self.stands[at].earlier
        return 0
