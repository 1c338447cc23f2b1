# What a row of the events is. Included by trying.pyx.

cdef enum:
    NONE = 0xFFFFFFFF  # no source
    UNKNOWN = 0xFFFFFFFF  # not worked out yet
    NOTHING = 0xFFFFFFFE  # an empty text
    MAIL_KIND = 1  # what a row is for standing and for the timeline
    LOGIN_KIND = 2
    HOSTILE_KIND = 4
    WANTED = 8  # some detector may count it
    UNTRUSTED = 0x04  # as in window.py
    KNOWN = 0x08
    HEAVY = 0x80
    SCOPE = 0x03
    BUCKET = 0xFF ^ 0x03 ^ 0x80
    NO_DOMAIN = 1
    EXTRAS = 2  # forms of key besides the four of every policy
    ON_SOURCE = 0
    ON_NETWORK = 1
    ON_USER = 2
    ON_BOTH = 3
    ON_EXTRA = 4

cdef struct Hot:  # what decides whether a row is only counted
    double clock
    uint32_t source
    uint8_t scope, role

cdef struct Row:
    double time, clock
    double midnight  # when the day of `time` began (UTC); only of what speaks for somebody
    uint32_t source, network
    uint32_t user, both, both_alias, both_short  # 0: none; a name, and names with the network
    uint32_t value, short_value  # what a record by source carries; the name for short
    uint32_t person  # account of a login (0: none), domain of a sender (NO_DOMAIN: none)
    uint32_t[EXTRAS] extra
    uint16_t weight
    uint8_t kind, role, flags, conditions
    uint8_t valued  # the source can be told in 64 bits
    uint8_t lanes  # a bit for each form of key: something could fire for its key
