# Finds many literals in one pass. See core/grams.py for the tables and why every fourth place is enough.

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
    #define PLACE(value) ((value) * 0x3779B100u >> 16)
    /* A bit for each of 64 places, four bytes apart: whether the three bytes there may be one of the grams. */
    static unsigned long long looks_plain(const unsigned char *data, const unsigned int *bits) {
        unsigned long long found = 0;
        int one;
        for (one = 0; one < 64; one++) {
            unsigned int value;
            memcpy(&value, data + 4 * one, 4);
            value = PLACE(little(value));
            found |= (unsigned long long) (bits[value >> 5] >> (value & 31) & 1) << one;
        }
        return found;
    }
    #if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    #include <immintrin.h>
    __attribute__((target("avx2")))
    static unsigned long long looks_wide(const unsigned char *data, const unsigned int *bits) {
        const __m256i factor = _mm256_set1_epi32(0x3779B100), last = _mm256_set1_epi32(31);
        unsigned long long found = 0;
        int part;
        for (part = 0; part < 8; part++) {
            __m256i place = _mm256_loadu_si256((const __m256i *) (data + 32 * part)), word;
            place = _mm256_srli_epi32(_mm256_mullo_epi32(place, factor), 16);
            word = _mm256_i32gather_epi32((const int *) bits, _mm256_srli_epi32(place, 5), 4);
            word = _mm256_sllv_epi32(word, _mm256_andnot_si256(place, last));  /* its bit becomes the highest */
            found |= (unsigned long long) (unsigned int) _mm256_movemask_ps(_mm256_castsi256_ps(word)) << 8 * part;
        }
        return found;
    }
    __attribute__((target("avx2")))
    static unsigned long long pairs_wide(const unsigned char *data, const int *pairs, int count) {
        const __m256i low = _mm256_loadu_si256((const __m256i *) data);
        const __m256i high = _mm256_loadu_si256((const __m256i *) (data + 32));
        const __m256i low_next = _mm256_loadu_si256((const __m256i *) (data + 1));
        const __m256i high_next = _mm256_loadu_si256((const __m256i *) (data + 33));
        const __m256i none = _mm256_setzero_si256();
        __m256i first_half = none, second_half = none;
        int one;
        for (one = 0; one < count; one++) {
            const __m256i first = _mm256_set1_epi8((char) pairs[4 * one + 1]);
            const __m256i second = _mm256_set1_epi8((char) pairs[4 * one + 2]);
            const __m256i any = pairs[4 * one + 2] < 0 ? _mm256_cmpeq_epi8(none, none) : none;
            first_half = _mm256_or_si256(first_half, _mm256_and_si256(_mm256_cmpeq_epi8(low, first),
                _mm256_or_si256(any, _mm256_cmpeq_epi8(low_next, second))));
            second_half = _mm256_or_si256(second_half, _mm256_and_si256(_mm256_cmpeq_epi8(high, first),
                _mm256_or_si256(any, _mm256_cmpeq_epi8(high_next, second))));
        }
        return (unsigned long long) (unsigned int) _mm256_movemask_epi8(second_half) << 32
            | (unsigned int) _mm256_movemask_epi8(first_half);
    }
    static int has_wide(void) { return __builtin_cpu_supports("avx2"); }
    #else
    #define looks_wide looks_plain
    #define pairs_wide pairs_plain
    static int has_wide(void) { return 0; }
    #endif
    /* How often the three bytes at each place of data[:length] are met, by the place of their bit. */
    static void tally(const unsigned char *data, Py_ssize_t length, unsigned int *counts) {
        Py_ssize_t at;
        for (at = 0; at + 4 <= length; at++) {
            unsigned int value;
            memcpy(&value, data + at, 4);
            counts[PLACE(little(value))]++;
        }
    }
    /* A bit for each of the 64 places from data on: whether one of the pairs stands there. Of each pair pairs[4i + 1]
       is the first byte and pairs[4i + 2] the second, -1: any. The byte behind the last place is looked at, too. */
    static unsigned long long pairs_plain(const unsigned char *data, const int *pairs, int count) {
        unsigned long long found = 0;
        int at, one;
    #if defined(__SSE2__)
        for (one = 0; one < count; one++) {
            const __m128i first = _mm_set1_epi8((char) pairs[4 * one + 1]);
            const __m128i second = _mm_set1_epi8((char) pairs[4 * one + 2]);
            const int any = pairs[4 * one + 2] < 0 ? 0xFFFF : 0;
            for (at = 0; at < 64; at += 16) {
                __m128i here = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) (data + at)), first);
                __m128i next = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) (data + at + 1)), second);
                int both = _mm_movemask_epi8(here) & (_mm_movemask_epi8(next) | any);
                found |= (unsigned long long) (unsigned int) both << at;
            }
        }
    #else
        for (at = 0; at < 64; at++)
            for (one = 0; one < count; one++)
                if (data[at] == pairs[4 * one + 1] && (pairs[4 * one + 2] < 0 || data[at + 1] == pairs[4 * one + 2]))
                    found |= 1ULL << at;
    #endif
        return found;
    }
    """
    Py_ssize_t lines_in(const unsigned char *data, Py_ssize_t length) nogil
    unsigned int PLACE(unsigned int value) nogil
    unsigned long long looks_plain(const unsigned char *data, const unsigned int *bits) nogil
    unsigned long long looks_wide(const unsigned char *data, const unsigned int *bits) nogil
    bint has_wide() nogil
    int lowest "__builtin_ctzll"(unsigned long long) nogil
    void tally(const unsigned char *data, Py_ssize_t length, unsigned int *counts) nogil
    unsigned long long pairs_plain(const unsigned char *data, const int *pairs, int count) nogil
    unsigned long long pairs_wide(const unsigned char *data, const int *pairs, int count) nogil


cdef enum:
    CHUNK = 512
    LOOKS = 64 * STRIDE  # bytes of which 64 places are looked at together
    SHIFT = 12
    KEPT = 1 << 20  # hits for which room is kept from block to block


cdef class Finder:
    """The literals of a `Prefilter`, in one pass and without a call for each hit."""

    cdef readonly str name
    cdef bytes _texts, _bits, _slots, _lists, _places, _short
    cdef const unsigned char *texts
    cdef const unsigned int *bits  # of the places of all grams
    cdef const int *slots  # gram, first in lists, how many; -1 -1 -1: free
    cdef const int *lists  # literal, place of the gram in it
    cdef const int *places  # of each literal: place in texts, length
    cdef const int *short  # of each short literal: number, two bytes (the second -1: none), their place
    cdef unsigned int slot_mask
    cdef int shorts, words
    cdef bint wide  # many places are looked at by one instruction
    cdef unsigned long long *hits
    cdef Py_ssize_t count, room

    def __cinit__(self):
        self.hits = NULL
        self.count = self.room = 0

    def __dealloc__(self):
        free(self.hits)

    def __init__(self, literals, seen=None, bint wide=True):
        """`literals`: as for the other prefilters; none of them empty. `seen`: what `seen_in` gave for a piece of
        the log, for grams that are rare there. `wide`: with the processor's wide instructions, where it has them."""
        self.name = "native"
        if not all(literals):
            raise ValueError("an empty literal")
        self.wide = wide and has_wide()
        tables = make_grams(literals, seen)
        bits = array("I", bytes(1 << BITS - 3))
        size = 1 << max(4, (4 * len(tables.table)).bit_length())
        slots = array("i", [-1]) * (3 * size)
        lists = array("i")
        for gram, wanted in tables.table.items():
            place = place_of(gram)
            bits[place >> 5] |= 1 << (place & 31)
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
        self._bits = bits.tobytes()
        self._slots, self._lists, self._places = slots.tobytes(), lists.tobytes(), places.tobytes()
        self._short = array("i", [number for one in tables.short for number in one]).tobytes()
        self.texts = <const unsigned char *> PyBytes_AS_STRING(self._texts)
        self.bits = <const unsigned int *> PyBytes_AS_STRING(self._bits)
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
        cdef unsigned long long met
        cdef const unsigned int *bits = self.bits
        self.count = 0
        if self.room > KEPT:
            free(self.hits)
            self.hits = NULL
            self.room = 0
        while at < end:
            stop = end if end - at < CHUNK else at + CHUNK
            most = stop if stop < end - 3 else end - 3
            while most - look > LOOKS - STRIDE and end - look >= LOOKS:
                met = looks_wide(data + look, bits) if self.wide else looks_plain(data + look, bits)
                while met:
                    self.announced(data, start, end, look + STRIDE * lowest(met))
                    met &= met - 1
                look += LOOKS
            while look < most:
                memcpy(&value, data + look, 4)
                place = PLACE(little(value))
                if bits[place >> 5] >> (place & 31) & 1:
                    self.announced(data, start, end, look)
                look += STRIDE
            if look < stop and end - look == 3:
                self.announced(data, start, end, look)
                look += STRIDE
            if self.shorts:
                self.search_short(data, start, end, at, stop)
            at = stop
        return 0

    cdef int announced(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t look) except -1:
        """A gram that may be one of the table stands at `look`: are there literals around it?"""
        cdef unsigned int gram = data[look] | data[look + 1] << 8 | data[look + 2] << 16
        cdef unsigned int slot = PLACE(gram) & self.slot_mask
        cdef const int *row
        cdef int one
        while True:
            row = self.slots + 3 * slot
            if row[0] == <int> gram:
                break
            if row[0] < 0:
                return 0
            slot = slot + 1 & self.slot_mask
        for one in range(row[1], row[1] + row[2]):
            self.compare(data, start, end, look - self.lists[2 * one + 1], self.lists[2 * one])
        return 0

    cdef int search_short(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t at,
                          Py_ssize_t stop) except -1:
        """Occurrences of short literals whose rarest bytes begin inside data[at:stop]."""
        cdef const int *short = self.short
        cdef unsigned long long met
        while stop - at >= 64 and end - at > 64:
            met = pairs_wide(data + at, short, self.shorts) if self.wide else pairs_plain(data + at, short, self.shorts)
            while met:
                self.compare_short(data, start, end, at + lowest(met))
                met &= met - 1
            at += 64
        while at < stop:
            self.compare_short(data, start, end, at)
            at += 1
        return 0

    cdef inline int compare_short(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end,
                                  Py_ssize_t at) except -1:
        """The short literals of which the rarest byte stands at `at`."""
        cdef const int *short = self.short
        cdef int one
        for one in range(self.shorts):
            if data[at] == short[1]:
                self.compare(data, start, end, at - short[3], short[0])
            short += 4
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


def seen_in(data, Py_ssize_t start, Py_ssize_t end):
    """How often the grams of data[start:end] are met, for `grams.grams`: a count for each place of the table."""
    cdef Py_buffer view
    counts = array("I", bytes(4 << BITS))
    cdef unsigned int[::1] into = counts
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not 0 <= start <= end <= view.len:
            raise ValueError("a block outside its data")
        tally(<const unsigned char *> view.buf + start, end - start, &into[0])
    finally:
        PyBuffer_Release(&view)
    return counts
