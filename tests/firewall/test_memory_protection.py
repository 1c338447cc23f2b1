"""What `MemoryDenyWriteExecute=yes` of the units forbids is needed by nothing that judge and enforcer load.

systemd forbids it by a system call filter; prctl(PR_SET_MDWE), Linux 6.3, forbids the same to one process.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, mmap, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except OSError:
    pass
else:
    sys.exit("memory that is written and executed is not refused: this test shows nothing")

called = []
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
compare = kind(lambda one, other: called.append(1) or 0)
libc.qsort((ctypes.c_int * 3)(3, 2, 1), 3, 4, compare)
assert called, "a callback from C"

from mailguard.core import native
from mailguard.core.prefilter import HyperscanPrefilter
from mailguard.firewall import native as shortest
from mailguard.firewall.libnftables import Nft
try:
    import hyperscan
except ImportError:
    pass
else:
    assert HyperscanPrefilter([b"needle"]).find(bytearray(b"a needle"), 0, 8)
native.there(), shortest.load()
with Nft() as nft:
    nft.run("list ruleset")
from mailguard.firewall.own import own_networks
assert own_networks({})
print("all of it works")
"""


@pytest.mark.kernel
def test_nothing_needs_memory_that_is_written_and_executed(namespace: object) -> None:
    """ctypes callbacks, Hyperscan, the compiled modules, libnftables, pyroute2."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    if done.returncode == 77:
        pytest.skip("this kernel is older than Linux 6.3")
    assert done.stdout == "all of it works\n", done.stderr
