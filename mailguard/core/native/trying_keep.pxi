# Which rows can matter, once all have come. Included by trying.pyx.

cdef tuple spoken_for(Events events):
    """Keys of the sources and of the networks that anything speaks for, and how many users at networks, and
    users, that is."""
    cdef Py_ssize_t i
    cdef Row *row
    cdef bytearray sources = bytearray(len(events.sources.keys)), networks = bytearray(len(events.sources.network_keys))
    cdef bytearray pairs = bytearray(events.keys("user+network")), users = bytearray(events.keys("user"))
    for i in range(events.count):
        row = events.rows + i
        if row.role & (MAIL_KIND | LOGIN_KIND):
            sources[row.source] = 1
            networks[row.network] = 1
            if row.role & LOGIN_KIND and row.user:
                pairs[row.both] = pairs[row.both_short] = users[row.user] = 1
    return (
        [key for key, there in zip(events.sources.keys, sources) if there],
        [key for key, there in zip(events.sources.network_keys, networks) if there],
        sum(pairs),
        sum(users),
    )


cdef int keep_rows(Events events, dict live) except -1:
    """Leave out the rows that can matter to no figure where `live` tells, for each form of key, which keys
    something could fire for (a byte each).

    A source can be banned if it took part in what could fire, or lives in a network that could. Of others no
    hostile event matters but that they were never caught; nor does what speaks for somebody in networks
    where nobody can be banned, unless a login could end a sequence. The clock stands in each row."""
    cdef Py_ssize_t i, kept = 0
    cdef Row *row
    cdef bytes by_source = live.get("source", b""), by_network = live.get("network", b"")
    cdef bytes by_user = live.get("user", b""), by_both = live.get("user+network", b"")
    cdef list others = [live.get(form, b"") for form in events.extras]
    cdef bytearray guilty = bytearray(len(events.sources.keys)), around = bytearray(len(events.sources.network_keys))
    cdef bytearray silent = bytearray(len(events.sources.keys))
    cdef int at
    for i in range(events.count):
        row = events.rows + i
        row.lanes = 0
        if alive(by_source, row.source):
            row.lanes |= 1 << ON_SOURCE
        if alive(by_network, row.network):
            row.lanes |= 1 << ON_NETWORK
        if row.user and alive(by_user, row.user):
            row.lanes |= 1 << ON_USER
        if row.both and alive(by_both, row.both):
            row.lanes |= 1 << ON_BOTH
        for at in range(len(others)):
            if row.extra[at] and alive(<bytes>others[at], row.extra[at]):
                row.lanes |= 1 << ON_EXTRA + at
        if row.lanes and row.role & WANTED or row.lanes >> ON_NETWORK & 1:
            guilty[row.source] = 1
            around[row.network] = 1
    for i in range(events.count):
        row = events.rows + i
        if (
            guilty[row.source] and row.role & (HOSTILE_KIND | WANTED)
            or row.role & WANTED and row.lanes
            or row.role & LOGIN_KIND and row.lanes
            or row.role & (LOGIN_KIND | MAIL_KIND) and around[row.network]
        ):
            events.rows[kept] = row[0]
            kept += 1
        elif row.role & HOSTILE_KIND:
            silent[row.source] = 1
    events.count = kept
    events.quiet = sum(silent)
    number_anew(events, by_both)
    return 0


cdef int number_anew(Events events, bytes by_both) except -1:
    """Number anew the pairs of user and network that matter: those that could fire, and those that a login
    speaks for. The others (one for each guess of a name) get no number; and `hot` is made."""
    cdef Py_ssize_t i
    cdef Row *row
    cdef uint32_t number = 0
    cdef bytearray told = bytearray(events.names.pairs.count + 1)  # 1: by a login
    cdef uint32_t *numbers = <uint32_t *>PyMem_Calloc(len(told), sizeof(uint32_t))
    cdef void *less
    if numbers == NULL:
        raise MemoryError
    for i in range(events.count):
        row = events.rows + i
        if row.role & LOGIN_KIND:
            told[row.both] = told[row.both_short] = 1
    for i in range(1, len(told)):
        if told[i] or alive(by_both, i):
            number += 1
            numbers[i] = number
    for i in range(events.count):
        row = events.rows + i
        row.both, row.both_alias, row.both_short = (
            numbers[row.both], numbers[row.both_alias], numbers[row.both_short]
        )
    PyMem_Free(numbers)
    events.pairs_kept = number + 1
    less = PyMem_Realloc(events.rows, max(1, events.count) * sizeof(Row))
    if less != NULL:
        events.rows, events.room = <Row *>less, events.count
    events.hot = <Hot *>PyMem_Malloc(max(1, events.count) * sizeof(Hot))
    if events.hot == NULL:
        raise MemoryError
    for i in range(events.count):
        row = events.rows + i
        events.hot[i].clock, events.hot[i].source, events.hot[i].role = row.clock, row.source, row.role
        events.hot[i].scope = row.flags & SCOPE
    events.names.close()
    events.sources.close()
    return 0


cdef inline bint alive(bytes live, Py_ssize_t key) except *:
    return key < len(live) and live[key] != 0
