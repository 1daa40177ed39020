"""common/line.py: what others sent is told in one line."""

from __future__ import annotations

import pickle

from client_app.stream import Broken
from common.line import LINE, line
from common.wire import Refused


def test_a_text_becomes_one_line() -> None:
    assert line("a text") == "a text" and line("") == ""
    assert line("x" * LINE) == "x" * LINE
    assert line("x" * 4_000_000) == "x" * (LINE - 3) + "..."
    assert line("one\ntwo\x1b[31m\u2028\ud800") == "one?two?[31m??"


def test_no_refusal_is_longer_whoever_makes_it() -> None:
    refused = Refused("shape is " + "9" * 4_000_000, "\n" * 4_000_000)
    assert len(refused.message) == LINE and len(refused.hint) == LINE and len(str(refused)) < 3 * LINE
    again = pickle.loads(pickle.dumps(refused))  # noqa: S301
    assert again.message == refused.message and again.status == refused.status
    assert Broken("a text").passing
