"""fellrec/report/page.py: whole reports, of runs of every kind, read as a browser reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import RunConfig, flatten
from common.errors import RunError
from common.run_folder import RunFolder
from fellrec.report.history import History
from fellrec.report.page import report
from fellrec.report.record import Record
from fellrec.report.style import STYLE, allowed
from tests.clicks import click_settings
from tests.federation import broken, federate, tiny_causal_settings, tiny_settings
from tests.fellrec.report.logs import CLIENTS, folder, log, result, timed
from tests.fellrec.report.reading import Page, sound

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onload='alert(3)",
    "</svg></title></style><b>",
    "javascript:alert(4)",
    "a\u202eb\x00c",
    "]]>--><!--",
    "&lt;i&gt;",
    "//evil.example/x",
    "\ud83d",
    "x" * 300,
)


def read(run: RunFolder) -> Page:
    return sound(report(Record.read(run)))


def test_the_report_of_a_real_run_tells_all_of_it(fellrec_home: Path) -> None:
    federate(
        tiny_settings(fellrec_home, run_name="one", evaluate__evidence="popularity"), faults={("toy-1", 2): broken}
    )
    run = RunFolder.find("one")
    page, ended = read(run), run.result()
    titles = [picture[0][1] for picture in page.pictures]
    for wanted in (
        "beside the baselines",
        "of each client",
        "Training loss",
        "Validation",
        "Mixing weights",
        "Weight on itself",
        "Warmth",
        "whole model",
        "Seconds",
    ):
        assert any(wanted in title for title in titles), wanted
    shown = f"{ended['metrics']['test']['recall@10']:.4f}"
    assert shown in page.said and f"{ended['metrics']['baselines']['item_knn']['recall@10']:.4f}" in page.said
    assert "Generated data." in page.said and "No noise is added" in page.said
    assert "failure: FR400" in page.said and "toy-1" in page.said and "boom" in page.said
    assert ended["data"]["digest"] in page.said and ended["run"]["versions"]["flwr"] in page.said


def test_the_report_of_a_generative_run_tells_its_grounding(fellrec_home: Path) -> None:
    chosen = tiny_causal_settings(
        fellrec_home,
        run_name="one",
        num_server_rounds=1,
        train__examples=2,
        evaluate__valid_users=2,
        evaluate__test_users=2,
        generate__compare=True,
    )
    federate(chosen, nodes=1)
    page = read(RunFolder.find("one"))
    assert "Ways of grounding generated text" in page.said and "trie, as served" in page.said
    assert "titles of the catalogue to the letter" in page.said


@pytest.mark.parametrize("privacy", [{}, {"privacy__mechanism": "gaussian"}])
def test_the_report_of_a_click_run_tells_groups_noise_and_what_stays(
    fellrec_home: Path, privacy: dict[str, str]
) -> None:
    federate(click_settings(fellrec_home, run_name="one", **privacy))
    run = RunFolder.find("one")
    page, ended = read(run), run.result()
    assert f"{ended['metrics']['test']['auc']:.4f}" in page.said and "Validation AUC" in page.said
    assert "Quality on test rows" in page.said and "age 1" in page.said and "R@10" not in page.said
    assert "embeddings of users, user-level paths" in page.said and "group-level paths" in page.said
    assert ("clipped, with gaussian noise" in page.said) == ("epsilon of a client" in page.said) == bool(privacy)
    assert ("training loss, number of examples" in page.said) != bool(privacy)


def test_clicks_are_told_by_auc(tmp_path: Path) -> None:
    page = read(folder(tmp_path / "one", log(metric="auc"), result(metric="auc")))
    assert "AUC beside the baselines" in page.said and "Validation AUC" in page.said and "R@10" not in page.said


@pytest.mark.parametrize("upto", [0, 1, 4, 6, 9, 11])
def test_a_run_without_a_result_is_told_as_far_as_it_went(tmp_path: Path, upto: int) -> None:
    page = read(folder(tmp_path / "one", log()[:upto]))
    assert "There is no result yet." in page.said and "What left the clients" in page.said


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    failed = {"event": "run_failed", "time": 1.0, "code": "FR600", "reason": "[FR600] nobody is left (start one)"}
    page = read(folder(tmp_path / "one", [*log(), failed]))
    assert "This run failed." in page.said and page.said.count("nobody is left (start one)") == 2


def test_names_and_reasons_of_others_stay_text(tmp_path: Path) -> None:
    more = [{"event": "rejected", "clients": [name], "round": 2, "code": name, "reason": name} for name in HOSTILE]
    more += [
        {"event": "warning", "client": name, "round": 2, "kind": name, "reason": name, "hint": name} for name in HOSTILE
    ]
    ended = result(HOSTILE)
    ended["privacy"]["assumptions"] = ended["run"]["commit"] = ended["data"]["digest"] = HOSTILE[0]
    ended["metrics"]["missing"] = {HOSTILE[1]: HOSTILE[2]}
    ended["metrics"]["baselines"][HOSTILE[0]] = {"recall@10": 0.1}
    config: dict[str, Any] = {"recipe": HOSTILE[3], "data.sets": HOSTILE[0], HOSTILE[1]: HOSTILE[1]}
    run = folder(tmp_path / "one", log(HOSTILE) + timed(more, 2000.0), ended, config)
    source = report(Record.read(run))
    source.encode()
    page = sound(source)
    assert not {"script", "img", "iframe", "link"} & set(page.tags())
    assert HOSTILE[0] in page.said and HOSTILE[1] in page.said and "\u202e" not in source and "\x00" not in source


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_junk_in_any_place_of_log_and_result_ends_no_report(data: st.DataObject) -> None:
    whole: Any = {
        "events": log(CLIENTS[:2], rounds=2),
        "result": result(CLIENTS[:2]),
        "config": dict(flatten(RunConfig())),
    }
    for _ in range(data.draw(st.integers(1, 3))):
        inside, key = whole, data.draw(st.sampled_from(["events", "result", "config"]))
        while (
            isinstance(inside[key], dict | list) and inside[key] and (inside is whole or data.draw(st.integers(0, 4)))
        ):
            inside = inside[key]
            key = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        inside[key] = data.draw(JUNK)
    sound(report(Record("one", whole["config"], History.of_events(whole["events"]), whole["result"])))


def test_nothing_but_its_own_style_may_run(tmp_path: Path) -> None:
    page = read(folder(tmp_path / "one", log(), result()))
    policy = next(
        found["content"] for tag, found in page.elements if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None and policy.startswith("default-src 'none'") and allowed(STYLE) in policy
    assert "unsafe" not in policy and "script-src" not in policy


@pytest.mark.parametrize("clients", [1, 13, 120])
def test_few_and_many_clients_fit(tmp_path: Path, clients: int) -> None:
    source = report(Record.read(folder(tmp_path / "one", log([f"c{n}" for n in range(clients)], rounds=3))))
    sound(source)
    assert len(source) < 2_000_000


def test_damage_is_counted_and_what_is_whole_is_told(tmp_path: Path) -> None:
    run = folder(tmp_path / "one", log(), result())
    with run.events_path.open("a") as file:
        file.write('{"event": \n[]\n{"event": "joined"}\n{"event": "run_en')
    page = read(run)
    assert "3 lines of the event log could not be read" in page.said
    (run.path / "result.json").write_text("[1]")
    with pytest.raises(RunError, match="holds a list"):
        Record.read(run)
    (run.path / "result.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        Record.read(run)


def test_bytes_by_client_are_told_where_the_log_has_them(tmp_path: Path) -> None:
    events = log()
    for event in events:
        if event["event"] == "round_ended":
            for said in event["clients"].values():
                said["bytes"] = {"up": 2048, "down": 1024}
    page = read(folder(tmp_path / "one", events, json.loads(json.dumps(result()))))
    assert "bytes up" in page.said and "2.0 KiB" in page.said
