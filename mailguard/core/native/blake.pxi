# BLAKE2b with a key and a digest of 8 bytes (RFC 7693): what `names.Hasher` asks hashlib for, at a sixth of the
# price. Included by engine.pyx. The compression takes exactly one block of 128 bytes from a local buffer; the
# only outside data is the message, whose length comes with it.

cdef extern from *:
    """
    static const uint64_t MG_IV[8] = {
        0x6A09E667F3BCC908ULL, 0xBB67AE8584CAA73BULL, 0x3C6EF372FE94F82BULL, 0xA54FF53A5F1D36F1ULL,
        0x510E527FADE682D1ULL, 0x9B05688C2B3E6C1FULL, 0x1F83D9ABFB41BD6BULL, 0x5BE0CD19137E2179ULL};

    static const uint8_t MG_SIGMA[12][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
        {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
        {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
        {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
        {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3}};

    #define MG_ROT(x, n) (((x) >> (n)) | ((x) << (64 - (n))))
    #define MG_G(a, b, c, d, x, y) \\
        a += b + (x); d = MG_ROT(d ^ a, 32); c += d; b = MG_ROT(b ^ c, 24); \\
        a += b + (y); d = MG_ROT(d ^ a, 16); c += d; b = MG_ROT(b ^ c, 63)

    /* One block of 128 bytes into the state of 8 words; `total` bytes were taken so far, this block included. */
    static void mg_blake2b(uint64_t *h, const uint8_t *block, uint64_t total, int last) {
        uint64_t v[16], m[16];
        int i;
        for (i = 0; i < 16; i++) {
            int k;
            m[i] = 0;
            for (k = 7; k >= 0; k--) m[i] = m[i] << 8 | block[8 * i + k];
        }
        for (i = 0; i < 8; i++) { v[i] = h[i]; v[i + 8] = MG_IV[i]; }
        v[12] ^= total;
        if (last) v[14] = ~v[14];
        for (i = 0; i < 12; i++) {
            const uint8_t *s = MG_SIGMA[i];
            MG_G(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
            MG_G(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
            MG_G(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
            MG_G(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
            MG_G(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
            MG_G(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
            MG_G(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
            MG_G(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
        }
        for (i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
    }
    """
    const uint64_t[8] MG_IV
    void mg_blake2b(uint64_t *h, const uint8_t *block, uint64_t total, int last) nogil

cdef enum:
    BLOCK = 128
    REMEMBERED = 4096  # texts whose hash is at hand
    LONGEST = 128  # longer ones are not remembered
    SHORT = 54  # of those that come as bytes

cdef struct Hashed:  # 64 bytes: a text that came as bytes
    uint64_t value  # 0: none
    uint8_t size
    uint8_t[SHORT + 1] text


cdef class Hashing:
    """Text -> 64-bit keyed hash, equal to `names.Hasher` of the same secret."""

    cdef object fallback  # the Hasher itself, for what is not ASCII
    cdef uint64_t[8] keyed  # the state after the block of the key
    cdef bint has_key
    cdef list texts
    cdef uint64_t[REMEMBERED] values
    cdef Hashed[REMEMBERED] near

    def __init__(self, object hasher, bytes secret):
        cdef uint8_t[BLOCK] block
        cdef Py_ssize_t i, size = len(secret)
        if size > 64:
            raise ValueError("a key of BLAKE2b has at most 64 bytes")
        self.fallback = hasher
        self.has_key = size > 0
        self.texts = [None] * REMEMBERED
        memset(self.near, 0, sizeof(self.near))
        for i in range(8):
            self.keyed[i] = MG_IV[i]
        self.keyed[0] ^= 0x01010000 ^ (<uint64_t>size << 8) ^ 8
        memset(block, 0, BLOCK)
        for i in range(size):
            block[i] = secret[i]
        if self.has_key:
            mg_blake2b(self.keyed, block, BLOCK, 0)

    cdef uint64_t plain(self, const uint8_t *text, Py_ssize_t size) noexcept:
        """The hash of `size` > 0 ASCII bytes, their letter case left out."""
        cdef uint64_t[8] h
        cdef uint8_t[BLOCK] block
        cdef Py_ssize_t done = 0, part, i
        cdef uint64_t total = BLOCK if self.has_key else 0
        cdef uint8_t char
        for i in range(8):
            h[i] = self.keyed[i]
        while True:
            part = size - done if size - done < BLOCK else BLOCK
            for i in range(part):
                char = text[done + i]
                block[i] = char + 32 if 65 <= char <= 90 else char
            for i in range(part, BLOCK):
                block[i] = 0
            done += part
            total += part
            mg_blake2b(h, block, total, done == size)
            if done == size:
                return h[0] if h[0] else 1

    cdef uint64_t of(self, str text) except? 0:
        """The hash of `text`; never 0."""
        cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text)
        cdef Py_hash_t place
        cdef object known
        cdef uint64_t value
        if size == 0 or not PyUnicode_IS_COMPACT_ASCII(text):
            return self.fallback[text]
        if size > LONGEST:
            return self.plain(<const uint8_t *>PyUnicode_1BYTE_DATA(text), size)
        place = hash(text) & (REMEMBERED - 1)
        known = self.texts[place]
        if known is not None and <str>known == text:
            return self.values[place]
        value = self.plain(<const uint8_t *>PyUnicode_1BYTE_DATA(text), size)
        self.texts[place] = text
        self.values[place] = value
        return value

    cdef uint64_t at(self, const uint8_t *text, Py_ssize_t size) except? 0:
        """The same of text in UTF-8."""
        cdef Hashed *near
        cdef uint64_t mixed = <uint64_t>size, word
        cdef Py_ssize_t done = 0
        if not 0 < size <= SHORT:
            return self.once(text, size)
        while size - done >= 8:
            memcpy(&word, text + done, 8)
            mixed = (mixed ^ word) * 0x9E3779B97F4A7C15ull
            mixed ^= mixed >> 32
            done += 8
        word = 0
        memcpy(&word, text + done, size - done)
        mixed = (mixed ^ word) * 0x9E3779B97F4A7C15ull
        near = &self.near[mixed >> 52]
        if near.size == size and near.value and memcmp(near.text, text, size) == 0:
            return near.value
        word = self.once(text, size)
        near.value, near.size = word, <uint8_t>size
        memcpy(near.text, text, size)
        return word

    cdef uint64_t once(self, const uint8_t *text, Py_ssize_t size) except? 0:
        """The same; it is not remembered."""
        cdef Py_ssize_t at
        if size == 0:
            return self.fallback[""]
        for at in range(size):
            if text[at] & 0x80:
                return self.fallback[str_of(text, size)]
        return self.plain(text, size)
