"""fellrec/report/chapters/balance.py: few clients one by one, many by how many have which value."""

from __future__ import annotations

from fellrec.report.bars import ROWS
from fellrec.report.chapters.balance import balance
from fellrec.report.history import History
from fellrec.report.record import Record
from tests.fellrec.report.logs import result
from tests.fellrec.report.reading import Page


def drawn(clients: int, metric: str = "recall@10") -> Page:
    ended = result([f"c{number:04}" for number in range(clients)], metric)
    for number, row in enumerate(ended["metrics"]["clients"].values()):
        row[metric] = number / clients
        row["test_rows"] = 7
    ended["metrics"]["clients"]["silent"] = {metric: None}
    found = balance(Record("one", {}, History(), ended), [metric], metric)
    assert found is not None
    return Page(found)


def test_few_clients_have_a_bar_each_with_their_baselines_beside_it() -> None:
    page = drawn(3)
    assert page.tags().count("rect") >= 3 and "c0002, item-kNN: 0.1875" in page.said
    assert "Worst client 0.2500" in page.said and "median" not in page.said and "silent" in page.said


def test_many_clients_are_a_histogram_and_the_table_names_the_lowest() -> None:
    page = drawn(400, "auc")
    assert "median 0.499" in page.said and "AUC of a client" in page.said
    assert "Half of them have no more than 7 test rows" in page.said and "of one kind: 1." in page.said
    assert f"c{ROWS - 1:04}" in page.said and f"c{ROWS:04}" not in page.said and "result.json has all" in page.said


def test_evidence_that_every_client_weighs_with_nothing_is_told_as_not_used() -> None:
    ended = result(["north"])
    ended["metrics"]["clients"]["north"]["evidence"] = {"popularity": 0.0, "neighbours": 0.0}
    found = balance(Record("one", {}, History(), ended), ["recall@10"], "recall@10")
    assert found is not None and "not used" in found and "popularity 0" not in found
