# The records behind an offence. Included by engine.pyx.


def unfold(bytes buffer, indexes, Py_ssize_t most, dict rules, dict logs):
    """`offences.unfold`."""
    cdef Py_ssize_t size = len(buffer) // SIZE, index, place, count = len(indexes)
    cdef const char *data = PyBytes_AS_STRING(buffer)
    cdef set kinds = set()
    cdef int scope = 0
    cdef dict seen = {}
    cdef list values = [], evidence = []
    cdef uint64_t value
    cdef int64_t position
    cdef uint16_t log, rule
    for place in range(count - 1, -1, -1):
        index = indexes[place]
        if not 0 <= index < size:
            raise IndexError(index)
        kinds.add(kind_at(data, index))
        scope = max(scope, flags_at(data, index) & SCOPE)
        value = value_at(data, index)
        if value and value not in seen:
            seen[value] = None
        if count - place <= most:
            memcpy(&position, data + index * SIZE + 8, 8)
            memcpy(&log, data + index * SIZE + 24, 2)
            memcpy(&rule, data + index * SIZE + 26, 2)
            evidence.append(
                new_tuple(
                    Evidence,
                    (
                        time_at(data, index), rules.get(rule, UNNAMED), logs.get(log, UNNAMED), position,
                        weight_at(data, index),
                    ),
                )
            )
    evidence.reverse()
    values = list(seen)
    values.reverse()
    return kinds, scope, values, tuple(evidence)
