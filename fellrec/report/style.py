"""The style sheet, as it stands inline in a page, and how a policy allows just that."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def allowed(content: str) -> str:
    """The source expression by which a content security policy allows this very inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
