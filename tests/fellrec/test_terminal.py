"""fellrec/terminal.py: titles and messages do not steer a terminal."""

from __future__ import annotations

import io

from fellrec.terminal import Terminal


def test_strings_are_harmless_and_lines_are_as_long_as_they_are() -> None:
    out = io.StringIO()
    Terminal(file=out, width=20).print("\x1b[31mThing\x1b]0;x\x07 [1]\u202e " + "long " * 20, markup=False)
    assert out.getvalue() == "Thing [1]\ufffd " + "long " * 20 + "\n"
