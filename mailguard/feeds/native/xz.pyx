"""A thread that unpacks an .xz file and never wants the interpreter; see `archives.unxz` and `ahead.Ahead`.

It calls liblzma itself, which is looked for when this module is imported: no header is needed to build it, and
where the library is not there, `possible` says so. The structure and the numbers are those of lzma/base.h and
lzma/container.h, which have stood since 5.0.0 (its soname says that they stand: liblzma.so.5).

Memory safety: the thread knows only `Work`, which no Python object is part of, and which is freed when the thread
is gone. `put` and `taken` count bytes from the file's beginning and only grow; what the thread writes is at most
RING bytes before `taken`, what is copied out lies between `taken` and `put`, and whoever moves one of the two holds
the lock. liblzma is given the room that is free up to the ring's end, never more. A forked child has the memory but
not the thread: there everything is left as it is.
"""

from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

import os
from lzma import LZMAError

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef struct pthread_condattr_t:
        pass
    int pthread_create(pthread_t *thread, const void *attributes, void *(*run)(void *) noexcept, void *given)
    int pthread_join(pthread_t thread, void **result)
    int pthread_mutex_init(pthread_mutex_t *lock, const void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *lock)
    int pthread_mutex_lock(pthread_mutex_t *lock)
    int pthread_mutex_unlock(pthread_mutex_t *lock)
    int pthread_condattr_init(pthread_condattr_t *attributes)
    int pthread_condattr_setclock(pthread_condattr_t *attributes, int clock)
    int pthread_condattr_destroy(pthread_condattr_t *attributes)
    int pthread_cond_init(pthread_cond_t *changed, const pthread_condattr_t *attributes)
    int pthread_cond_destroy(pthread_cond_t *changed)
    int pthread_cond_signal(pthread_cond_t *changed)
    int pthread_cond_wait(pthread_cond_t *changed, pthread_mutex_t *lock)
    int pthread_cond_timedwait(pthread_cond_t *changed, pthread_mutex_t *lock, const timespec *until)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int sigfillset(sigset_t *signals)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)
    int SIG_SETMASK

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *now)
    int CLOCK_MONOTONIC

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *data, size_t size)
    int close(int fd)
    int getpid()

cdef extern from "<errno.h>" nogil:
    int errno
    int EINTR

cdef extern from "<dlfcn.h>" nogil:
    void *dlopen(const char *name, int flags)
    void *dlsym(void *library, const char *name)
    int RTLD_NOW

INTERFACE = 1

cdef struct Stream:     # lzma_stream
    const uint8_t *next_in
    size_t avail_in
    uint64_t total_in
    uint8_t *next_out
    size_t avail_out
    uint64_t total_out
    const void *allocator
    void *internal
    void *reserved_ptr[4]
    uint64_t seek_pos
    uint64_t reserved_int2
    size_t reserved_int3
    size_t reserved_int4
    int reserved_enum1
    int reserved_enum2

ctypedef int (*Decoder)(Stream *stream, uint64_t memory, uint32_t flags) noexcept nogil   # lzma_stream_decoder
ctypedef int (*Code)(Stream *stream, int action) noexcept nogil                           # lzma_code
ctypedef void (*End)(Stream *stream) noexcept nogil                                       # lzma_end

cdef enum:              # lzma_ret, lzma_action
    LZMA_OK = 0
    LZMA_STREAM_END = 1
    LZMA_RUN = 0

cdef enum:
    RAW = 1 << 18       # compressed bytes read at once
    STEP = 1 << 18      # bytes unpacked at once at most
    RING = 8 << 20      # bytes that wait at most; a multiple of STEP
    HELD = 1 << 20      # bytes that are held back until more was unpacked; see `ahead`
    MOST = 1 << 20      # bytes handed out at once at most: RING has room for them, for HELD and for a STEP
    PATIENCE = 100000000  # nanoseconds after which who waits looks for signals

cdef enum State:
    RUNNING
    ENDED               # all of it was unpacked, and every sum is right
    STRANGE             # something is wrong, with the file, the memory or the reading
    WAITING             # nothing to give yet

cdef Decoder _decoder = NULL
cdef Code _code = NULL
cdef End _end = NULL


cdef void _find() noexcept:
    global _decoder, _code, _end
    cdef void *library = dlopen("liblzma.so.5", RTLD_NOW)
    if library is not NULL:
        _decoder = <Decoder> dlsym(library, "lzma_stream_decoder")
        _code = <Code> dlsym(library, "lzma_code")
        _end = <End> dlsym(library, "lzma_end")


