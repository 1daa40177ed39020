"""What server and clients say to each other: Flower's records are made and read in this package and nowhere else.

A node is asked once who lives there (:mod:`~common.messages.roster`). Then each message carries one client or many
(``federation.clients-per-message``): a :class:`~common.messages.task.Task` goes out, a
:class:`~common.messages.report.Report` comes back, with a :class:`~common.messages.measurement.Measurement` for every
part that was measured. Records have the names that Flower's own tools expect: ``arrays``, ``config``, ``metrics``.
"""

from common.data.sets import POOL
from common.messages.adapter import LARGEST_VALUE, check_adapter
from common.messages.facts import ClientFacts, SetFacts
from common.messages.fields import message_bytes, readable
from common.messages.measurement import Clicks, Measurement, Rankings
from common.messages.report import COST, Report
from common.messages.roster import Hello, Roster
from common.messages.task import HostedAccess, Task

__all__ = [
    "COST",
    "LARGEST_VALUE",
    "POOL",
    "ClientFacts",
    "Clicks",
    "HostedAccess",
    "Hello",
    "Measurement",
    "Rankings",
    "Report",
    "Roster",
    "SetFacts",
    "Task",
    "check_adapter",
    "message_bytes",
    "readable",
]
