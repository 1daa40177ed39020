"""fellrec/report/chapters/summary.py: sentences that say neither more nor less than the numbers."""

from __future__ import annotations

from typing import Any

from fellrec.report.chapters.summary import summary
from fellrec.report.history import History
from fellrec.report.record import Record
from tests.fellrec.report.logs import log, result
from tests.fellrec.report.reading import Page


def told(ended: dict[str, Any] | None, history: History | None = None) -> str:
    found = summary(Record("one", {"strategy.name": "fellrec"}, history or History.of_events(log()), ended))
    return "" if found is None else Page(found).said


def test_it_names_the_best_baseline_and_who_is_not_above_its_own() -> None:
    ended = result()
    ended["metrics"]["clients"]["south"]["recall@10"] = 0.1
    ended["metrics"]["clients"]["west"]["recall@10"] = 0.1875
    said = told(ended)
    assert said.startswith("3 clients, strategy fellrec, 2 rounds, 42 s.")
    assert "over 30 test users is 0.2500, beside 0.1875 of item-kNN, the best of 2 baselines." in said
    assert "Above their own best baseline: 1 of 3 clients; not south, west." in said


def test_it_says_so_where_all_are_above_and_who_lost_against_before_training() -> None:
    history = History.of_events(log())
    history.validations[1].clients = history.validations[0].clients | {"west": 0.0, "north": 0.9}
    said = told(result(), history)
    assert "Each of the 3 clients is above its own best baseline." in said
    assert "1 of 3 clients gained, 1 lost, 1 stayed as they were; lost: west." in said


def test_clicks_are_told_over_rows_and_in_the_mean_over_clients() -> None:
    ended = result(metric="auc")
    ended["metrics"]["test"] = {"auc": 0.7, "user_auc": 0.58, "rows": 16540}
    ended["metrics"]["baselines"] = {"warm_start": {"auc": 0.61, "user_auc": 0.59}}
    said = told(ended)
    assert "AUC over 16,540 test rows is 0.7000, beside 0.6100 of the warm start alone." in said
    assert "In the mean over clients it is 0.5800, beside 0.5900." in said


def test_without_a_result_or_a_baseline_nothing_is_compared() -> None:
    assert told(None) == ""
    ended = result()
    ended["metrics"]["baselines"] = {}
    for row in ended["metrics"]["clients"].values():
        row["baselines"] = {}
    said = told(ended)
    assert "0.2500." in said and "beside" not in said and "baseline" not in said
