"""Whether a node is fit to join: every check is a function of the node, with a remedy for each failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fellrec.preflight.certificates import keys_and_certificates, supernode_key
from fellrec.preflight.finding import Finding
from fellrec.preflight.holding import data, memory, model
from fellrec.preflight.network import split_service, superlink
from fellrec.preflight.node import Node
from fellrec.preflight.software import versions

__all__ = ["CHECKS", "Finding", "Node", "preflight"]

CHECKS: tuple[Callable[[Node], Iterable[Finding]], ...] = (
    versions,
    keys_and_certificates,
    supernode_key,
    superlink,
    split_service,
    data,
    model,
    memory,
)


def preflight(node: Node) -> list[Finding]:
    """Everything that the checks find, in their order; of the data, nothing leaves the machine."""
    return [finding for check in CHECKS for finding in check(node)]
