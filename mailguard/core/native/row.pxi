# What a line told, as plain bytes: the scan writes such rows; sessions, engine and timeline may read them. What is
# not common (a line that the Python path read) stands beside them as an object.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    # bits of a row
    ROW_SOURCE = 1  # it has a source
    ROW_NARROW = 2  # which is an IPv4 address
    ROW_MAY_BAN = 4
    ROW_DRAFT = 8  # behind its fields stand the keys of its sessions
    ROW_OBJECT = 16  # it is the object number `text` of the batch; only its time stands here
    ROW_ABSENT = 0xFFFF  # as a length: a field that was not captured
    ROW_NO_KIND = 0xFF


cdef struct Row:
    # Behind `text` stand, for each field of the rule in its order, a length of two bytes and as many bytes of the
    # line; then, of a draft, for each session the same of its key, which is empty where the line names no session.
    double time
    int64_t position
    uint64_t low  # an IPv4 address, or the upper half of an IPv6 address
    uint64_t rest  # the lower half of an IPv6 address
    uint32_t text  # place in the texts of the batch
    int32_t weight
    uint16_t rule  # number in the table
    uint8_t kind, scope  # numbers of kind and scope
    uint8_t bits
    uint8_t spare[3]
