"""The command: what it says when all is well, and when it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import ConfigError, DataError, RunError, SplitError
from common.run_folder import RunFolder
from fellrec.cli import app
from tests.authority import Authority
from tests.federation import federate, tiny_settings

runner = CliRunner()


def say(*arguments: str) -> str:
    done = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    "command", [[], ["run"], ["demo"], ["show"], ["recommend"], ["check"], ["data"], ["data", "prepare"]]
)
def test_every_command_has_a_help(command: list[str]) -> None:
    assert "Usage" in runner.invoke(app, [*command, "--help"]).output


def test_check_prints_every_setting_and_names_what_is_wrong() -> None:
    assert 'strategy.name = "fedavg"' in say("check", "demo", "--set", "strategy.name=fedavg")
    with pytest.raises(ConfigError, match="train.learning-rate"):
        runner.invoke(app, ["check", "demo", "--set", "train.learning-rat=1"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="demo"):
        runner.invoke(app, ["check", "nowhere"], catch_exceptions=False)


def test_own_csv_files_become_a_data_set(fellrec_home: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("id,title,genre\na,Red &amp; Green,x\nb,Blue,y\n")
    (tmp_path / "log.csv").write_text("user,item,timestamp\nu1,a,1\nu1,b,2\nu2,b,3\n")
    said = say(
        "data", "prepare", "shop", "--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "log.csv")
    )
    assert "shop: 2 users, 2 items, 3 interactions" in said
    assert "Red & Green" in (fellrec_home / "data" / "shop" / "catalogue.jsonl").read_text()


def test_show_and_recommend_read_a_run(fellrec_home: Path) -> None:
    federate(tiny_settings(fellrec_home, run_name="one", train__freeze_items_from=1, evaluate__evidence="neighbours"))
    assert "popularity R@10" in say("show", "one") and "generated data" in say("show")
    assert json.loads(say("show", "one", "--json"))["run"]["id"] == "one"
    user = "toy-u0"
    client = next(c for c in ("toy-0", "toy-1", "toy-2") if user in holding_users(fellrec_home, c))
    said = say("recommend", "one", "--client", client, "--user", user, "--top", "3")
    history, recommended = said.split("recommended:")
    titles = [line.split(". ")[1].rsplit("  (", 1)[0] for line in recommended.strip().splitlines()]
    assert len(titles) == 3 and not any(title in history for title in titles)
    with pytest.raises(DataError, match="nobody"):
        runner.invoke(app, ["recommend", "one", "--client", client, "--user", "nobody"], catch_exceptions=False)
    with pytest.raises(RunError, match="no run 'two'"):
        runner.invoke(app, ["show", "two"], catch_exceptions=False)


def holding_users(home: Path, client: str) -> tuple[str, ...]:
    from client_app.node import all_clients
    from common.data.dataset import Dataset

    config = RunFolder.find("one", str(home)).config()
    return Dataset.load(all_clients(config, str(home))[client]).interactions.user_keys


def test_an_error_that_was_foreseen_is_one_line_with_a_code_and_a_remedy(fellrec_home: Path) -> None:
    command = [sys.executable, "-c", "from fellrec.cli import main; main()", "check", "demo", "--set", "seed=x"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("fellrec: setting 'seed' = 'x'")
    assert done.stderr.endswith(" [FR100]\n")
    assert "Traceback" not in done.stderr


def test_split_writes_two_folders_that_sum_up_to_the_model(fellrec_home: Path, tmp_path: Path) -> None:
    tiny_settings(fellrec_home)
    said = say("split", str(fellrec_home / "model"), "--k", "1", "--m", "1", "--out", str(tmp_path / "sides"))
    assert "client:" in said and "server:" in said
    assert (tmp_path / "sides" / "client" / "cut.json").is_file() and (
        tmp_path / "sides" / "server" / "cut.json"
    ).is_file()


@pytest.mark.parametrize("tls", [False, True])
def test_recommendations_through_the_service_are_those_of_the_whole_model(
    fellrec_home: Path, tmp_path: Path, tls: bool
) -> None:
    serving, calling, thieving = [], [], []
    if tls:
        authority = Authority(tmp_path)
        (certificate, key), root = authority.pair("service"), str(authority.path)
        serving = ["--certificate", str(certificate), "--key", str(key), "--client-ca", root]
        for options, name in ((calling, "toy-1"), (thieving, "toy-2")):
            certificate, key = authority.pair(name)
            options += ["--root-certificate", root, "--certificate", str(certificate), "--key", str(key)]
    federate(tiny_settings(fellrec_home, run_name="one", split__on=True, train__freeze_items_from=0))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", "from fellrec.cli import main; main()", "serve", "one", *serving]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        address = process.stdout.readline().split(" on ")[1].split(";")[0]
        for _ in range(3):
            process.stdout.readline()
        token = fellrec_home / "runs" / "one" / "tokens" / "toy-1.token"
        assert token.stat().st_mode & 0o777 == 0o600
        through = say("recommend", "one", "--client", "toy-1", "--service", address, "--token", str(token), *calling)
        assert through == say("recommend", "one", "--client", "toy-1")
        if not tls:
            token.write_text("forged")
        with pytest.raises(SplitError):
            runner.invoke(
                app,
                ["recommend", "one", "--client", "toy-1", "--service", address, "--token", str(token), *thieving],
                catch_exceptions=False,
            )
    finally:
        process.terminate()
        assert process.wait(20) == 0
