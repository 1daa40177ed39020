"""Who is here: new nodes are asked for their clients, and nodes that left take theirs along."""

from __future__ import annotations

import time
from typing import Protocol

from flwr.app import Message, MessageType, RecordDict

from common.config import FederationConfig
from common.errors import FellrecError, MessageError, RunError
from common.events import EventLog, Refused
from common.messages import Hello
from common.version import app_identity
from server_app.failures import failure
from server_app.transport import Transport

FIRST_ANSWER_WITHIN = 600.0
"""Seconds that a node may take before the first round: in simulation one of them deals the data to the clients."""

ANSWER_WITHIN = 60.0
"""Seconds that a node may take between rounds: nobody waits longer for a newcomer."""


class Register(Protocol):
    """Who is known, by the nodes that host them."""

    def here(self) -> int:
        """How many clients are present."""

    def depart(self, present: set[int]) -> None:
        """Notes that of all known nodes only these are left."""

    def admit(self, node: int, answer: RecordDict) -> None:
        """Takes in the clients that a node told of; raises FellrecError for those that cannot take part."""


class RollCall:
    """Keeps a register in step with the nodes that Flower sees.

    A node that answers is asked once. One that fails is named once, and asked again before the next round: a node that
    came back may be listed beside its dead self for a while.
    """

    def __init__(self, transport: Transport, register: Register, config: FederationConfig, log: EventLog) -> None:
        self._transport, self._register, self._config, self._log = transport, register, config, log
        self._answered: set[int] = set()
        self._named: set[tuple[int, str]] = set()

    def first(self) -> None:
        """Waits for ``federation.min-clients`` clients, as long as ``federation.nodes-timeout`` allows.

        Raises
        ------
        RunError : nobody came in time that can take part.
        """
        self._until(self._config.min_clients, FIRST_ANSWER_WITHIN)
        if not self._register.here():
            answered = sorted({reason for _, reason in self._named})
            raise RunError(
                f"no node hosts a client that can take part, after {self._config.nodes_timeout:g} s"
                + (f"; {len(self._named)} answers were refused, such as: {answered[0]:.300}" if answered else ""),
                "mend what the nodes answered, their own logs say it in full"
                if answered
                else "start SuperNodes, or raise 'federation.nodes-timeout'",
            )

    def again(self) -> None:
        """Notes who left and who came; where everybody is away, waits for somebody to come back."""
        self._look(ANSWER_WITHIN)
        if not self._register.here():
            self._until(1, ANSWER_WITHIN)

    def _until(self, wanted: int, within: float) -> None:
        deadline = time.monotonic() + self._config.nodes_timeout
        self._look(within)
        while self._register.here() < wanted and time.monotonic() < deadline:
            time.sleep(0.5)
            self._look(within)

    def _look(self, within: float) -> None:
        present = self._transport.nodes()
        self._register.depart(present)
        self._answered &= present
        greeting = Hello(app_identity()).to_record()
        asked = [Message(greeting, node, MessageType.QUERY, ttl=within) for node in sorted(present - self._answered)]
        answers = {reply.metadata.reply_to_message_id: reply for reply in self._transport.ask(asked, within)}
        for message in asked:
            node = message.metadata.dst_node_id
            try:
                self._register.admit(node, _content(node, answers.get(message.metadata.message_id), within))
            except FellrecError as error:
                if (node, str(error)) not in self._named:
                    self._named.add((node, str(error)))
                    self._log.write(Refused(str(node), error.code, str(error)))
            else:
                self._answered.add(node)


def _content(node: int, answer: Message | None, within: float) -> RecordDict:
    if answer is None:
        raise MessageError(f"node {node} did not answer within {within:g} s")
    if answer.has_error():
        raise failure(answer.error, f"node {node}")
    return answer.content
