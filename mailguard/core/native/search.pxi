# Finds many literals in one pass. See core/grams.py for the tables and why every third place is enough.

cdef extern from *:
    """
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif
    /* How many line feeds there are. */
    static Py_ssize_t lines_in(const unsigned char *data, Py_ssize_t length) {
        Py_ssize_t at = 0, count = 0;
    #if defined(__SSE2__)
        const __m128i feeds = _mm_set1_epi8(10), none = _mm_setzero_si128();
        while (length - at >= 16) {
            __m128i found = none;
            int step;
            for (step = 0; step < 255 && length - at >= 16; step++, at += 16)
                found = _mm_sub_epi8(
                    found, _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) (data + at)), feeds));
            found = _mm_sad_epu8(found, none);
            count += _mm_cvtsi128_si32(found) + _mm_cvtsi128_si32(_mm_srli_si128(found, 8));
        }
    #else
        while (length - at >= 8) {  /* each byte that is a line feed leaves its highest bit */
            unsigned long long word, low = 0x7F7F7F7F7F7F7F7FULL;
            memcpy(&word, data + at, 8);
            word ^= 0x0A0A0A0A0A0A0A0AULL;
            word = ~(((word & low) + low) | word | low);
            count += (Py_ssize_t) ((word >> 7) * 0x0101010101010101ULL >> 56);
            at += 8;
        }
    #endif
        for (; at < length; at++)
            count += data[at] == 10;
        return count;
    }
    /* The first place in data[at:stop] where `one` stands before `two`, which may stand anywhere before `end`;
       `stop` or more: there is none. */
    static Py_ssize_t pair_at(const unsigned char *data, Py_ssize_t at, Py_ssize_t stop, Py_ssize_t end,
                              int one, int two) {
        if (stop > end - 1)
            stop = end - 1;
    #if defined(__SSE2__)
        {
            const __m128i ones = _mm_set1_epi8((char) one), twos = _mm_set1_epi8((char) two);
            while (stop - at >= 16) {
                __m128i here = _mm_loadu_si128((const __m128i *) (data + at));
                __m128i next = _mm_loadu_si128((const __m128i *) (data + at + 1));
                int found = _mm_movemask_epi8(
                    _mm_and_si128(_mm_cmpeq_epi8(here, ones), _mm_cmpeq_epi8(next, twos)));
                if (found)
                    return at + __builtin_ctz((unsigned int) found);
                at += 16;
            }
        }
    #endif
        while (at < stop) {
            if (data[at] == one && data[at + 1] == two)
                return at;
            at++;
        }
        return end;
    }
    """
    Py_ssize_t lines_in(const unsigned char *data, Py_ssize_t length) nogil
    Py_ssize_t pair_at(const unsigned char *data, Py_ssize_t at, Py_ssize_t stop, Py_ssize_t end, int one,
                       int two) nogil


cdef enum:
    CHUNK = 512
    SHIFT = 12
    KEPT = 1 << 20  # hits for which room is kept from block to block


