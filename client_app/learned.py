"""What learners answer: measurements, and what training came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.adapters.many import State
from common.messages import Measurement


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured.

    Attributes
    ----------
    parts : Mapping[str, Measurement]
        Measurements by part.
    shares : Sequence[float]
        Own share that each client chose.
    details : Mapping[str, Mapping[str, Sequence[float]]]
        Further numbers of each client, see :data:`common.messages.report.DETAILS`.
    """

    parts: Mapping[str, Measurement]
    shares: Sequence[float]
    details: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Learned:
    """What a round of training came to.

    Attributes
    ----------
    contribution : State
        Tensors or gradients for the server, [clients, ...].
    start : State or None
        What the clients began from, [clients, ...]; None where the contribution is gradients.
    losses, sizes : Sequence[float]
        Mean training loss and number of training examples of each.
    hosted_steps : Sequence[int]
        Steps that each one's hosted adapter must have made; empty where nothing is hosted.
    traffic : Mapping[str, Sequence[float]]
        Bytes to and from hosted layers of each.
    waited : float
        Seconds spent waiting for hosted layers.
    """

    contribution: State
    start: State | None
    losses: Sequence[float]
    sizes: Sequence[float]
    hosted_steps: Sequence[int] = ()
    traffic: Mapping[str, Sequence[float]] = field(default_factory=dict)
    waited: float = 0.0
