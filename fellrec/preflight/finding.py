"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of a preflight.

    Attributes
    ----------
    check : what was looked at. message : what was found. remedy : what to do about it; empty when all is well.
    """

    check: str
    verdict: Verdict
    message: str
    remedy: str = ""
