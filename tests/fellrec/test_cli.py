"""The command: what it says when all is well, and when it is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.config import from_flat
from common.errors import ConfigError, DataError, RunError, SplitError
from common.run_folder import RunFolder
from fellrec.cli import app
from tests.authority import Authority
from tests.federation import federate, tiny_settings

runner = CliRunner()
ROW = dict.fromkeys(("recall@10", "recall@20", "ndcg@10", "ndcg@20"), 0.5)
BASELINES = {"popularity": ROW, "item_knn": ROW}
RESULT = {
    "run": {"rounds": 1, "void_rounds": 0},
    "metrics": {
        "test": ROW,
        "baselines": BASELINES,
        "clients": {"toy-0": {"test_users": 3, "baselines": BASELINES, **ROW}},
    },
    "data": {"generated": True},
}


def say(*arguments: str) -> str:
    done = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def say_alone(*arguments: str) -> str:
    """Standard output of a command in a process of its own, where imported libraries may speak too."""
    command = [sys.executable, "-c", "from fellrec.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


HEAVY = ("torch", "transformers", "peft", "flwr", "grpc", "sklearn", "scipy")
RENDERED = "import sys; from typer.testing import CliRunner; from fellrec.cli import app; "


def loaded_after(statements: str) -> list[str]:
    """Which of the packages that take seconds to import a process of its own holds after the statements."""
    code = f"{RENDERED}{statements}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["preflight", "--help"],
        ["recommend", "--help"],
        ["check", "demo"],
        ["data", "list"],
    ],
    ids=" ".join,
)
def test_what_only_reads_and_tells_imports_nothing_heavy(fellrec_home: Path, arguments: list[str]) -> None:
    assert loaded_after(f"assert not CliRunner().invoke(app, {arguments!r}).exit_code") == []


def test_a_completion_and_a_run_s_result_import_nothing_heavy(fellrec_home: Path) -> None:
    config = from_flat({"home": str(fellrec_home), "run-name": "one"})
    RunFolder.create(config, "").save_result(RESULT)
    for arguments in (["show", "one"], ["show", "one", "--json"], ["report", "one"]):
        assert loaded_after(f"assert not CliRunner().invoke(app, {arguments!r}).exit_code") == []
    words = {"_FELLREC_COMPLETE": "complete_bash", "COMP_WORDS": "fellrec rec", "COMP_CWORD": "1"}
    told = "done = CliRunner().invoke(app, [], prog_name='fellrec', env=dict({words!r})); assert 'recommend' in done.output"
    assert loaded_after(told.format(words=words)) == []


def test_the_check_of_what_is_loaded_sees_what_is_loaded() -> None:
    assert loaded_after("import scipy") == ["scipy"]


def test_check_prints_every_setting_and_names_what_is_wrong() -> None:
    assert 'strategy.name = "fedavg"' in say("check", "demo", "--set", "strategy.name=fedavg")
    with pytest.raises(ConfigError, match="train.learning-rate"):
        runner.invoke(app, ["check", "demo", "--set", "train.learning-rat=1"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="demo"):
        runner.invoke(app, ["check", "nowhere"], catch_exceptions=False)


def test_what_a_machine_may_read_is_json_and_nothing_else(fellrec_home: Path) -> None:
    config = from_flat({"home": str(fellrec_home), "run-name": "one"})
    RunFolder.create(config, "").save_result(RESULT)
    assert json.loads(say_alone("check", "demo", "--set", "seed=7", "--json"))["seed"] == 7
    assert json.loads(say_alone("show", "one", "--json")) == RESULT
    assert json.loads(say_alone("data", "list", "--json")) == []
    assert json.loads(say_alone("data", "show", "sample", "--json"))["name"] == "sample"
    assert [row["name"] for row in json.loads(say_alone("data", "list", "--json"))] == ["sample"]
    found = runner.invoke(app, ["preflight", "--name", "shop-a", "--json"], catch_exceptions=False)
    assert {row["verdict"] for row in json.loads(found.stdout)} <= {"ok", "warn", "fail"}


def test_own_csv_files_become_a_data_set(fellrec_home: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("id,title,genre\na,Red &amp; Green,x\nb,Blue,y\nc,Grey,y\nd,Pink,y\n")
    rows = "".join(f"{user},{item},{time}\n" for user in ("u1", "u2") for time, item in enumerate("abcd"))
    (tmp_path / "log.csv").write_text(f"user,item,timestamp\n{rows}")
    said = say(
        "data", "prepare", "shop", "--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "log.csv")
    )
    assert "shop: 2 users, 4 items, 8 interactions" in said
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


def test_a_command_that_is_ended_from_outside_ends_what_it_started() -> None:
    script = (
        "import time, fellrec.cli as cli\n"
        "def app():\n"
        "    try:\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        print('tidied', flush=True)\n"
        "cli.app = app\n"
        "cli.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.terminate()
    assert process.communicate(timeout=30)[0] == "tidied\n" and process.returncode == 128 + signal.SIGTERM
