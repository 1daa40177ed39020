"""What a client's link to the split service means to talk to, and how long it tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from common.wire import Codec

Guard = Callable[[Tensor], Tensor]
"""What is done to hidden states and to gradients, packed rows [tokens, H], before anything of them is encoded and leaves."""


@dataclass(frozen=True)
class LinkSettings:
    """What the client means to talk to, and how long it tries.

    Attributes
    ----------
    digest, config : str
        Digests of the model's weights and of its configuration; a service that hosts another model refuses.
    k, m : int
        The model's cut; a service that cuts elsewhere refuses.
    hidden_size : int
        Width of the model's hidden states.
    codec : Codec
        Codec of hidden states and gradients, both ways.
    training : bool
        Whether the link trains; inference needs no open round.
    reply_seconds : float
        Seconds to wait for one reply.
    attempts : int
        Attempts in a row without success, before giving up.
    first_wait, longest_wait : float
        Seconds between attempts; each is twice the one before.
    guard : callable
        What is applied to all that goes up, hidden states and gradients, in the one place before encoding.
    """

    digest: str
    k: int
    m: int
    hidden_size: int
    codec: Codec = Codec.FP32
    training: bool = True
    reply_seconds: float = 120.0
    attempts: int = 60
    first_wait: float = 0.05
    longest_wait: float = 1.0
    config: str = ""
    guard: Guard = lambda rows: rows
