"""Memory that nobody uses goes back to the system: the C library keeps it otherwise, as much as ever was in use."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
"""glibc's number of the option, from ``malloc.h``."""

ARENAS = 2
"""Heaps from which all threads allocate. Each keeps what was freed in it, and by default there are eight a core: so many
times the largest message stay behind once enough sessions have sent one."""


def few_arenas() -> bool:
    """Keeps this process to few heaps from now on; whether the C library has a way to (glibc has)."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS))
    except (AttributeError, OSError, TypeError):
        return False


def give_back() -> bool:
    """Gives the system what is free; whether the C library has a way to (glibc has)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    trim(0)
    return True
