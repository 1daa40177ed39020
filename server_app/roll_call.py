"""Who is here: new nodes are asked once for their clients, and nodes that left take theirs along."""

from __future__ import annotations

import time
from collections.abc import Callable

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from common.config import FederationConfig
from common.errors import FellrecError, MessageError, RunError
from common.events import EventLog
from common.low_rank import Adapter
from common.messages import Hello, Roster
from common.version import app_identity
from server_app.clients import Clients
from server_app.exchange import exchange

ANSWER_WITHIN = 600.0
"""Seconds that a node may take to answer: the first one in a simulation deals the data to the clients."""


class RollCall:
    """Keeps ``clients`` in step with the nodes that Flower sees.

    Parameters
    ----------
    newcomer : the adapter that a client starts from when it joins.
    """

    def __init__(
        self, grid: Grid, clients: Clients, newcomer: Callable[[], Adapter], config: FederationConfig, log: EventLog
    ) -> None:
        self._grid, self._clients, self._newcomer, self._config, self._log = grid, clients, newcomer, config, log
        self._refused: set[int] = set()

    def first(self) -> None:
        """Waits for nodes, then takes in everybody they host.

        Raises
        ------
        RunError : no node came in time, or none hosts a client that can take part.
        """
        deadline = time.monotonic() + self._config.nodes_timeout
        while not list(self._grid.get_node_ids()):
            if time.monotonic() > deadline:
                raise RunError(
                    f"no node within {self._config.nodes_timeout:g} s",
                    "start SuperNodes, or raise 'federation.nodes-timeout'",
                )
            time.sleep(0.5)
        self.again()
        if not len(self._clients):
            raise RunError("no node hosts a client that can take part", "see the log above for what each node answered")

    def again(self) -> None:
        """Notes who left and asks those who came; a node that answers nonsense is named and not asked again."""
        here = set(self._grid.get_node_ids())
        for client in self._clients.away(self._clients.nodes() - here):
            self._log.write("away", client=client)
        fresh = sorted(here - self._clients.nodes() - self._refused)
        greeting = Hello(app_identity()).to_record()
        asked = [Message(greeting, node, MessageType.QUERY, ttl=ANSWER_WITHIN) for node in fresh]
        replies = exchange(self._grid, asked, ANSWER_WITHIN)
        answers = {reply.metadata.reply_to_message_id: reply for reply in replies}
        for message in asked:
            node = message.metadata.dst_node_id
            try:
                self._take_in(node, answers.get(message.metadata.message_id))
            except FellrecError as error:
                self._refused.add(node)
                self._log.write("refused", node=str(node), code=error.code, reason=str(error))

    def _take_in(self, node: int, answer: Message | None) -> None:
        if answer is None:
            raise MessageError(f"node {node} did not answer within {ANSWER_WITHIN:g} s")
        if answer.has_error():
            raise MessageError(f"node {node} failed: code {answer.error.code}, {answer.error.reason}")
        roster, adapter = Roster.from_record(answer.content), self._newcomer()
        self._clients.simulated = roster.simulated
        for facts in roster.clients:
            new = self._clients.welcome(facts, node, adapter)
            self._log.write("joined" if new else "back", client=facts.client, users=facts.users, items=facts.items,
                            train_interactions=facts.train_interactions, dataset=facts.dataset)  # fmt: skip
