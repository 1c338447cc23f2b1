"""libnftables by ctypes: runs nft text as one transaction, in this process.

Debian: package libnftables1. The functions are those of nftables/libnftables.h; a context holds one netlink
socket in the network namespace in which it was made.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools

_NAMES = ("libnftables.so.1", "libnftables.so")


class NftError(Exception):
    """libnftables is missing, or refused the text; `str()` is its own words."""


@functools.cache
def _library() -> ctypes.CDLL:
    for name in (*_NAMES, ctypes.util.find_library("nftables")):
        if not name:
            continue
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_free.argtypes = [ctypes.c_void_p]
        library.nft_ctx_free.restype = None
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.nft_run_cmd_from_buffer.restype = ctypes.c_int
        for stream in ("output", "error"):
            buffer = getattr(library, f"nft_ctx_buffer_{stream}")
            buffer.argtypes = [ctypes.c_void_p]
            buffer.restype = ctypes.c_int
            read = getattr(library, f"nft_ctx_get_{stream}_buffer")
            read.argtypes = [ctypes.c_void_p]
            read.restype = ctypes.c_char_p
        library.nft_ctx_set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
        library.nft_ctx_set_dry_run.restype = None
        return library
    raise NftError("libnftables is not installed (Debian: apt install libnftables1)")


class Nft:
    """One context. Not for several threads at once."""

    def __init__(self) -> None:
        self._library = _library()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise NftError("libnftables made no context")
        buffers = (self._library.nft_ctx_buffer_output, self._library.nft_ctx_buffer_error)
        if any(buffer(self._context) for buffer in buffers):
            raise NftError("libnftables has no memory for its buffers")

    def run(self, script: str, dry: bool = False) -> str:
        """Run `script`, all or nothing; its output. `dry`: the kernel checks it and takes nothing.

        Raises NftError with the first line of what libnftables says.
        """
        self._library.nft_ctx_set_dry_run(self._context, dry)
        failed = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        words = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            lines = words.decode(errors="replace").strip().splitlines()
            raise NftError(lines[0] if lines else "libnftables failed without a word")
        return bytes(output).decode(errors="replace")

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def __enter__(self) -> Nft:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
