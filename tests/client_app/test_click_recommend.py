"""client_app/click_recommend.py: the most probable clicks of one person, through every door."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from torch.func import functional_call
from typer.testing import CliRunner

import fellrec
from common.data.click_folder import save_clicks
from common.errors import ConfigError, DataError, RunError
from common.recommenders.click.run import click_run
from common.recommenders.click.warm_start import item_codes, user_codes
from common.run_folder import RunFolder
from fellrec.api import api
from fellrec.cli import app
from fellrec.commands.next_steps import after_simulation
from fellrec.recommending import ServiceAt, recommending
from fellrec.served import served_adapter
from tests.clicks import tiny_log
from tests.fellrec.served import Runs

USER, CLIENT = 7, "toy-07"
FAST = {"fedpa__private_learning_rate": 0.3, "fedpa__group_learning_rate": 0.1, "fedpa__shared_learning_rate": 0.1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(runs: Runs, fellrec_home: Path) -> RunFolder:
    return runs.get("click", **FAST)


def expected(run: RunFolder, client: str, user: int) -> list[tuple[str, float]]:
    """Every item that the user was not shown with the probability of a click, best first, from the tensors alone."""
    log, click = tiny_log(), click_run(run.config())
    codes = item_codes(log, True)
    tensors = served_adapter(run, client)
    with torch.no_grad():
        each = [functional_call(click.model, tensors, (user_codes(log)[user], item)).sigmoid().item() for item in codes]
    shown = set(log.items[log.users == user].tolist())
    left = [(log.item_keys[item], chance) for item, chance in enumerate(each) if item not in shown]
    return sorted(left, key=lambda one: -one[1])


@pytest.mark.parametrize("strategy", ["fedpa", "fedavg", "local", "fellrec"])
def test_the_items_that_are_most_probably_clicked_come_first(runs: Runs, fellrec_home: Path, strategy: str) -> None:
    run = runs.get("click", strategy__name=strategy, **FAST)
    for client in run.result()["metrics"]["clients"]:
        wanted = expected(run, client, int(client[-2:]))
        with recommending(run, client) as ready:
            found = ready.for_user(top=20)
            assert ready.client == client and found == ready.for_user(found.user, 20)
        assert [item.key for item in found.recommended] == [key for key, _ in wanted]
        assert [item.score for item in found.recommended] == pytest.approx([chance for _, chance in wanted], abs=1e-6)
    assert len(wanted) > 1


def test_the_history_is_what_was_clicked_and_a_title_says_what_the_log_knows(run: RunFolder) -> None:
    log = tiny_log()
    with recommending(run, CLIENT) as ready:
        found = ready.for_user(top=1)
    rows = (log.users == USER) & (log.clicks > 0)
    newest = list(dict.fromkeys(log.items[rows][::-1].tolist()))
    assert list(found.history) == [f"i{item}: colour r{item % 2}" for item in newest]
    (best,) = found.recommended
    assert best.title == f"{best.key}: colour r{int(best.key[1:]) % 2}" and best.because == ()
    assert (found.client, found.user, found.notes) == (CLIENT, f"user-{USER}", ())


def test_many_users_are_the_one_and_nobody_else(run: RunFolder) -> None:
    with recommending(run, CLIENT) as ready:
        assert ready.users == (f"user-{USER}",)
        assert [one.user for one in ready.for_users([f"user-{USER}"] * 2, 2)] == [f"user-{USER}"] * 2
        with pytest.raises(DataError, match="'toy-07' has no user 'user-0'.*'user-7'"):
            ready.for_users([f"user-{USER}", "user-0"])
        with pytest.raises(
            ConfigError, match="2 titles, but client 'toy-07' has a click model, which reads attributes"
        ):
            ready.for_history(["a", "b"])


def test_a_node_s_own_folder_gives_the_same(run: RunFolder, tmp_path: Path) -> None:
    save_clicks(tiny_log().restrict([USER], "own"), tmp_path / "own")
    with recommending(run, CLIENT) as simulated, recommending(run, CLIENT, data=tmp_path / "own") as own:
        assert own.for_user(top=5) == simulated.for_user(top=5)
    with pytest.raises(ConfigError, match="--client is ''"), recommending(run, data=tmp_path / "own"):
        pass


def test_one_of_a_node_s_many_users_is_found_by_its_number(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    run = runs.get("click", strategy__name="fedavg", **FAST)
    copy = RunFolder(tmp_path / "copy")
    copy.path.mkdir()
    for name in ("config.json", "result.json"):
        (copy.path / name).write_bytes((run.path / name).read_bytes())
    copy.save_adapter("shop-1", run.load_adapter(CLIENT))
    save_clicks(tiny_log().restrict([5, USER], "own"), tmp_path / "own")
    with recommending(run, CLIENT) as simulated, recommending(copy, "shop-1", data=tmp_path / "own") as own:
        assert own.client == "shop-1" and own.for_user().recommended == simulated.for_user().recommended
    for stranger in ("shop-2", "shop"):
        with (
            pytest.raises(RunError, match=f"no client '{stranger}'.*2: shop-0 to shop-1"),
            recommending(copy, stranger, data=tmp_path / "own"),
        ):
            pass


def test_the_command_prints_and_writes_the_same(run: RunFolder, tmp_path: Path) -> None:
    def ask(*arguments: str) -> str:
        done = CliRunner().invoke(
            app, ["recommend", str(run.path), "--client", CLIENT, *arguments], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    wanted = expected(run, CLIENT, USER)[:2]
    found = json.loads(ask("--top", "2", "--json"))
    assert [item["key"] for item in found["recommended"]] == [key for key, _ in wanted]
    text = ask("--top", "2", "--user", f"user-{USER}")
    for item in found["recommended"]:
        assert f"{item['title']}  ({item['score']:.2f})\n" in text
    (tmp_path / "ids").write_text(f"user-{USER}\n")
    ask("--top", "2", "--users", str(tmp_path / "ids"), "--out", str(tmp_path / "lines"))
    assert json.loads((tmp_path / "lines").read_text()) == found
    with pytest.raises(ConfigError, match="reads attributes and no titles"):
        ask("--history", "red fox")
    assert f"--client {next(iter(run.result()['metrics']['clients']))}" in after_simulation(run)


def test_strangers_and_services_are_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no client 'toy-01' in 'toy'.*it has 12: "), recommending(run, "toy-01"):
        pass
    with (
        pytest.raises(ConfigError, match="without the split"),
        recommending(run, CLIENT, ServiceAt("127.0.0.1:1", tmp_path / "token")),
    ):
        pass
    with pytest.raises(RunError, match="click model.*`fellrec api`"):
        CliRunner().invoke(app, ["serve", str(run.path)], catch_exceptions=False)


def test_the_service_and_python_answer_with_the_same(run: RunFolder) -> None:
    wanted = [key for key, _ in expected(run, CLIENT, USER)[:3]]
    with recommending(run, CLIENT) as ready:
        headers = {"Authorization": f"Bearer {'t' * 40}"}
        with TestClient(api(ready, "t" * 40), base_url="http://127.0.0.1", headers=headers) as client:
            found = client.post("/recommend", json={"user": f"user-{USER}", "top": 3})
            assert found.status_code == 200 and [item["key"] for item in found.json()["recommended"]] == wanted
            for body, status in (({"history": ["red fox"]}, 422), ({"user": "user-0"}, 404)):
                assert client.post("/recommend", json=body).status_code == status
            assert client.get("/health").json() == {"status": "ok", "client": CLIENT}
    with fellrec.load(run.path).recommender(CLIENT) as asked:
        assert asked.users == [f"user-{USER}"]
        rows = asked.recommend(top=3)
        assert [row["key"] for row in rows] == wanted and np.all(np.diff([row["score"] for row in rows]) <= 0)
        assert asked.recommend(user=f"user-{USER}", top=3) == rows and asked.history(f"user-{USER}")
