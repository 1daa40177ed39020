"""How much memory this process has needed, and how much it may have."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

LIMIT_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container finds its limit: cgroups of version 2, and of version 1."""


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_limit() -> int:
    """What all processes here may hold together, in bytes: the machine's memory, or its container's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in LIMIT_FILES:
        try:
            said = Path(file).read_text().strip()
        except OSError:
            continue
        # version 2 says "max" where there is none, version 1 a number beyond any machine's
        return min(total, int(said)) if said.isdigit() else total
    return total
