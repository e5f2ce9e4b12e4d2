"""How C's allocator treats memory that torch frees on a CPU."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Final

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_LARGEST: Final = 32 << 20  # the most that glibc takes for M_MMAP_THRESHOLD
_KEPT: Final = 1 << 30
_CHOSEN: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def keep_freed_memory() -> bool:
    """Up to 1 GiB of freed memory stays with this process for its next tensors, in place of going back to the system.

    Torch frees the output of each layer, a few MB; by default glibc returns it at once, and the system clears every page
    anew for the next layer, which takes a quarter of the time of a small network. False, and nothing is changed, where the
    C library is another one or where the user has set glibc's own variables (MALLOC_TRIM_THRESHOLD_,
    MALLOC_MMAP_THRESHOLD_, GLIBC_TUNABLES).
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _CHOSEN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