cdef class Finder:
    """The literals of a `Prefilter`, in one pass and without a call for each hit."""

    cdef readonly str name
    cdef bytes _texts, _bitmap, _slots, _lists, _places, _short
    cdef const unsigned char *texts
    cdef const unsigned char *bitmap
    cdef const int *slots  # gram, first in lists, how many; -1 -1 -1: free
    cdef const int *lists  # literal, place of the gram in it
    cdef const int *places  # of each literal: place in texts, length
    cdef const int *short  # of each short literal: number, two bytes (the second -1: none), their place
    cdef unsigned int slot_mask
    cdef int shorts, words
    cdef unsigned long long *hits
    cdef Py_ssize_t count, room

    def __cinit__(self):
        self.hits = NULL
        self.count = self.room = 0

    def __dealloc__(self):
        free(self.hits)

    def __init__(self, literals):
        """`literals`: as for the other prefilters; none of them empty."""
        self.name = "native"
        if not all(literals):
            raise ValueError("an empty literal")
        tables = make_grams(literals)
        bitmap = bytearray(1 << BITS - 3)
        size = 1 << max(4, (4 * len(tables.table)).bit_length())
        slots = array("i", [-1]) * (3 * size)
        lists = array("i")
        for gram, wanted in tables.table.items():
            place = place_of(gram)
            bitmap[place >> 3] |= 1 << (place & 7)
            slot = place & size - 1
            while slots[3 * slot] >= 0:
                slot = slot + 1 & size - 1
            slots[3 * slot : 3 * slot + 3] = array("i", [int.from_bytes(gram, "little"), len(lists) // 2, len(wanted)])
            for number, at in wanted:
                lists.extend((number, at))
        places = array("i")
        at = 0
        for literal in literals:
            places.extend((at, len(literal)))
            at += len(literal)
        self._texts = b"".join(literals)
        self._bitmap = bytes(bitmap)
        self._slots, self._lists, self._places = slots.tobytes(), lists.tobytes(), places.tobytes()
        self._short = array("i", [number for one in tables.short for number in one]).tobytes()
        self.texts = <const unsigned char *> PyBytes_AS_STRING(self._texts)
        self.bitmap = <const unsigned char *> PyBytes_AS_STRING(self._bitmap)
        self.slots = <const int *> PyBytes_AS_STRING(self._slots)
        self.lists = <const int *> PyBytes_AS_STRING(self._lists)
        self.places = <const int *> PyBytes_AS_STRING(self._places)
        self.short = <const int *> PyBytes_AS_STRING(self._short)
        self.slot_mask = size - 1
        self.shorts = len(tables.short)
        self.words = (len(literals) + 63) // 64

    def find(self, data, Py_ssize_t start, Py_ssize_t end):
        """See `Prefilter.find`."""
        cdef Py_buffer view
        cdef Py_ssize_t at
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            start = max(0, start)
            end = min(end, view.len)
            if start >= end:
                return []
            self.search(<const unsigned char *> view.buf, start, end)
            return [self.hits[at] for at in range(self.count)]
        finally:
            PyBuffer_Release(&view)

    cdef int search(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end) except -1:
        """Fills `hits` with every occurrence inside data[start:end], sorted."""
        cdef Py_ssize_t look = start, at = start, stop, most
        cdef unsigned int value, place
        cdef const unsigned char *bitmap = self.bitmap
        cdef int one
        self.count = 0
        if self.room > KEPT:
            free(self.hits)
            self.hits = NULL
            self.room = 0
        while at < end:
            stop = end if end - at < CHUNK else at + CHUNK
            most = stop if stop < end - 3 else end - 3
            while look < most:
                memcpy(&value, data + look, 4)
                value = little(value) & 0xFFFFFF
                place = (value * <unsigned int> 0x9E3779B1) >> (32 - BITS)
                if bitmap[place >> 3] >> (place & 7) & 1:
                    self.announced(data, start, end, look, value, place)
                look += STRIDE
            if look < stop and end - look == 3:
                value = data[look] | data[look + 1] << 8 | data[look + 2] << 16
                self.announced(data, start, end, look, value, (value * <unsigned int> 0x9E3779B1) >> (32 - BITS))
                look += STRIDE
            for one in range(self.shorts):
                self.search_short(data, start, end, at, stop, self.short + 4 * one)
            at = stop
        return 0

    cdef int announced(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t look,
                       unsigned int gram, unsigned int place) except -1:
        """A gram that may be one of the table stands at `look`: are there literals around it?"""
        cdef unsigned int slot = place & self.slot_mask
        cdef const int *row
        cdef int one, number
        while True:
            row = self.slots + 3 * slot
            if row[0] == <int> gram:
                break
            if row[0] < 0:
                return 0
            slot = slot + 1 & self.slot_mask
        for one in range(row[1], row[1] + row[2]):
            number = self.lists[2 * one]
            self.compare(data, start, end, look - self.lists[2 * one + 1], number)
        return 0

    cdef int search_short(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t at,
                          Py_ssize_t stop, const int *short) except -1:
        """Occurrences of a short literal whose rarest bytes begin inside data[at:stop]."""
        cdef const unsigned char *found
        while at < stop:
            if short[2] >= 0:
                at = pair_at(data, at, stop, end, short[1], short[2])
                if at >= stop:
                    return 0
            else:
                found = <const unsigned char *> memchr(data + at, short[1], stop - at)
                if found == NULL:
                    return 0
                at = found - data
            self.compare(data, start, end, at - short[3], short[0])
            at += 1
        return 0

    cdef inline int compare(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t begin,
                            int number) except -1:
        """Note the literal where it stands at `begin`."""
        cdef int length = self.places[2 * number + 1]
        if begin < start or end - begin < length:
            return 0
        cdef const unsigned char *text = self.texts + self.places[2 * number]
        if data[begin] != text[0] or memcmp(data + begin, text, length) != 0:
            return 0
        return self.note(<unsigned long long> (begin + length) << SHIFT | number)

    cdef int note(self, unsigned long long hit) except -1:
        """Put a hit into its place, which is at the end or a few before it."""
        cdef Py_ssize_t at
        cdef unsigned long long *grown
        if self.count == self.room:
            at = max(1024, 2 * self.room)
            grown = <unsigned long long *> realloc(self.hits, at * sizeof(unsigned long long))
            if grown == NULL:
                raise MemoryError("no room for the hits of a block")
            self.hits = grown
            self.room = at
        at = self.count
        while at > 0 and self.hits[at - 1] > hit:
            self.hits[at] = self.hits[at - 1]
            at -= 1
        self.hits[at] = hit
        self.count += 1
        return 0
