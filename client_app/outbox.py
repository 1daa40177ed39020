"""The one door out: whatever leaves a client for the server is built here, from an allow-list by scope.

It fails closed: a tensor without a scope that may leave, a name that the server did not send first, a shape that differs
or a value that is not finite stops the message, not just the tensor.
"""

from __future__ import annotations

from flwr.app import RecordDict
from torch import Tensor

from common.crowd_messages import CrowdReport, CrowdRoster
from common.errors import MessageError, OutboxError
from common.messages import Adapter, EvaluateReport, Roster, TrainReport, check_adapter
from common.scopes import ADAPTER_SCOPE, Scope


class Outbox:
    """Lets reports out for one strategy.

    Parameters
    ----------
    strategy : decides the scope of the trained tensors (``common.scopes``).
    received : the adapter that the server sent: its names and shapes are the allow-list.
    """

    def __init__(self, strategy: str, received: Adapter) -> None:
        self._scope: Scope = ADAPTER_SCOPE[strategy]
        self._received = received

    def adapter(self, trained: dict[str, Tensor]) -> Adapter:
        """The trained tensors that may go, checked.

        Raises
        ------
        OutboxError : the scope forbids it, or a tensor is not what the server may expect.
        """
        if not self._scope.may_leave:
            raise OutboxError(f"trained tensors are {self._scope.value!r} under this strategy and stay here")
        try:
            check_adapter(trained, self._received, "outbox")
        except MessageError as error:
            raise OutboxError(error.message, error.hint) from error
        return {name: tensor.detach().cpu() for name, tensor in trained.items()}


def release(report: TrainReport | EvaluateReport | Roster | CrowdReport | CrowdRoster) -> RecordDict:
    """The record of a report; only these kinds of report exist, and each lists its own fields."""
    return report.to_record()
