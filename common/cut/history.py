"""What went through the hosted layers so far: all that is needed to send a cached sequence again."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class _Part:
    """Hidden states [B,T,H] of one call, their positions [B,T], [1,T] or None, and how rows moved after it."""

    hidden: Tensor
    positions: Tensor | None
    order: Tensor | None = None


@dataclass
class History:
    """Hidden states in the order of their columns. Rows are moved only when :meth:`whole` is asked for.

    Attributes
    ----------
    columns : positions of each row so far.
    """

    columns: int = 0
    _parts: list[_Part] = field(default_factory=list)

    def append(self, hidden: Tensor, positions: Tensor | None) -> None:
        """Adds the columns of one call, [B,T,H]; they are copied."""
        self._parts.append(_Part(hidden.detach().clone(), positions))
        self.columns += hidden.shape[1]

    def reorder(self, order: Tensor) -> None:
        """Row i becomes what row ``order[i]`` was; rows may vanish and double."""
        if self._parts:
            last = self._parts[-1]
            last.order = order if last.order is None else last.order[order]

    def crop(self, count: int) -> None:
        """Forgets the last ``count`` columns."""
        self.columns -= count
        while count:
            last = self._parts[-1]
            width = last.hidden.shape[1]
            if width > count:
                last.hidden = last.hidden[:, :-count]
                last.positions = None if last.positions is None else last.positions[:, :-count]
                return
            count -= width
            self._parts.pop()
            if self._parts and last.order is not None:
                self.reorder(last.order)

    def copy(self) -> History:
        """An independent history; the tensors are shared, nobody changes them."""
        return History(self.columns, [_Part(part.hidden, part.positions, part.order) for part in self._parts])

    def whole(self) -> tuple[Tensor, Tensor | None]:
        """Hidden states [B, columns, H] and positions [B, columns], None where no call brought any."""
        with_positions = any(part.positions is not None for part in self._parts)
        hidden, positions, moved, end = [], [], None, self.columns
        for part in reversed(self._parts):
            if part.order is not None:
                moved = part.order if moved is None else part.order[moved]
            rows = torch.arange(len(part.hidden), device=part.hidden.device) if moved is None else moved
            hidden.append(part.hidden if moved is None else part.hidden[moved])
            begin = end - part.hidden.shape[1]
            if with_positions:
                # the positions that a model makes itself are the columns
                own = torch.arange(begin, end, device=rows.device)[None] if part.positions is None else part.positions
                positions.append(own.expand(len(part.hidden), -1)[rows])
            end = begin
        return torch.cat(hidden[::-1], 1), torch.cat(positions[::-1], 1) if with_positions else None
