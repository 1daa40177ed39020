"""What left the clients, and under which protection."""

from __future__ import annotations

from collections.abc import Mapping

from common.config import LOOPBACK
from common.scopes import SCOPES, Owner, Scope, owner_of
from fellrec.report.chapters.section import Section, paragraph, section
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import NOTHING, real
from fellrec.report.record import Record
from fellrec.report.tables import table

SERVER, BARE = "the server", "none: as it is"
FACTS = (
    "numbers of users, items and interactions, values of grouping attributes, digests of data and catalogue, names of client"
    " and data set"
)
OWNED = {
    Owner.CLIENT: "what is about one person or client: embeddings of users, user-level paths",
    Owner.GROUP: "what is about a group: group-level paths",
    Owner.ITEM: "what is about items: their embeddings",
    Owner.ALL: "what is about everybody: adapters, gates, heads",
}
MIXED_AS = {
    Scope.PERSONAL: "a mix for each client",
    Scope.GROUP: "one for each group",
    Scope.SHARED: "one for all",
}


def privacy(record: Record) -> Section:
    """A table of what left, what stayed, and what protected it."""
    found = record.part("privacy")
    if record.result is None:
        said = paragraph(
            "Without a result there is no statement on noise; what follows is what the configuration lets out."
        )
    else:
        said = paragraph(tag("b", "As the run itself states: "), str(found.get("assumptions") or NOTHING))
    return section(
        "privacy",
        "What left the clients",
        said,
        _protection(record),
        table("What left a client", ["what", "when", "to whom", "protection"], _left(record), prose=(1, 2, 3)),
        table("What stayed with the client", ["what", "where"], _stayed(record), prose=(1,)),
    )


def _protection(record: Record) -> Markup | None:
    found = record.part("privacy")
    if not found:
        return None
    known = {"mechanism": "none", "epsilon": "no bound", "delta": "no bound", "leak": "not measured"}
    rows = [[name, _told(found[name]) if found.get(name) is not None else absent] for name, absent in known.items()]
    others = {name: value for name, value in found.items() if name not in known and name != "assumptions"}
    rows += [[name, _told(value)] for name, value in others.items() if value is not None]
    return table("Protection", ["", "this run"], rows, prose=(1,))


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_told(part)}" for name, part in value.items())
    number = real(value)
    return str(value) if number is None else f"{number:.4g}"


def _left(record: Record) -> list[list[str]]:
    config = record.config
    noise = record.part("privacy").get("mechanism") or config.get("privacy.mechanism", "none")
    noised = noise != "none"
    guard = f"clipped, with {noise} noise" if noised else BARE
    rows = [
        [OWNED[owner], "each round", f"the server, which keeps it ({scope.value}: {MIXED_AS[scope]})", guard]
        for owner, scope in _owned(record).items()
        if scope.may_leave
    ]
    if config.get("split.on"):
        codec = str(config.get("split.codec", NOTHING))
        rows.append(
            [
                "hidden states of users' and items' texts, and their gradients",
                "each training step and each encoding",
                "the split service",
                f"{_wire(record)}; {codec}, which is no protection",
            ]
        )
    if config.get("strategy.name") == "centralised":
        rows.append(["the training examples", "each round", "one pool", "none: a reference, in simulation only"])
    if not noised:
        rows.append(["training loss, number of examples", "each round", SERVER, BARE])
    rows += [
        ["own share, seconds, bytes, memory", "each round", SERVER, BARE],
        [_measured(record), "each round on validation data; once at the end on test data", SERVER, BARE],
        [FACTS, "when it joins", SERVER, BARE],
    ]
    if config.get("evaluate.evidence", "none") != "none":
        rows.append(["the weights of its own evidence, two numbers", "once at the end", SERVER, BARE])
    return rows


def _measured(record: Record) -> str:
    if "auc" in record.part("metrics", "test"):
        return "each client's metrics, and counts of its rows by what was clicked and what was foretold"
    return "means of metrics over its users"


def _stayed(record: Record) -> list[list[str]]:
    private = [OWNED[owner] for owner, scope in _owned(record).items() if scope is Scope.PRIVATE]
    return [
        ["interactions, rows and texts", "the client's data folder"],
        *([what, "the client's memory between rounds"] for what in private),
        ["item vectors, counts, neighbours", "the client's memory between rounds"],
        ["optimiser state of its own layers", "its memory; that of hosted layers is the server's"],
        ["labels, and the scores of users", "the client's last layers"],
    ]


def _owned(record: Record) -> dict[Owner, Scope]:
    """The scope of what the run trained, by whom it is about: as the log says, or without that as the strategy has it."""
    found = {
        owner_of(str(name)): Scope(scope)
        for scope, names in record.history.strategy.scopes.items()
        if scope in tuple(Scope) and scope != Scope.FROZEN and isinstance(names, list)
        for name in names
    }
    if found:
        return dict(sorted(found.items()))
    row = SCOPES.get(str(record.config.get("strategy.name", "")), {})
    return {owner: scope for owner, scope in row.items() if owner is Owner.ALL}


def _wire(record: Record) -> str:
    config = record.config
    if config.get("split.client-ca"):
        return "TLS, both sides with certificates"
    if config.get("split.certificate"):
        return "TLS"
    host = str(config.get("split.host", ""))
    return "plaintext on loopback" if host in LOOPBACK else f"plaintext on {host}"
