"""The first exchange: which fellrec is this, and whom does the node host?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from flwr.app import ConfigRecord, RecordDict

from common.messages.facts import ClientFacts, from_columns, to_columns
from common.messages.fields import config_of, text


@dataclass(frozen=True)
class Hello:
    """Server to node, once."""

    app: str

    def to_record(self) -> RecordDict:
        return RecordDict({"config": ConfigRecord({"app": self.app})})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        return cls(app=text(config_of(record), "app"))


@dataclass(frozen=True)
class Roster:
    """Node to server: the clients that the node hosts.

    Attributes
    ----------
    app : str
        Digest of the app that answers, :func:`common.version.app_identity`.
    simulated : bool
        Whether a run's clients were dealt to this node.
    clients : tuple of ClientFacts
        Clients, each with what it tells of its data.
    """

    app: str
    simulated: bool
    clients: tuple[ClientFacts, ...]

    def to_record(self) -> RecordDict:
        columns = to_columns(self.clients)
        return RecordDict({"config": ConfigRecord({"app": self.app, "simulated": self.simulated, **columns})})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Reads a roster.

        Raises
        ------
        MessageError : a field is missing or holds what cannot be.
        """
        config = config_of(record)
        return cls(text(config, "app"), config.get("simulated") is True, from_columns(config))
