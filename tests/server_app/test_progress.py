"""server_app/progress.py: what the log says of events."""

from __future__ import annotations

import logging

import pytest

from common.events import Refused
from server_app.progress import Progress


def test_what_others_wrote_is_one_harmless_line(caplog: pytest.LogCaptureFixture) -> None:
    reason = "\x1b[2J\x1b]0;owned\x07boom\nINFO :      client toy-0 joined\u202e"
    with caplog.at_level(logging.INFO, logger="flwr"):
        Progress()(Refused("101", "FR400", reason))
    assert caplog.messages == ["node 101 is left out: boom INFO :      client toy-0 joined\ufffd"]
