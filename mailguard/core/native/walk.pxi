# The timeline of a replay for the usual event. Included by flow.pyx.

cdef list with_earlier(list bans, object ban):
    """`bans` (None: none yet), this one, and those of the same network that still stood."""
    if bans is None:
        bans = []
    while ban is not None:
        bans.append(ban)
        ban = ban.earlier
    return bans


cdef class Walk:
    """`Timeline._events`."""

    cdef object timeline, known, stopped
    cdef dict roles, hosts, wide4, wide6
    cdef object mail, login  # the roles of these
    cdef list hostile  # the roles of hostile kinds by number
    cdef set pairs, users
    cdef Py_ssize_t most, most_pairs
    cdef bytearray sieve_  # of the bans
    cdef const uint8_t *sieve

    def __init__(self, timeline, dict roles, Py_ssize_t most, Py_ssize_t most_pairs):
        """`most`: pairs and accounts that are counted for a source; `most_pairs`: remembered over all."""
        self.timeline, self.known, self.roles = timeline, timeline.known, roles
        self.hosts, (self.wide4, self.wide6), self.stopped = timeline._hosts, timeline._wide, timeline.stopped
        self.mail, self.login = roles["mail_accepted"], roles["auth_success"]
        self.sieve_ = timeline._sieve
        self.sieve = sieve_of(self.sieve_)
        self.hostile = [roles[kind] for kind in HOSTILE]
        self.pairs, self.users = timeline.known._pairs, timeline.known._users
        self.most, self.most_pairs = most, most_pairs

    def take(self, events, Py_ssize_t begin, Py_ssize_t stop):
        """The events from `begin` up to `stop`."""
        cdef bytes rows = rows_of(events)
        if rows is None:
            self.objects(<list?>events, begin, stop)
        else:
            self.rows(events, rows, events.texts, begin, stop)

    cdef int rows(self, object events, bytes rows, bytes texts, Py_ssize_t begin, Py_ssize_t stop) except -1:
        cdef dict young = self.timeline._young
        cdef const Heard *heard = <const Heard *>PyBytes_AS_STRING(rows)
        cdef object key, role, kind, time
        cdef list record, bans
        cdef PyObject *found
        cdef Py_ssize_t place
        cdef const uint8_t *text = <const uint8_t *>PyBytes_AS_STRING(texts)
        cdef bint met
        if not 0 <= begin <= stop <= len(rows) // <Py_ssize_t>sizeof(Heard):
            raise IndexError(stop)
        for place in range(begin, stop):
            if not heard[place].bits & TOLD_SOURCE or (
                heard[place].kind >= HOSTILE_KINDS and heard[place].kind != MAIL and heard[place].kind != LOGIN
            ):
                continue
            if heard[place].bits & TOLD_OBJECT:
                self.objects([events.event(place)], 0, 1)
                young = self.timeline._young
                continue
            key = heard[place].low
            if not heard[place].bits & TOLD_NARROW:
                key = V6_ + (key << 64)
            time = heard[place].time
            bans = self.around(key, <long long>heard[place].low, heard[place].bits & TOLD_NARROW != 0)
            if heard[place].kind >= HOSTILE_KINDS:
                if bans is not None:
                    self.watched(bans, time, &heard[place], text)
                if heard[place].kind == MAIL:
                    self.mailed(key, time, &heard[place], text)
                else:
                    self.came(key, time, &heard[place], text)
                continue
            kind = KINDS_[heard[place].kind]
            if bans is not None:
                met = False
                for ban in bans:
                    if heard[place].time < <double>ban.until and SCOPES_[heard[place].scope] in ban.covers:
                        met = True
                        ban.stopped += 1
                        self.stopped[kind] = self.stopped.get(kind, 0) + 1
                        break
                if met:
                    continue
            found = PyDict_GetItemWithError(young, key)
            if found == NULL:
                record = self.timeline._find(key, time)
                young = self.timeline._young
            else:
                record = <list?><object>found
            if record[COUNT] == 0:
                record[SINCE] = time
            record[COUNT] = record[COUNT] + 1
            role = self.hostile[heard[place].kind]
            record[COUNTERS] = record[COUNTERS] + role
            if time > record[LAST]:
                record[LAST] = time
        return 0

    cdef int objects(self, list events, Py_ssize_t begin, Py_ssize_t stop) except -1:
        cdef dict young = self.timeline._young
        cdef tuple told
        cdef object source, key, role, kind, time
        cdef list record, bans
        cdef PyObject *found
        cdef int beyond = 0
        cdef long long number
        cdef Py_ssize_t place
        cdef bint hostile, met
        for place in range(begin, stop):
            told = told_by(events[place])
            kind, source = told[0], told[2]
            found = PyDict_GetItemWithError(self.roles, kind)
            if found == NULL or source is None:
                continue
            role = <object>found
            hostile = role is not self.mail and role is not self.login
            time = told[1]
            number = PyLong_AsLongLongAndOverflow(source, &beyond)
            key = source if beyond == 0 or source < V6_ else source >> 64 << 64
            bans = self.around(key, number, beyond == 0)
            if bans is not None:
                met = False
                if not hostile:
                    self.timeline._watched(bans, role, time, told[8], told[5])
                else:
                    for ban in bans:
                        if time < ban.until and told[8] in ban.covers:
                            met = True
                            ban.stopped += 1
                            self.stopped[kind] = self.stopped.get(kind, 0) + 1
                            if self.timeline.tell_stopped is not None:
                                self.timeline.tell_stopped(kind, time)
                            break
                if met:
                    continue
            if hostile:
                found = PyDict_GetItemWithError(young, key)
                if found == NULL:
                    record = self.timeline._find(key, time)
                    young = self.timeline._young
                else:
                    record = <list?><object>found
                if record[COUNT] == 0:
                    record[SINCE] = time
                record[COUNT] = record[COUNT] + 1
                record[COUNTERS] = record[COUNTERS] + role
                if time > record[LAST]:
                    record[LAST] = time
            elif role is self.mail:
                self.accepted(key, time, <dict?>told[5])
            else:
                self.entered(key, time, <dict?>told[5])
        return 0

    cdef list around(self, object key, long long number, bint narrow):
        """`Timeline._bans_around`; None where there is none."""
        cdef PyObject *found
        cdef list bans = None
        cdef int shift
        if not narrow:
            if not self.wide6 and key not in self.hosts:
                return None
            return self.timeline._bans_around(key) or None
        if came_by(self.sieve, <uint64_t>number):
            found = PyDict_GetItemWithError(self.hosts, key)
            if found != NULL:
                bans = with_earlier(bans, <object>found)
        for prefix, by_address in self.wide4.items():
            shift = 32 - prefix
            if came_by(self.sieve, <uint64_t>(number >> shift << shift)):
                found = PyDict_GetItemWithError(by_address, number >> shift << shift)
                if found != NULL:
                    bans = with_earlier(bans, <object>found)
        return bans

    cdef list record(self, object key):
        cdef PyObject *found = PyDict_GetItemWithError(<dict?>self.known.young, key)
        return self.known.find(key) if found == NULL else <list?><object>found

    cdef bint fresh(self, set seen, object key) except *:
        """`key` is new to `seen`, which holds it from now on."""
        cdef object mark = hash(key)
        if mark in seen:
            return False
        if len(seen) >= self.most_pairs:
            seen.clear()
        seen.add(mark)
        return True

    cdef int accepted(self, object key, object time, dict fields) except -1:
        """`Known.mail`."""
        cdef list record = self.record(key)
        record[MESSAGES] = record[MESSAGES] + 1
        if time > record[LAST_MAIL]:
            record[LAST_MAIL] = time
        if record[PAIRS] < self.most and self.fresh(
            self.pairs, (key, fields.get("sender"), fields.get("recipient"))
        ):
            record[PAIRS] = record[PAIRS] + 1
        return 0

    cdef int entered(self, object key, object time, dict fields) except -1:
        """`Known.login`."""
        cdef list record = self.record(key)
        record[LOGINS] = record[LOGINS] + 1
        if time > record[LAST_LOGIN]:
            record[LAST_LOGIN] = time
        if record[ACCOUNTS] < self.most and self.fresh(self.users, (key, fields.get("user"))):
            record[ACCOUNTS] = record[ACCOUNTS] + 1
        return 0

    cdef int watched(self, list bans, object time, const Heard *heard, const uint8_t *texts) except -1:
        """`Timeline._watched`, of a row."""
        cdef object one = None, other = None, tally
        for ban in bans:
            if heard.time >= <double>ban.until:
                tally = ban.after
            elif SCOPES_[heard.scope] in ban.covers:
                tally = ban.during
            else:
                continue  # the ban leaves these ports alone
            if one is None:
                one = words_of(heard, texts, SENDER if heard.kind == MAIL else USER) or ""
            if heard.kind != MAIL:
                tally.login(time, one)
                continue
            if other is None:
                other = words_of(heard, texts, RECIPIENT) or ""
            tally.mail(time, one, other)
        return 0

    cdef int mailed(self, object key, object time, const Heard *heard, const uint8_t *texts) except -1:
        """`accepted`, of a row."""
        cdef list record = self.record(key)
        record[MESSAGES] = record[MESSAGES] + 1
        if time > record[LAST_MAIL]:
            record[LAST_MAIL] = time
        if record[PAIRS] < self.most and self.fresh(
            self.pairs, (key, words_of(heard, texts, SENDER), words_of(heard, texts, RECIPIENT))
        ):
            record[PAIRS] = record[PAIRS] + 1
        return 0

    cdef int came(self, object key, object time, const Heard *heard, const uint8_t *texts) except -1:
        """`entered`, of a row."""
        cdef list record = self.record(key)
        record[LOGINS] = record[LOGINS] + 1
        if time > record[LAST_LOGIN]:
            record[LAST_LOGIN] = time
        if record[ACCOUNTS] < self.most and self.fresh(self.users, (key, words_of(heard, texts, USER))):
            record[ACCOUNTS] = record[ACCOUNTS] + 1
        return 0


cdef object words_of(const Heard *heard, const uint8_t *texts, uint8_t name):
    """A field of a row as text, None where there is none."""
    cdef Text found
    if not field_of(heard, texts, name, &found):
        return None
    return PyUnicode_DecodeUTF8(<const char *>found.at, found.length, "surrogatepass")
