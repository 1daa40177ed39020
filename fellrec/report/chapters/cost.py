"""What a client pays, and the server: memory, bytes, seconds."""

from __future__ import annotations

from collections.abc import Mapping

from fellrec.report.bars import Bar, bars
from fellrec.report.chapters.section import Section, figures, paragraph, section
from fellrec.report.history import History
from fellrec.report.markup import Markup
from fellrec.report.numbers import NOTHING, count, duration, percent, real, reals, short, size
from fellrec.report.record import Record
from fellrec.report.tables import figure, table

PARTS = (
    ("parameters", "parameters", count),
    ("trained_parameters", "of which trained", count),
    ("uploaded_parameters", "of which sent", count),
    ("weights_bytes", "weights", size),
    ("peak_memory_bytes", "memory at the peak", size),
    ("flops_per_step", "FLOPs of a step", short),
    ("bytes_up", "sent by a client in a round", size),
    ("bytes_down", "received by a client in a round", size),
    ("bytes_down_alone", "received by a client that has its node for itself", size),
)

SHARES = {
    "parameters": "parameters held",
    "weights_bytes": "bytes of weights held",
    "trained_parameters": "parameters trained",
    "uploaded_parameters": "parameters sent in a round",
}
WITHIN = ("trained_parameters", "uploaded_parameters")
"""Counts of the whole model's own parameters."""


def cost(record: Record) -> Section | None:
    """Cost of a client beside the whole model, of the server, and seconds by client; None where nothing is known."""
    parts = [_client(record), _seconds(record.history)]
    server = reals(record.part("cost", "server"))
    told = None
    if server:
        hosted = f"{count(server['hosted_parameters'])} hosted parameters and " if "hosted_parameters" in server else ""
        told = paragraph(f"The server held {hosted}{size(server.get('peak_memory_bytes'))} of memory at its peak.")
    return section("cost", "Cost", told, figures(*parts)) if any(parts) else None


def _client(record: Record) -> Markup | None:
    found = reals(record.part("cost", "client"))
    if not found:
        return None
    rows = []
    for key, said, write in PARTS:
        whole = found.get(f"{key}_whole")
        part = _part(found, key)
        if key in found:
            rows.append(
                [
                    said,
                    write(found[key]),
                    write(whole) if whole else NOTHING,
                    NOTHING if part is None else percent(part / 100),
                ]
            )
    numbers = table("Cost of a client", ["", "client", "whole model", "part"], rows)
    shares = [Bar(said, part) for key, said in SHARES.items() if (part := _part(found, key)) is not None]
    title = "A client, in per cent of the whole model"
    caption = (
        f"Sent {size(found.get('bytes_up'))} and received {size(found.get('bytes_down'))} a client and round: adapters and,"
        " where layers are hosted, hidden states; the mean over clients and rounds. The rest is the most of any client."
    )
    drawn = bars("part", title, "; ".join(f"{bar.label} {bar.value:.1f} %" for bar in shares), shares, 1)
    return figure("part", title, drawn, caption, numbers)


def _part(found: Mapping[str, float], key: str) -> float | None:
    """Per cent of the whole model; of what has no whole of its own, of its parameters."""
    whole = found.get(f"{key}_whole") or (found.get("parameters_whole") if key in WITHIN else None)
    return 100 * found[key] / whole if whole and key in found else None


def _seconds(history: History) -> Markup | None:
    rounds = history.whole_rounds()
    spent: dict[str, dict[str, float]] = {}
    for entry in rounds:
        for client, found in entry.clients.items():
            mine = spent.setdefault(client, {"rounds": 0.0})
            mine["rounds"] += 1
            for kind, value in (*found.seconds.items(), *((f"bytes {way}", much) for way, much in found.bytes.items())):
                mine[kind] = mine.get(kind, 0.0) + value
    if not any(len(found) > 1 for found in spent.values()):
        return None
    kinds = sorted({kind for found in spent.values() for kind in found if kind != "rounds"})
    mean = {
        client: {kind: value / found["rounds"] for kind, value in found.items() if kind != "rounds"}
        for client, found in spent.items()
    }
    rows = [
        Bar(client, sum(value for kind, value in found.items() if kind in ("train", "evaluate")))
        for client, found in mean.items()
    ]
    rows.sort(key=lambda row: row.value, reverse=True)
    title = "Seconds of a client in a round"
    drawn = bars("seconds", title, "Training and evaluating, in the mean over rounds.", rows, 1)
    numbers = table(
        "Seconds and bytes of a client in a round, in the mean",
        ["client", *kinds],
        [
            [client, *((size if kind.startswith("bytes") else duration)(found.get(kind)) for kind in kinds)]
            for client, found in sorted(mean.items())
        ],
    )
    phases = table(
        "Seconds of each round",
        ["round", "train", "aggregate", "evaluate"],
        [
            [
                str(entry.number),
                *(duration(real(entry.seconds.get(phase))) for phase in ("train", "aggregate", "evaluate")),
            ]
            for entry in rounds
        ],
    )
    caption = (
        "Training and evaluating, in the mean over rounds, the slowest first. In simulation clients share this machine's"
        " cores."
    )
    return figure("seconds", title, drawn, caption, numbers, phases)
