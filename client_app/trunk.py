"""The hosted middle layers as one torch module in the client's model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from client_app.generation import RemoteSequence
from client_app.link import SplitLink
from common.errors import SplitError

# the trunks that are asked, in this thread, for the base model alone
_BARE: ContextVar[tuple[RemoteTrunk, ...]] = ContextVar("bare trunks", default=())


class RemoteTrunk(nn.Module):
    """Called as ``trunk(hidden, attention_mask, position_ids)``; has no parameters of its own.

    A client's model that keeps a cache, as in ``generate``, has the service keep one as well.

    With gradients enabled, the hosted adapter learns: every backward leaves its gradients with the service, and
    ``link.step()`` applies them. Without (``torch.no_grad()``), or in evaluation mode, the call leaves no trace.
    """

    def __init__(self, link: SplitLink) -> None:
        super().__init__()
        self.link = link
        # makes autograd come here even where nothing below is trained; no parameter, or an optimiser would find it
        self._anchor = torch.zeros((), requires_grad=True)

    def forward(
        self, hidden: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Hidden states [B,T,H] after the hosted layers; zero where padded.

        Parameters
        ----------
        hidden : Tensor
            Hidden states [B,T,H].
        attention_mask : Tensor or None
            [B,T], 0 where padded, 1 a token, 2 a token with global attention.
        position_ids : Tensor or None
            [B,T] or [1,T].

        Raises
        ------
        SplitError : the service refuses or is out of reach; or in evaluation mode gradients would be cut off here.
        """
        bare = self._bare()
        if self.training and torch.is_grad_enabled():
            if bare:
                raise SplitError("the base model alone is not trained", "call it under torch.no_grad()")
            # torch leaves it without types
            output: Tensor = _Remote.apply(hidden, self._anchor, attention_mask, position_ids, self.link)  # type: ignore[no-untyped-call]
            return output
        if torch.is_grad_enabled() and hidden.requires_grad:
            raise SplitError(
                "gradients would end at the hosted layers, which are in evaluation mode",
                "call train() on the trunk, or evaluate under torch.no_grad()",
            )
        return self.link.infer(hidden, attention_mask, position_ids, bare)

    @contextmanager
    def base(self) -> Iterator[None]:
        """Within it, calls of this thread go through the base model's layers, without the client's hosted adapter."""
        token = _BARE.set((*_BARE.get(), self))
        try:
            yield
        finally:
            _BARE.reset(token)

    def sequence(self) -> RemoteSequence:
        """For a batch that grows.

        Raises
        ------
        SplitError : gradients are enabled in training mode, where the hosted adapter is to learn.
        """
        if self.training and torch.is_grad_enabled():
            raise SplitError("a cache carries no gradients to the hosted layers", "call with use_cache=False")
        return RemoteSequence(self.link, self._bare)

    def _bare(self) -> bool:
        return any(trunk is self for trunk in _BARE.get())


class _Remote(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, anchor: Tensor, mask: Tensor | None, positions: Tensor | None, link: SplitLink
    ) -> Tensor:
        output, ctx.sent = link.forward(hidden, mask, positions)
        ctx.link = link
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found = ctx.link.backward(ctx.sent, gradient, wants_input=ctx.needs_input_grad[0])
        return found, None, None, None, None
