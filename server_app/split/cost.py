"""What a request costs the compute thread, and how long that takes here: the one measure of fairness, rates and memory.

Padding is computed like any token, and attention looks from every cell at every other in its row. So a request is
charged its cells, and what attention costs on top, in cells: ``rows x width x (1 + pair x reach)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from common.pb import split_pb2 as pb
from common.wire import Rows

FACTORS = {pb.OP_STEP: 0, pb.OP_INFER: 1, pb.OP_BACKWARD: 2, pb.OP_FORWARD: 1, pb.OP_PREFILL: 1, pb.OP_DECODE: 1}
"""Passes that an operation is worth; a backward looks at every weight twice."""

SOFTMAX = 32
"""Multiplications that one weight of one head costs beside its two products: exponential, mask, sum and memory."""

REQUEST = 20_000_000
"""Multiplications that a request is worth beside its cells at least, before the shortest pass tells how many: messages,
threads and small operations take time. Without it whoever sends many tiny requests would always be the one who was
served least."""


@dataclass(frozen=True)
class Cost:
    """The charge of requests to one model.

    Attributes
    ----------
    pair : cells that it costs to look from one cell at another. overhead : cells that any request is worth.
    window : cells that a cell looks at on either side; 0 looks at all of its row.
    multiple : a row's width is one of this (Longformer pads to its window).
    positions : cells of a row that the model can tell apart; 0 sets no limit.
    """

    pair: float = 0.0
    overhead: int = 0
    window: int = 0
    multiple: int = 1
    positions: int = 0

    @classmethod
    def of(cls, module: nn.Module) -> Cost:
        """Of hosted layers, from their weights and their configuration; without one, of their cells alone."""
        config = getattr(module, "config", None)
        weights = sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)
        if config is None or not weights:
            return cls()
        windows = getattr(config, "attention_window", None) or 0
        window = max(windows) if isinstance(windows, (list, tuple)) else windows
        each = 2 * config.hidden_size + SOFTMAX * config.num_attention_heads
        positions = getattr(config, "max_position_embeddings", None) or 0
        multiple = max(1, window)
        # a row is padded to a whole window, which is not read
        return cls(
            config.num_hidden_layers * each / weights,
            REQUEST // weights,
            window,
            multiple,
            -(-positions // multiple) * multiple,
        )

    def charge(self, rows: Rows, past: int = 0) -> int:
        """Cells of one pass over ``rows``, behind ``past`` columns that are held already, with attention's."""
        return self._charge(rows.count * rows.width, past + rows.width, len(rows.global_tokens))

    def most(self, cells: int, width: int) -> int:
        """What a request of so many cells is charged at most; its rows have ``width`` columns, with 0 as many as are read."""
        columns = min(width or cells, self.positions or cells, cells)
        return self._charge(cells, columns, columns)

    def _charge(self, cells: int, columns: int, global_tokens: int) -> int:
        reach = min(columns, 2 * self.window + global_tokens) if self.window else columns
        return round(cells * (1 + self.pair * reach))


class Speed:
    """How fast this machine computes: the fastest pass so far tells what a large one will take at least.

    The fastest, since small passes are slow for what they cost, and a client may send as many of them as it likes.
    """

    def __init__(self) -> None:
        self._fastest, self._shortest = 0.0, math.inf

    def note(self, charge: int, seconds: float) -> None:
        """A pass over so many cells took so long."""
        if seconds > 0:
            self._fastest = max(self._fastest, charge / seconds)
            self._shortest = min(self._shortest, seconds)

    def seconds(self, charge: int) -> float:
        """What so many cells will take at least; 0 before anything was measured."""
        return charge / self._fastest if self._fastest else 0.0

    @property
    def overhead(self) -> int:
        """Cells that could have been computed in the shortest pass so far: what any request takes, however small."""
        return round(self._fastest * self._shortest) if self._fastest else 0
