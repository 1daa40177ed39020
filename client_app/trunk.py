"""The hosted middle layers as one torch module in the client's model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from client_app.link import SplitLink
from common.errors import SplitError


class RemoteTrunk(nn.Module):
    """Called as ``trunk(hidden, attention_mask, position_ids)``; has no parameters of its own.

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
        attention_mask : [B,T], 0 where padded, 1 a token, 2 a token with global attention.
        position_ids : [B,T] or [1,T].

        Raises
        ------
        SplitError : the service refuses or is out of reach; or in evaluation mode gradients would be cut off here.
        """
        if self.training and torch.is_grad_enabled():
            return _Remote.apply(hidden, self._anchor, attention_mask, position_ids, self.link)
        if torch.is_grad_enabled() and hidden.requires_grad:
            raise SplitError("gradients would end at the hosted layers, which are in evaluation mode",
                             "call train() on the trunk, or evaluate under torch.no_grad()")  # fmt: skip
        return self.link.infer(hidden, attention_mask, position_ids)


class _Remote(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, hidden: Tensor, anchor: Tensor, mask: Tensor | None, positions: Tensor | None, link: SplitLink
    ) -> Tensor:
        output, ctx.sent = link.forward(hidden, mask, positions)
        ctx.link = link
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.link.backward(ctx.sent, gradient, wants_input=ctx.needs_input_grad[0]), None, None, None, None
