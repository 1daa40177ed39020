"""A federation in this process: Flower's Grid in front of the ClientApp; no SuperLink, no Ray, no process beside this one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, Self, TypeVar

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from client_app.app import app as client_app
from client_app.text_learner import recommender_for
from common.config import RunConfig, Value, flatten
from common.events import Event
from common.run_folder import RunFolder
from fellrec.event_tail import EventTail
from fellrec.host_state import undisturbed
from fellrec.simulation import check, new_name
from server_app.app import app as server_app

CLIENT_APP_FAILED = 2
"""Flower's own number of the error that a ClientApp raised."""

FIRST_NODE = 101
RUN_ID = 1


class Inflatable(Protocol):
    """What Flower sends, a message or a part of one: its own bytes, and the parts that these name."""

    @property
    def children(self) -> Mapping[str, Inflatable] | None: ...

    def deflate(self) -> bytes: ...

    @classmethod
    def inflate(cls, object_content: bytes, children: dict[str, Any] | None = None) -> Self: ...


Sent = TypeVar("Sent", bound=Inflatable)
log = logging.getLogger("flwr")


class InProcessGrid(Grid):
    """Nodes that answer at once, each in its turn, by calling the ClientApp.

    Every message and every reply is written to bytes and read again, by Flower's own objects, so that the two sides share
    nothing. Time-outs do not matter: a message has its answer before the server begins to wait.

    Parameters
    ----------
    run_config : Mapping[str, Value]
        The run's flat settings.
    nodes : int
        How many there are; the clients are dealt to them.
    looked : callable
        Called before a message goes out and after each answer.
    """

    def __init__(self, run_config: Mapping[str, Value], nodes: int, looked: Callable[[], None] = lambda: None) -> None:
        self._looked = looked
        self._replies: dict[str, Message] = {}
        self._pushed = 0
        self.present = set(range(FIRST_NODE, FIRST_NODE + nodes))
        self._contexts = {
            node: Context(
                RUN_ID,
                node,
                {"partition-id": node - FIRST_NODE, "num-partitions": nodes},
                RecordDict(),
                dict(run_config),
                0,
            )
            for node in self.present
        }

    @property
    def run(self) -> Any:
        """Flower's record of the run: there is none."""
        raise NotImplementedError("no SuperLink has a record of a run in this process")

    def set_run(self, run: Any) -> None:
        """There is nothing to set."""
        raise NotImplementedError("no SuperLink has a record of a run in this process")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """As Flower's: deprecated there in favour of ``Message``."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes that are here."""
        self._looked()
        return sorted(self.present)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Sends the messages, and has them answered one after the other; returns their identities."""
        identities = []
        for message in messages:
            self._looked()
            identity = f"message-{self._pushed}"
            self._pushed += 1
            _identify(message, identity)
            identities.append(identity)
            reply = self._answer(message)
            if reply is not None:
                self._replies[identity] = reply
        self._looked()
        return identities

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to these messages that are here; each is given once."""
        return [self._replies.pop(identity) for identity in message_ids if identity in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Sends the messages and returns their replies."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message | None:
        """What the node answers; None: nothing ever comes."""
        identity = message.metadata.message_id
        arrived = _sent(message)
        _identify(arrived, identity)
        try:
            reply = client_app(arrived, self._context(message.metadata.dst_node_id))
        except Exception as error:
            log.exception("the ClientApp failed")
            reply = Message(Error(CLIENT_APP_FAILED, f"{type(error).__name__}: {error}"), reply_to=arrived)
        _identify(reply, f"reply-to-{identity}")
        back = _sent(reply)
        _identify(back, reply.metadata.message_id)
        return back

    def _context(self, node: int) -> Context:
        return self._contexts[node]


def run_in_process(
    settings: Mapping[str, Value],
    config: RunConfig,
    nodes: int = 2,
    cpus: int = 1,
    listen: Callable[[Event], None] | None = None,
) -> RunFolder:
    """Runs a federation in this process, from start to result, and leaves the process as it was; returns the run's folder.

    It gives the numbers of the run through Flower's simulation, where both compute with as many threads. An exception of
    ``listen`` ends the run.

    Parameters
    ----------
    settings : Mapping[str, Value]
        The run's settings, flat.
    config : RunConfig
        The same settings, read.
    nodes : int
        Nodes among which the clients are dealt, as in the simulation.
    cpus : int
        Torch's threads.
    listen : callable or None
        Called with every event of the run, in its order.

    Raises
    ------
    RunError : another run is at work in this process, or the run of this name exists, or it failed.
    ConfigError, DataError, ModelError : the settings do not fit the data or the model; then nothing was started.
    """
    check(config)
    name = new_name(config)
    chosen = dict(flatten(config)) | dict(settings) | {"run-name": name}
    tail = EventTail(name, config.home)

    def looked() -> None:
        for event in tail.look():
            if listen is not None:
                listen(event)

    _forget()
    try:
        with undisturbed(RUN_ID, cpus):
            try:
                server_app(InProcessGrid(chosen, nodes, looked), Context(RUN_ID, 1, {}, RecordDict(), dict(chosen), 0))
            finally:
                looked()
    finally:
        _forget()
    return RunFolder.find(name, config.home)


def _forget() -> None:
    """Lets go of the model that clients keep while a process lives: another may stand in its folder by the next run."""
    recommender_for.cache_clear()


def _sent(message: Sent) -> Sent:
    """A message, or a part of one, as it arrives: written to bytes by itself, and read again."""
    parts = {name: _sent(part) for name, part in (message.children or {}).items()}
    return type(message).inflate(message.deflate(), parts)


def _identify(message: Message, identity: str) -> None:
    # Flower's own grids set it so: there is no public setter
    message.metadata.__dict__["_message_id"] = identity
