"""fellrec/live/tail.py: what was written since the last look, once, whatever becomes of the file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fellrec.live.tail import Tail


def test_events_come_once_and_a_line_that_is_being_written_later(tmp_path: Path) -> None:
    path, tail = tmp_path / "events.jsonl", Tail()
    assert tail.look(None) == [] and tail.look(path) == [] and tail.generation == 0
    path.write_text('{"n": 1}\n{"n": 2')
    assert tail.look(path) == [{"n": 1}] and tail.generation == 1
    assert tail.look(path) == []
    with path.open("a") as file:
        file.write('}\n{"n": 3}\n')
    assert tail.look(path) == [{"n": 2}, {"n": 3}] and tail.generation == 1


def test_lines_that_are_no_json_are_counted(tmp_path: Path) -> None:
    path, tail = tmp_path / "events.jsonl", Tail()
    path.write_bytes(b'{"n": 1}\n\xff\n{\n' + b"[" * 100_000 + b"\n7\n")
    assert tail.look(path) == [{"n": 1}, 7] and tail.damaged == 3


def test_a_file_that_was_replaced_or_cut_begins_anew(tmp_path: Path) -> None:
    path, tail = tmp_path / "events.jsonl", Tail()
    path.write_text("1\n2\n")
    tail.look(path)
    (tmp_path / "copy").write_text("1\n2\n3\n")
    os.replace(tmp_path / "copy", path)
    assert tail.look(path) == [1, 2, 3] and tail.generation == 2
    path.write_text("1\n")
    assert tail.look(path) == [1] and tail.generation == 3
    other = tmp_path / "other"
    other.write_text("9\n")
    assert tail.look(other) == [9] and tail.generation == 4


@given(st.lists(st.text(max_size=8), max_size=8), st.data())
def test_cuts_at_any_byte_lose_and_double_nothing(tmp_path_factory, values: list[str], data: st.DataObject) -> None:  # noqa: ANN001
    path, tail = tmp_path_factory.mktemp("tail") / "events.jsonl", Tail()
    whole = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        with path.open("ab") as file:
            file.write(whole[begin:end])
        found += tail.look(path)
    assert found == values and tail.damaged == 0
