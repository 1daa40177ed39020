from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.cut.history import History

WIDTH = 2


class Plain:
    """A history that moves its rows at once."""

    def __init__(self) -> None:
        self.hidden: Tensor | None = None
        self.positions: Tensor | None = None

    def append(self, hidden: Tensor, positions: Tensor) -> None:
        self.hidden = hidden if self.hidden is None else torch.cat([self.hidden, hidden], 1)
        self.positions = positions if self.positions is None else torch.cat([self.positions, positions], 1)

    def move(self, order: Tensor) -> None:
        self.hidden, self.positions = self.hidden[order], self.positions[order]

    def crop(self, count: int) -> None:
        columns = self.hidden.shape[1] - count
        self.hidden, self.positions = self.hidden[:, :columns], self.positions[:, :columns]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_rows_moved_late_are_those_moved_at_once(data: st.DataObject) -> None:
    history, plain, rows, columns = History(), Plain(), data.draw(st.integers(1, 4)), 0
    for _ in range(data.draw(st.integers(1, 8))):
        what = data.draw(st.sampled_from(["append", "move", "crop"])) if columns else "append"
        if what == "append":
            count = data.draw(st.integers(1, 3))
            hidden = torch.randn(rows, count, WIDTH)
            own = torch.arange(columns, columns + count).expand(rows, -1)
            kind = data.draw(st.sampled_from(["none", "shared", "own"]))
            if kind == "own":
                own = own + torch.arange(rows).unsqueeze(1)
            history.append(hidden, {"none": None, "shared": own[:1], "own": own}[kind])
            plain.append(hidden, own)
            columns += count
        elif what == "move":
            order = torch.tensor(data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=5)))
            history.reorder(order)
            plain.move(order)
            rows = len(order)
        else:
            count = data.draw(st.integers(0, columns - 1))
            history.crop(count)
            plain.crop(count)
            columns -= count
    hidden, positions = history.copy().whole()
    assert history.columns == columns
    assert torch.equal(hidden, plain.hidden)
    assert positions is None or torch.equal(positions, plain.positions)


def test_without_positions_the_model_makes_its_own() -> None:
    history = History()
    history.append(torch.ones(2, 3, WIDTH), None)
    assert history.whole()[1] is None
    history.append(torch.ones(2, 1, WIDTH), torch.tensor([[7], [9]]))
    assert history.whole()[1].tolist() == [[0, 1, 2, 7], [0, 1, 2, 9]]


def test_what_was_sent_cannot_be_changed_afterwards() -> None:
    history, sent = History(), torch.ones(1, 2, WIDTH)
    history.append(sent, None)
    copied = history.copy()
    sent.zero_()
    history.reorder(torch.tensor([0, 0]))
    history.append(torch.ones(2, 1, WIDTH), None)
    assert history.whole()[0].shape == (2, 3, WIDTH) and history.whole()[0].bool().all()
    assert copied.columns == 2 and copied.whole()[0].shape == (1, 2, WIDTH)