_find()
#: liblzma was found, with everything that is used of it.
possible = _decoder is not NULL and _code is not NULL and _end is not NULL


cdef struct Work:
    int fd
    uint8_t *raw            # RAW bytes, of the thread alone
    uint8_t *ring           # RING bytes
    pthread_mutex_t lock    # what follows is looked at and changed under it
    pthread_cond_t more     # there is what was waited for, or never will be
    pthread_cond_t room
    uint64_t put
    uint64_t taken
    uint64_t wanted         # `put` for which the reader waits; 0: it does not
    bint full               # the thread waits for room
    bint stop
    State state


cdef size_t _room(Work *work) noexcept nogil:
    """Room for a step at `put`, waited for; 0 where nobody wants the rest."""
    cdef uint64_t put
    pthread_mutex_lock(&work.lock)
    while RING - (work.put - work.taken) < STEP and not work.stop:
        work.full = True
        pthread_cond_wait(&work.room, &work.lock)
    work.full = False
    put = 0 if work.stop else STEP
    if put > RING - work.put % RING:
        put = RING - work.put % RING
    pthread_mutex_unlock(&work.lock)
    return put


cdef void _made(Work *work, size_t size) noexcept nogil:
    pthread_mutex_lock(&work.lock)
    work.put += size
    if work.wanted and work.put >= work.wanted:
        work.wanted = 0
        pthread_cond_signal(&work.more)
    pthread_mutex_unlock(&work.lock)


cdef State _filled(Work *work, Stream *stream) noexcept nogil:
    """Compressed bytes for the stream, whose last were used; ENDED where there are none."""
    cdef ssize_t count = read(work.fd, work.raw, RAW)
    while count < 0 and errno == EINTR:
        count = read(work.fd, work.raw, RAW)
    if count < 0:
        return STRANGE
    stream.next_in, stream.avail_in = work.raw, count
    return RUNNING if count else ENDED


cdef State _unpacked(Work *work, Stream *stream) noexcept nogil:
    """Unpack the whole file: one stream or several, each right behind the other. Anything else is strange, the
    end of the file in a stream too."""
    cdef size_t room
    cdef State state
    cdef int code
    while True:
        if stream.avail_in == 0:
            state = _filled(work, stream)
            if state != RUNNING:
                return state
        if _decoder(stream, <uint64_t> -1, 0) != LZMA_OK:
            return STRANGE
        stream.avail_out = 1
        code = LZMA_OK
        while code == LZMA_OK:
            # Where there was too little room, more may come without more bytes.
            if stream.avail_in == 0 and stream.avail_out and _filled(work, stream) != RUNNING:
                return STRANGE
            room = _room(work)
            if not room:
                return STRANGE
            stream.next_out, stream.avail_out = work.ring + work.put % RING, room
            code = _code(stream, LZMA_RUN)
            if code == LZMA_OK or code == LZMA_STREAM_END:
                _made(work, room - stream.avail_out)
        if code != LZMA_STREAM_END:
            return STRANGE


cdef void *_run(void *given) noexcept nogil:
    """The thread."""
    cdef Work *work = <Work *> given
    cdef Stream stream
    cdef State state
    memset(&stream, 0, sizeof(stream))
    state = _unpacked(work, &stream)
    _end(&stream)
    pthread_mutex_lock(&work.lock)
    work.state = state
    work.wanted = 0
    pthread_cond_signal(&work.more)
    pthread_mutex_unlock(&work.lock)
    return NULL


cdef bint _started(pthread_t *thread, Work *work) noexcept nogil:
    """Start the thread; signals are for the others."""
    cdef sigset_t all, before
    cdef int failed
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    failed = pthread_create(thread, NULL, _run, work)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    return not failed


cdef Work *_work(int fd) noexcept nogil:
    """NULL without memory."""
    cdef pthread_condattr_t attributes
    cdef Work *work = <Work *> calloc(1, sizeof(Work))
    if work is NULL:
        return NULL
    work.fd, work.state = fd, RUNNING
    work.raw, work.ring = <uint8_t *> malloc(RAW), <uint8_t *> malloc(RING)
    if work.raw is NULL or work.ring is NULL:
        free(work.raw)
        free(work.ring)
        free(work)
        return NULL
    # On Linux none of these fails.
    pthread_mutex_init(&work.lock, NULL)
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(&work.more, &attributes)
    pthread_cond_init(&work.room, NULL)
    pthread_condattr_destroy(&attributes)
    return work


cdef void _freed(Work *work) noexcept nogil:
    """The thread is gone, or never was."""
    pthread_cond_destroy(&work.more)
    pthread_cond_destroy(&work.room)
    pthread_mutex_destroy(&work.lock)
    free(work.raw)
    free(work.ring)
    free(work)


