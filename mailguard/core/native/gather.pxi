# Rows of a scan, joined: `Sessions.join` without an object for each line. Included by sessions.pyx.

cdef class Gatherer:
    """Joins the rows of scans for `Sessions`."""

    cdef Joiner joiner
    cdef frozenset concerned
    cdef object sessions, table
    cdef list rules, facts  # `facts`: of the latest table, by its numbers
    cdef dict numbers

    def __init__(self, sessions, Joiner joiner):
        self.sessions, self.joiner, self.concerned = sessions, joiner, frozenset()
        self.rules, self.numbers, self.table, self.facts = [], {}, None, []

    def begin(self):
        """An empty batch, to be filled by `take`."""
        return Told(self.rules)

    def concern(self, concerned):
        """Rules of which several logs tell together."""
        self.concerned, self.table = concerned, None

    cdef int learn(self, object table) except -1:
        """Make the rules of another table ready."""
        cdef Facts facts
        cdef list made = []
        for name, kind, names, proved, keys in table.rules:
            facts = Facts()
            facts.full_name, facts.kind, facts.proved, facts.names = name, kind, proved, tuple(names)
            facts.fields, facts.keys = len(facts.names), keys
            if facts.fields > MOST_FIELDS:
                raise ValueError(f"{name}: more than {MOST_FIELDS} fields")
            for place, field in enumerate(facts.names):
                facts.name[<int>place], facts.sure[<int>place] = FIELD_NUMBERS[field], field in proved
            if (name, proved) not in self.numbers:
                if len(self.rules) >= 0xFFFF:
                    raise OverflowError("more rules than there are numbers")
                self.numbers[name, proved] = len(self.rules)
                self.rules.append((name, proved))
            facts.number = self.numbers[name, proved]
            facts.concerned = name in self.concerned
            uses = self.joiner.uses.get(name)
            facts.uses = uses if uses is not None and len(uses) == keys else None
            made.append(facts)
        self.table, self.facts = table, made
        return 0

    def concerns(self, batch, Py_ssize_t begin, Py_ssize_t stop):
        """Is any of these rows of a rule of which several logs tell together?"""
        cdef bytes rows = batch.rows
        cdef const Row *row = <const Row *>PyBytes_AS_STRING(rows)
        cdef Py_ssize_t place
        if batch.table is not self.table:
            self.learn(batch.table)
        if not 0 <= begin <= stop or <size_t>stop * sizeof(Row) > <size_t>len(rows):
            raise IndexError(stop)
        for place in range(begin, stop):
            if row[place].bits & ROW_OBJECT:
                if self.joiner.concerns([batch.objects[row[place].text]], self.concerned):
                    return True
            elif (<Facts>self.facts[row[place].rule]).concerned:
                return True
        return False

    def take(self, Told told, batch, Py_ssize_t begin, Py_ssize_t stop):
        """The rows of a scan from `begin` up to `stop`, joined and put behind what was told."""
        cdef bytes rows = batch.rows, texts = batch.texts
        cdef const Row *row = <const Row *>PyBytes_AS_STRING(rows)
        cdef Py_ssize_t place
        cdef uint16_t log
        if batch.table is not self.table:
            self.learn(batch.table)
        if not 0 <= begin <= stop or <size_t>stop * sizeof(Row) > <size_t>len(rows):
            raise IndexError(stop)
        if begin == stop:
            return
        name = batch.log
        log = told.log_number(name)
        for place in range(begin, stop):
            if row[place].bits & ROW_OBJECT:
                for event in self.joiner.join([batch.objects[row[place].text]]):
                    told.add(event)
            else:
                self.one(told, &row[place], texts, name, log)

    cdef int one(self, Told told, const Row *row, bytes texts, object log, uint16_t log_number) except -1:
        """One row; the twin of `Joiner.one`."""
        cdef Facts facts = <Facts>self.facts[row.rule]
        cdef Keys read
        cdef Use use
        cdef Open session
        cdef bytes key
        cdef dict fields = None, carried
        cdef object proved = facts.proved
        cdef uint64_t low = row.low, rest = row.rest
        cdef uint8_t bits = row.bits & (ROW_SOURCE | ROW_NARROW | ROW_MAY_BAN), kind = row.kind
        cdef bint said = True, merged = False
        cdef Py_ssize_t place
        cdef long weight = row.weight
        read.at = <const unsigned char *>PyBytes_AS_STRING(texts) + row.text
        read.end = <const unsigned char *>PyBytes_AS_STRING(texts) + len(texts)
        if row.text > <size_t>len(texts):
            raise ValueError("a row without its text")
        if row.bits & ROW_DRAFT:
            if facts.uses is None:
                event = self.joiner.slow(self.draft(facts, row, &read, log))
                if event is not None:
                    told.add(event)
                return 0
            for place in range(facts.fields):
                skip(&read)
            for place in range(len(facts.uses)):
                use = <Use>facts.uses[place]
                key = key_at(&read)
                session = None
                if key is not None:
                    session = use.store.find(key, row.time)
                    if (session is None or not use.tally_) and (use.opens or use.tally_):
                        session = use.store.replace(key, row.time, session)  # whom `find` found is young
                if use.once and session is not None:
                    if facts.full_name in session.seen:
                        said = False
                    else:
                        session.seen = (*session.seen, facts.full_name)
                if session is None:
                    if use.must:
                        said = False
                    continue
                if row.time > session.used:
                    session.used = row.time
                if bits & ROW_SOURCE:
                    if use.opens or session.source is None:
                        session.source = address_of(low, rest, bits)
                elif session.source is not None:
                    bits |= ROW_SOURCE
                    if session.source < V6_:
                        bits |= ROW_NARROW
                        low = session.source
                    else:
                        low, rest = session.source >> 64 & 0xFFFFFFFFFFFFFFFF, session.source & 0xFFFFFFFFFFFFFFFF
                if use.less_ and session.tallies is not None:
                    weight -= <Py_ssize_t>session.tallies.get(use.less, 0)
                if use.tally_:
                    if session.tallies is None:
                        session.tallies = {}
                    session.tallies[use.tally] = min(
                        <Py_ssize_t>session.tallies.get(use.tally, 0) + max(0, row.weight), self.joiner.most
                    )
                if session.fields:
                    if fields is None:
                        fields = self.fields(facts, row, texts)
                    fields = session.fields | fields
                    proved = proved | session.proved
                    merged = True
                if use.carry:
                    if fields is None:
                        carried = self.some(facts, row, texts, use.carry)
                    else:
                        carried = {name: fields[name] for name in use.carry if name in fields}
                    if carried:
                        session.fields = carried if session.fields is None else session.fields | carried
                        session.proved |= proved & carried.keys()
                if use.closes:
                    use.store.drop(key)
                elif use.store.changed is not None:
                    use.store.changed[key] = session
            if weight <= 0:
                kind, weight = ROW_NO_KIND, 1
                for use in facts.uses:
                    if use.otherwise:
                        kind = use.otherwise_
                        break
            if not said or kind == ROW_NO_KIND:
                return 0
            if not bits & ROW_SOURCE and kind < HOSTILE_KINDS:
                self.sessions.lost += 1
                return 0
        elif kind == ROW_NO_KIND:  # no scan of ours gives such a row
            told.add(self.draft(facts, row, &read, log)[0])
            return 0
        if merged:
            self.put_merged(told, fields, proved)
        else:
            self.put(told, facts, texts, row.text)
        heard = &told.heard[told.count]
        heard.time, heard.position, heard.low, heard.rest, heard.weight = row.time, row.position, low, rest, <int32_t>weight
        heard.rule, heard.log, heard.kind, heard.scope, heard.bits = facts.number, log_number, kind, row.scope, bits
        told.count += 1
        return 0

    cdef int put(self, Told told, Facts facts, bytes texts, Py_ssize_t begin) except -1:
        """The fields of a row."""
        cdef Keys read
        cdef int number, fields = 0
        cdef Heard *heard
        cdef unsigned char *into
        cdef uint16_t length
        cdef bytes foreign
        read.at = <const unsigned char *>PyBytes_AS_STRING(texts) + begin
        read.end = <const unsigned char *>PyBytes_AS_STRING(texts) + len(texts)
        for number in range(facts.fields):
            if not next_text(&read):
                continue
            foreign = None
            length = read.length
            if not printable(read.text, length):
                foreign = decode(PyBytes_FromStringAndSize(<const char *>read.text, length)).encode("utf-8", "surrogatepass")
                if len(foreign) > 0xFFFF:
                    raise OverflowError("a field of more than 64 KiB")
                length = <uint16_t>len(foreign)
            heard = told.next(FIELD_HEAD + length)
            if fields == 0:
                heard.text = <uint32_t>told.size
            into = told.texts + told.size
            memcpy(into, &length, 2)
            into[2], into[3] = facts.name[number], facts.sure[number]
            if foreign is None:
                memcpy(into + FIELD_HEAD, read.text, length)
            else:
                memcpy(into + FIELD_HEAD, PyBytes_AS_STRING(foreign), length)
            told.size += FIELD_HEAD + length
            fields += 1
        heard = told.next(0)
        if fields == 0:
            heard.text = <uint32_t>told.size
        heard.fields = <uint8_t>fields
        return 0

    cdef int put_merged(self, Told told, dict fields, object proved) except -1:
        """The fields of a row together with those of its sessions."""
        cdef bytes text
        cdef Heard *heard
        cdef unsigned char *into
        cdef uint16_t length
        cdef uint32_t begin = <uint32_t>told.size
        if len(fields) > 0xFF:
            raise OverflowError("more fields than an event may have")
        for name, value in fields.items():
            text = (<str?>value).encode("utf-8", "surrogatepass")
            if len(text) > 0xFFFF:
                raise OverflowError("a field of more than 64 KiB")
            length = <uint16_t>len(text)
            told.next(FIELD_HEAD + length)
            into = told.texts + told.size
            memcpy(into, &length, 2)
            into[2], into[3] = <uint8_t>FIELD_NUMBERS[name], name in proved
            memcpy(into + FIELD_HEAD, PyBytes_AS_STRING(text), length)
            told.size += FIELD_HEAD + length
        heard = told.next(0)
        heard.text, heard.fields = begin, <uint8_t>len(fields)
        return 0

    cdef dict fields(self, Facts facts, const Row *row, bytes texts):
        """The fields of a row by name."""
        cdef Keys read
        read.at = <const unsigned char *>PyBytes_AS_STRING(texts) + row.text
        read.end = <const unsigned char *>PyBytes_AS_STRING(texts) + len(texts)
        return fields_at(facts, &read)

    cdef dict some(self, Facts facts, const Row *row, bytes texts, tuple names):
        """The fields of a row that have these names."""
        cdef Keys read
        cdef dict found = {}
        cdef int number
        read.at = <const unsigned char *>PyBytes_AS_STRING(texts) + row.text
        read.end = <const unsigned char *>PyBytes_AS_STRING(texts) + len(texts)
        for number in range(facts.fields):
            if next_text(&read) and facts.names[number] in names:
                found[facts.names[number]] = text_in(&read)
        return found if len(found) < 2 else {name: found[name] for name in names if name in found}

    cdef object draft(self, Facts facts, const Row *row, Keys *read, object log):
        """The draft that a row stands for."""
        cdef dict fields = fields_at(facts, read)
        cdef list keys = []
        cdef bytes key
        for _ in range(facts.keys):
            key = key_at(read)
            keys.append(b"" if key is None else key)
        source = address_of(row.low, row.rest, row.bits) if row.bits & ROW_SOURCE else None
        kind = IGNORE if row.kind == ROW_NO_KIND else KINDS_[row.kind]
        event = new_tuple(
            Event,
            (
                kind, row.time, source, facts.full_name, row.weight, fields, log, row.position, SCOPES_[row.scope],
                row.bits & ROW_MAY_BAN != 0, facts.proved, b"",
            ),
        )
        return new_tuple(Draft, (event, tuple(keys)))
