"""fellrec/python/run.py: what a run on disk says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import fellrec
from common.run_folder import RunFolder


def test_a_run_is_found_by_name_path_and_as_the_newest(home: Path) -> None:
    one = fellrec.load("one", home=home)
    assert (one.name, one.path) == ("one", (home / "runs" / "one").resolve()) and one.ended
    assert fellrec.load(home / "runs" / "one").path == fellrec.load("latest", home=home).path == one.path
    with pytest.raises(fellrec.RunError, match="no run 'two'"):
        fellrec.load("two", home=home)


def test_settings_result_events_and_adapters_are_those_of_the_folder(home: Path) -> None:
    run, folder = fellrec.load("one", home=home), RunFolder(home / "runs" / "one")
    assert run.settings["data.sets"] == "toy:3" and run.settings == json.loads((run.path / "config.json").read_text())
    assert run.result == folder.result() and run.metrics == folder.result()["metrics"]["test"]
    assert [event["event"] for event in run.events][:2] == ["run_started", "joined"]
    adapter = run.adapter("toy-1")
    assert adapter.keys() == folder.load_adapter("toy-1").keys()
    assert all(torch.equal(tensor, folder.load_adapter("toy-1")[name]) for name, tensor in adapter.items())
    with pytest.raises(fellrec.RunError, match="'nobody'.*toy-0"):
        run.adapter("nobody")


def test_rows_are_flat_and_hold_the_results_numbers(home: Path) -> None:
    run = fellrec.load("one", home=home)
    plain = (int, float, str, bool, type(None))
    assert all(isinstance(value, plain) for rows in (run.rounds, run.clients) for row in rows for value in row.values())
    record = run.result["rounds"][1]
    assert run.rounds[1] | {"round": 2, "loss": record["loss"], "clients_failed": 0} == run.rounds[1]
    assert run.rounds[1]["seconds.train"] == record["seconds"]["train"]
    assert [row["client"] for row in run.clients] == ["toy-0", "toy-1", "toy-2"]
    first = run.result["metrics"]["clients"]["toy-0"]
    assert run.clients[0]["ndcg@10"] == first["ndcg@10"]
    assert run.clients[0]["baselines.popularity.ndcg@10"] == first["baselines"]["popularity"]["ndcg@10"]


def test_a_run_that_has_not_ended_says_so_and_gives_its_rounds_so_far(home: Path, tmp_path: Path) -> None:
    whole = fellrec.load("one", home=home)
    shutil.copytree(whole.path, tmp_path / "half")
    (tmp_path / "half" / "result.json").unlink()
    half = fellrec.load(tmp_path / "half")
    assert not half.ended and "has not ended" in repr(half) and "has not ended" in half._repr_html_()
    assert [(row["round"], row["loss"]) for row in half.rounds] == [(row["round"], row["loss"]) for row in whole.rounds]
    assert whole.rounds[0].keys() - half.rounds[0].keys() <= {"recall@10"}
    for ask in (lambda: half.result, lambda: half.clients, half.table, half.recommender):
        with pytest.raises(fellrec.RunError, match="has no result"):
            ask()
    (tmp_path / "half" / "events.jsonl").unlink()
    assert half.events == [] and half.rounds == []


def test_in_short_as_text_and_for_a_notebook(home: Path) -> None:
    run = fellrec.load("one", home=home)
    assert repr(run).startswith("<fellrec run 'one': strategy fellrec, clients 3, rounds 2, recall@10 ")
    html = run._repr_html_()
    assert "<b>one</b>" in html and "<td>fellrec</td>" in html and "generated data" in html
    assert run.table().splitlines()[0].split()[:2] == ["users", "R@10"] and "toy-2" in run.table()


def test_a_click_models_run_is_read_in_the_same_way(home: Path) -> None:
    run = fellrec.load("clicks", home=home / "crowd")
    assert (
        "auc" in run.metrics
        and "auc" in run.rounds[0]
        and len(run.clients) == len(run.result["metrics"]["clients"]) == 12
    )
    assert "strategy fedpa, clients 12" in repr(run) and "AUC" in run.table()
    with run.recommender() as recommender:
        rows = recommender.recommend(user=recommender.users[0], top=2)
    assert [row["place"] for row in rows] == [1, 2] and 0.0 < rows[1]["score"] <= rows[0]["score"] < 1.0


def test_the_report_is_written_where_it_is_asked_for(home: Path, tmp_path: Path) -> None:
    run = fellrec.load("one", home=home)
    assert run.report() == run.path / "report.html" and "<h1>one</h1>" in run.report().read_text()
    assert run.report(tmp_path / "mine.html") == tmp_path / "mine.html" and (tmp_path / "mine.html").is_file()
    with pytest.raises(fellrec.RunError, match="cannot be written"):
        run.report(tmp_path / "nowhere" / "mine.html")
