"""fellrec/commands/recommend.py and recommending.py: what a person asks for, and what comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import ConfigError, DataError, FellrecError, RunError
from common.recommenders.evidence import Weights
from common.run_folder import RunFolder
from fellrec.cli import app
from fellrec.recommending import ServiceAt, chosen_weights, recommending
from server_app.hosting import Hosting
from tests.fellrec.served import Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(runs: Runs, fellrec_home: Path) -> RunFolder:
    return runs.get("encoder", evaluate__evidence="popularity")


def ask(run: RunFolder, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["recommend", str(run.path), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def users(run: RunFolder, client: str) -> tuple[str, ...]:
    with recommending(run, client) as ready:
        return ready._holding.dataset.interactions.user_keys


def test_json_holds_what_the_text_shows(run: RunFolder) -> None:
    user = users(run, "toy-1")[0]
    found = json.loads(ask(run, "--client", "toy-1", "--user", user, "--top", "3", "--json"))
    text = ask(run, "--client", "toy-1", "--user", user, "--top", "3")
    assert found["client"] == "toy-1" and found["user"] == user and len(found["recommended"]) == 3
    for item in found["recommended"]:
        assert f"{item['title']}  ({item['score']:.2f})  like {', '.join(item['because'])}" in text
    assert all(f"\n  {title}\n" in text for title in found["history"])


def test_somebody_new_gives_titles(run: RunFolder) -> None:
    said = ask(run, "--client", "toy-1", "--history", "red fox", "--history", "blue baer", "--top", "2")
    assert "somebody new of client toy-1" in said and "note: 'blue baer' was read as 'blue bear'" in said
    assert "red fox" not in said.split("recommended:")[1].replace("like red fox", "").replace(", red fox", "")


def test_many_users_are_written_line_by_line(run: RunFolder, tmp_path: Path) -> None:
    chosen = users(run, "toy-1")[:3]
    (tmp_path / "users.txt").write_text("\n".join(chosen) + "\n\n", encoding="utf-8-sig")
    arguments = ["--client", "toy-1", "--users", str(tmp_path / "users.txt"), "--out", str(tmp_path / "out.jsonl")]
    assert "3 users in" in ask(run, *arguments, "--top", "2")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["user"] for line in lines] == list(chosen) and all(len(line["recommended"]) == 2 for line in lines)
    (tmp_path / "users.txt").write_text(f"{chosen[0]}\nnobody\n")
    (tmp_path / "out.jsonl").unlink()
    with pytest.raises(DataError, match="nobody"):
        ask(run, *arguments)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["users.txt"]


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (["--user", "a", "--history", "b"], ConfigError, "given together"),
        (["--users", "ids.txt"], ConfigError, "give both"),
        (["--users", "nowhere.txt", "--out", "o.jsonl"], DataError, "nowhere.txt"),
        (["--client", "toy-9"], RunError, "toy-0, toy-1, toy-2"),
        (["--token", "t"], ConfigError, "--service"),
        (["--service", "127.0.0.1:1", "--token", "t"], ConfigError, "without the split"),
        (["--data-path", "somewhere"], ConfigError, "--client"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    run: RunFolder, arguments: list[str], error: type[FellrecError], told: str
) -> None:
    with pytest.raises(error, match=told):
        ask(run, *arguments)


def test_a_client_s_own_folder_stands_for_the_simulated_one(run: RunFolder, tmp_path: Path) -> None:
    simulated = ask(run, "--client", "toy-1", "--json")
    with recommending(run, "toy-1") as ready:
        folder = next(
            path.parent
            for path in (Path(run.config().home) / "data").rglob("catalogue.jsonl")
            if path.parent.name == "toy-1" or ready.client in path.parent.as_posix()
        )
    shutil.copytree(folder, tmp_path / "own")
    assert ask(run, "--client", "toy-1", "--data-path", str(tmp_path / "own"), "--json") == simulated


@pytest.mark.parametrize("grounding", ["distance", "trie"])
def test_a_generative_recommender_answers_alike_through_the_service(
    runs: Runs, fellrec_home: Path, tmp_path: Path, grounding: str
) -> None:
    run = runs.get("generative", generate__grounding=grounding, split__on=True)
    with recommending(run, "toy-1") as ready:
        expected = ready.for_history(["red fox", "blue bear"], 4)
    # without what the whole model made of the titles, so that the service has to
    shutil.rmtree(Path(run.config().home) / "clients" / "shared", ignore_errors=True)
    hosting = Hosting(run.config(), run.name, tmp_path)
    try:
        access = hosting.show("toy-1", {0.0: run.load_adapter("toy-1")}, 60.0)
        (tmp_path / "token").write_text(access.tokens[0.0])
        with recommending(run, "toy-1", ServiceAt(access.address, tmp_path / "token")) as ready:
            assert ready.for_history(["red fox", "blue bear"], 4) == expected
    finally:
        hosting.close()


def test_weights_are_those_of_the_result(run: RunFolder) -> None:
    def result(evidence: dict) -> dict:
        return {"metrics": {"clients": {"a": {"evidence": evidence}}}}

    assert chosen_weights(result({"popularity": 0.5}), "a") == Weights(popularity=0.5)
    assert chosen_weights(result({"popularity": 0.5}), "b") is None
    assert chosen_weights(result({"another": 0.5}), "a") is None
    assert chosen_weights(run.result(), "toy-1") is not None
    for wrong in (float("nan"), "1"):
        with pytest.raises(RunError, match="evidence"):
            chosen_weights(result({"popularity": wrong}), "a")
