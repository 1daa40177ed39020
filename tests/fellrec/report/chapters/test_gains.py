"""fellrec/report/chapters/gains.py: each client before and after training, and nothing where that was not measured."""

from __future__ import annotations

from typing import Any

from fellrec.report.chapters.gains import gained, gains, tally
from fellrec.report.history import History
from fellrec.report.record import Record
from tests.fellrec.report.logs import log, timed
from tests.fellrec.report.reading import Page


def measured(*rounds: dict[str, float] | None) -> History:
    events: list[dict[str, Any]] = [
        {
            "event": "validated",
            "round": number,
            "metric": "recall@10",
            "means": {"recall@10": 0.1},
            "balance": {},
            "clients": values or {},
        }
        for number, values in enumerate(rounds)
    ]
    return History.of_events(timed(events))


BEFORE, AFTER = {"north": 0.2, "south": 0.3, "west": 0.1}, {"north": 0.4, "south": 0.25, "west": 0.1, "new": 0.9}


def test_who_gained_lost_and_stayed_is_counted_from_the_first_to_the_last_measurement() -> None:
    found = gained(measured(BEFORE, {"north": 0.0}, AFTER))
    assert found == {"north": (0.2, 0.4), "south": (0.3, 0.25), "west": (0.1, 0.1)}
    assert tally(found) == "1 of 3 clients gained, 1 lost, 1 stayed as they were"


def test_the_one_that_gained_least_comes_first() -> None:
    drawn = gains(Record("one", {"evaluate.valid-users": 48}, measured(BEFORE, AFTER)))
    assert drawn is not None
    said = Page(drawn).said
    table = said[said.index("before training", said.index("at most 48")) :]
    assert table.index("south") < table.index("west") < table.index("north")
    assert "-0.0500" in table and "+0.2000" in table and "new" not in said


def test_without_two_measurements_of_clients_there_is_none() -> None:
    for history in (measured(), measured(BEFORE), measured(None, None), History.of_events(log()[:4])):
        assert gained(history) == {} and gains(Record("one", {}, history)) is None
