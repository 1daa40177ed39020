"""What a client sent to the split service and might have to send again: nothing of it ever touches a disk."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from common.errors import SplitError
from common.pb import split_pb2 as pb
from common.wire import Rows


@dataclass(eq=False)
class Sent:
    """One micro-batch: payloads (uint8) as they travelled, so that a repetition is the same to the bit.

    Attributes
    ----------
    forward, backward : request numbers; backward is 0 until the gradients are sent.
    input, gradient : payloads (uint8); gradient is None until it is sent.
    """

    id: int
    forward: int
    rows: Rows
    tensor: pb.Tensor
    input: Tensor
    backward: int = 0
    gradient: Tensor | None = None

    @property
    def name(self) -> pb.Micro:
        """For the wire."""
        return pb.Micro(id=self.id, forward=self.forward)


@dataclass(frozen=True)
class Step:
    """An optimiser step that was asked for: its micro-batches in the order of their gradients."""

    step: int
    number: int
    learning_rate: float | None
    micros: tuple[Sent, ...]


@dataclass
class Journal:
    """The steps that the service may lack, and the step under way.

    A step counts as made once it is asked for. The service may not have got it, or a crash may undo it: either way the
    service then stands before it, and it is made again.

    Attributes
    ----------
    step : the one under way. done : its micro-batches whose gradients were taken, in that order.
    past : the steps asked for that a crash could undo, oldest first.
    """

    step: int = 0
    done: list[Sent] = field(default_factory=list)
    past: list[Step] = field(default_factory=list)

    def ask(self, number: int, learning_rate: float | None) -> Step:
        """Ends the step under way: what is done is to be applied by the request of this number."""
        asked = Step(self.step, number, learning_rate, tuple(self.done))
        self.past.append(asked)
        self.step, self.done = self.step + 1, []
        return asked

    def keep(self, durable: int) -> None:
        """Forgets the steps before ``durable``: they outlive a crash of the service."""
        if self.past and self.past[0].step < durable:
            self.past = [step for step in self.past if step.step >= durable]

    def since(self, step: int) -> list[Step]:
        """The past steps to be made again where the service stands at ``step``.

        Raises
        ------
        SplitError : it lost a step that it had promised to keep.
        """
        missing = [past for past in self.past if past.step >= step]
        if len(missing) != self.step - step:
            raise SplitError(
                f"the split service stands at step {step!r} of the round, the client at {self.step!r}",
                "its state folder was not kept; begin the round anew",
            )
        return missing
