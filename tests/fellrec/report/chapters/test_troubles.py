"""fellrec/report/chapters/troubles.py: a failure is told once, with its code and where its remedy is."""

from __future__ import annotations

from pathlib import Path

from fellrec.report.chapters.troubles import guarded, told
from fellrec.report.entries import ClientRound, Round, Trouble
from fellrec.report.history import History
from fellrec.report.page import report
from fellrec.report.record import Record
from tests.fellrec.report.logs import folder, log, result, timed
from tests.fellrec.report.reading import Page, sound


def test_the_code_is_not_said_twice_and_leads_to_its_page() -> None:
    page = Page(told([Trouble("FR400", "north", "[FR400] boom", grave=True), Trouble("slow", "west", "late", "wait")]))
    assert "failure: FR400" in page.said and "[FR400]" not in page.said and "see FR400 in docs/errors.md" in page.said
    assert page.said.endswith("latewait")


def test_a_run_that_ended_says_at_its_top_that_clients_failed(tmp_path: Path) -> None:
    rejected = {"event": "rejected", "round": 1, "clients": ["north"], "code": "FR400", "reason": "boom"}
    ended = result()
    ended["metrics"]["missing"] = {"north": "FR400", "west": "no test users"}
    run = folder(tmp_path / "one", log() + timed([rejected], 2000.0), ended)
    page = sound(report(Record.read(run)))
    assert "One failure. Named in Failures and warnings." in page.said and "#troubles" in page.values("href")
    assert "2 clients are not in the means: failed with FR400 (north); no test users (west)." in page.said
    quiet = sound(report(Record.read(folder(tmp_path / "two", log(), result()))))
    assert "One failure" not in quiet.said


def test_the_guard_says_what_it_left_out_and_what_was_mixed() -> None:
    history = History()
    history.add({"event": "strategy", "name": "fellrec", "guard": {"factor": 3.0}})
    history.add({"event": "rejected", "round": 1, "clients": ["north"], "code": "FR450", "reason": "too large"})
    history.rounds[1] = Round(1, ended=True)
    history.rounds[1].clients = {"west": ClientRound(proportion=1.25), "east": ClientRound()}
    (told_of,) = guarded(history)
    page = Page(told_of)
    assert (
        "more than 3 times the others' median is left out: 1 in this run. The largest that was mixed was 1.25 times"
        in page.said
    )
    assert guarded(History()) == []
    history.add({"event": "strategy", "name": "local", "guard": None})
    assert guarded(history) == []
