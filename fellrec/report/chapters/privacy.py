"""What left the clients, and under which protection."""

from __future__ import annotations

from collections.abc import Mapping

from common.click_scopes import CLICK_SCOPE
from common.config import LOOPBACK
from common.owners import Owner
from common.scopes import ADAPTER_SCOPE, Scope
from fellrec.report.chapters.section import Section, paragraph, section
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import NOTHING, real
from fellrec.report.record import Record
from fellrec.report.tables import table

SERVER, BARE = "the server", "none: as it is"
OWNED = {
    Owner.CLIENT: "its user embeddings and user-level path",
    Owner.GROUP: "the group-level paths",
    Owner.ALL: "the gates and the output layer",
    Owner.NOBODY: "the common layers",
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
        "privacy", "What left the clients", said, _protection(record),
        table("What left a client", ["what", "when", "to whom", "protection"], _left(record), prose=(1, 2, 3)),
        table("What stayed with the client", ["what", "where"], _stayed(record), prose=(1,)),
    )  # fmt: skip


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
    return _left_clicks(record) if record.config.get("model.recommender") == "click" else _left_texts(record)


def _left_texts(record: Record) -> list[list[str]]:
    config, strategy = record.config, str(record.config.get("strategy.name", ""))
    noise = record.part("privacy").get("mechanism")
    scope, rows = ADAPTER_SCOPE.get(strategy), []
    if scope is not None and scope.may_leave:
        mixed = "one mean for all" if scope is Scope.SHARED else "a mix for each client"
        guard = f"noise: {noise}" if noise else BARE
        rows.append(
            ["the trained adapter", "each round", f"the server, which keeps it ({scope.value}: {mixed})", guard]
        )
    if config.get("split.on"):
        codec = str(config.get("split.codec", NOTHING))
        rows.append(["hidden states of users' and items' texts, and their gradients", "each training step and each encoding",
                     "the split service", f"{_wire(record)}; {codec}, which is no protection"])  # fmt: skip
    if strategy == "centralised":
        rows.append(["the training examples", "each round", "one pool", "none: a reference, in simulation only"])
    rows += [
        ["training loss, number of examples, own share, seconds, bytes, memory", "each round", SERVER, BARE],
        ["means of metrics over validation users, and over test users", "each round; once at the end", SERVER, BARE],
        ["numbers of users, items and interactions, digests of data and catalogue, names of client and data set",
         "when it joins", SERVER, BARE],
    ]  # fmt: skip
    if config.get("evaluate.evidence", "none") != "none":
        rows.append(["the weights of its own evidence, two numbers", "once at the end", SERVER, BARE])
    return rows


def _left_clicks(record: Record) -> list[list[str]]:
    found = record.part("privacy").get("mechanism") or record.config.get("privacy.mechanism", "none")
    noised = found != "none"
    scopes = CLICK_SCOPE.get(str(record.config.get("strategy.name", "")), {})
    guard = f"clipped, with {found} noise" if noised else BARE
    rows = [
        [f"gradients of {OWNED[owner]}", "each round", f"the server ({scope.value})", guard]
        for owner, scope in scopes.items() if scope.may_leave
    ]  # fmt: skip
    if rows and not noised:
        rows.append(["training loss, number of training rows", "each round", SERVER, BARE])
    return [
        *rows,
        ["its metrics, and counts of its rows by what was clicked and what was foretold",
         "each round on validation rows; once at the end on test rows", SERVER, BARE],
        ["its value of each grouping attribute, digests of data and vocabulary, its name", "when its node joins", SERVER, BARE],
    ]  # fmt: skip


def _stayed(record: Record) -> list[list[str]]:
    if record.config.get("model.recommender") == "click":
        scopes = CLICK_SCOPE.get(str(record.config.get("strategy.name", "")), {})
        kept = [[OWNED[owner], "the client's memory"] for owner, scope in scopes.items() if scope is Scope.PRIVATE]
        return [["rows: what was shown, and clicked", "the client's data folder"], *kept]
    return [
        ["interactions and texts", "the client's data folder"],
        ["item vectors, counts, neighbours", "the client's memory between rounds"],
        ["optimiser state of its own layers", "memory, for one round; that of hosted layers is the server's"],
        ["labels, and the scores of users", "the client's last layers"],
    ]


def _wire(record: Record) -> str:
    config = record.config
    if config.get("split.client-ca"):
        return "TLS, both sides with certificates"
    if config.get("split.certificate"):
        return "TLS"
    host = str(config.get("split.host", ""))
    return "plaintext on loopback" if host in LOOPBACK else f"plaintext on {host}"
