"""Which fellrec this is: a version, and a digest of the sources that both apps load.

Flower may run a ClientApp from another checkout's files (a long-lived SuperLink keeps its first directory on the import
path), so the server sends its digest and a client of another refuses to work.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

VERSION = "0.1.0"


@cache
def source_digest() -> str:
    """SHA-256 over the Python sources of ``common`` and ``client_app``, as they were loaded."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for room in ("client_app", "common"):
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def app_identity() -> str:
    """What a client compares: version and the first half of the source digest."""
    return f"{VERSION}+{source_digest()[:32]}"
