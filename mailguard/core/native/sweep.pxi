# Housekeeping: which keys of one shard are too old to matter. Included by engine.pyx.


def stale_histories(dict keys, double oldest):
    """`window.stale_histories`."""
    cdef list found = []
    cdef Py_ssize_t size
    for key, value in keys.items():
        size = len(<bytes?>value)
        if size < SIZE:
            raise ValueError("a history of less than one record")
        if time_at(PyBytes_AS_STRING(value) + size - SIZE, 0) < oldest:
            found.append(key)
    return found


def stale_earned(dict keys, double oldest):
    """`standing.stale_earned`."""
    cdef list found = []
    cdef Earned earned
    for key, value in keys.items():
        if len(<bytes?>value) < RECORD_SIZE:
            raise ValueError("a record of standing is cut")
        read_earned(PyBytes_AS_STRING(value), &earned)
        if earned.mail2 < oldest and earned.login2 < oldest:
            found.append(key)
    return found


def stale_logins(dict keys, double oldest):
    """`standing.stale_logins`."""
    cdef list found = []
    cdef double last
    for key, value in keys.items():
        if len(<bytes?>value) != LOGIN_SIZE:
            raise ValueError("a record of a login has another length")
        memcpy(&last, PyBytes_AS_STRING(value) + 8, 8)
        if last < oldest:
            found.append(key)
    return found