cdef void _stopped(Work *work, pthread_t thread) noexcept nogil:
    pthread_mutex_lock(&work.lock)
    work.stop = True
    pthread_cond_signal(&work.room)
    pthread_mutex_unlock(&work.lock)
    pthread_join(thread, NULL)
    _freed(work)


cdef State _taken(Work *work, uint8_t *data, size_t wanted, size_t *count) noexcept nogil:
    """Copy `wanted` bytes (more than 0, at most MOST), fewer only where there will not be more of them; waits at most
    PATIENCE for them. RUNNING: so many were copied; else why none were."""
    cdef timespec until
    cdef uint64_t at, ready
    cdef size_t first
    cdef State state
    cdef bint late = False
    clock_gettime(CLOCK_MONOTONIC, &until)
    until.tv_nsec += PATIENCE
    if until.tv_nsec >= 1000000000:
        until.tv_sec, until.tv_nsec = until.tv_sec + 1, until.tv_nsec - 1000000000
    pthread_mutex_lock(&work.lock)
    while True:
        at, state, ready = work.taken, work.state, work.put
        if state != ENDED:
            ready = ready - HELD if ready > HELD else 0
        ready = ready - at if ready > at else 0
        if ready >= wanted or state != RUNNING:
            break
        if late:
            state = WAITING
            break
        work.wanted = at + HELD + wanted
        late = pthread_cond_timedwait(&work.more, &work.lock, &until) != 0
    work.wanted = 0
    pthread_mutex_unlock(&work.lock)
    if state == WAITING or not ready:
        return state
    count[0] = min(ready, wanted)
    first = min(count[0], RING - at % RING)
    memcpy(data, work.ring + at % RING, first)
    memcpy(data + first, work.ring, count[0] - first)
    pthread_mutex_lock(&work.lock)
    work.taken += count[0]
    if work.full:
        pthread_cond_signal(&work.room)
    pthread_mutex_unlock(&work.lock)
    return RUNNING


cdef class Unxz:
    """The contents of an .xz file, of one stream or several; of an empty file none. The last mebibyte that was
    unpacked is held back until the end was reached and was right. For one thread at a time."""

    cdef Work *_work
    cdef pthread_t _thread
    cdef int _fd, _process
    cdef bint _busy

    def __cinit__(self):
        self._work = NULL
        self._fd = -1

    def __init__(self, path):
        """Raises OSError, MemoryError."""
        cdef Work *work
        if self._fd >= 0 or not possible:
            raise ValueError("it is open" if possible else "liblzma was not found")
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        work = _work(self._fd)
        if work is NULL:
            raise MemoryError
        if not _started(&self._thread, work):
            _freed(work)
            raise MemoryError("no further thread can be started")
        self._process = getpid()
        self._work = work

    def readinto(self, view):
        """Fill `view`, with 1 MiB at most and with less only at the end; 0 there. Raises LZMAError where anything is
        strange, behind at least all but the last mebibyte that can be unpacked, and whatever a handler of signals
        raises."""
        cdef Py_buffer buffer
        cdef State state = RUNNING
        cdef size_t count = 0, wanted
        if self._work is NULL or self._busy or getpid() != self._process:
            raise LZMAError("it is closed, or read by somebody else")
        PyObject_GetBuffer(view, &buffer, PyBUF_WRITABLE)
        self._busy = True
        try:
            wanted = min(<size_t> buffer.len, <size_t> MOST)
            while wanted:
                with nogil:
                    state = _taken(self._work, <uint8_t *> buffer.buf, wanted, &count)
                if state != WAITING:
                    break
                PyErr_CheckSignals()
        finally:
            self._busy = False
            PyBuffer_Release(&buffer)
        if state == STRANGE:
            raise LZMAError("it cannot be unpacked to its end")
        return count

    def close(self):
        """Stop; the thread is gone when this returns. May be repeated. Raises ValueError where somebody reads."""
        if self._busy:
            raise ValueError("it is being read")
        cdef Work *work = self._work
        cdef int fd = self._fd
        self._work, self._fd = NULL, -1
        if work is not NULL and getpid() == self._process:
            with nogil:
                _stopped(work, self._thread)
        if fd >= 0:
            os.close(fd)

    def __dealloc__(self):
        # The thread wants nothing that is held here, so that it is gone after its step at the latest.
        if self._work is not NULL and getpid() == self._process:
            _stopped(self._work, self._thread)
        if self._fd >= 0:
            close(self._fd)
