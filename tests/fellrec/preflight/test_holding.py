"""fellrec/preflight/holding.py and node.py, software.py, the command: data, model, memory, settings, exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_app.node import all_clients
from common.config import from_flat
from common.cut import Cut, config_digest, cost, digest, write_sides
from common.errors import ConfigError
from fellrec.cli import app
from fellrec.preflight import Node, holding, software
from fellrec.preflight.holding import available_memory, data, memory, model
from fellrec.preflight.software import versions
from tests.common.cut.tiny import edit_config
from tests.federation import tiny_settings
from tests.fellrec.preflight.servers import federation, verdicts
from tests.server_app.split.tiny import model_folder


def test_data_are_read_as_the_client_reads_them(fellrec_home: Path) -> None:
    config = from_flat(tiny_settings(fellrec_home))
    name, folder = next(iter(all_clients(config, config.home).items()))
    (found,) = data(Node(name=name, data_path=folder))
    assert found.verdict == "ok" and "users" in found.message and "generated" in found.message
    (found,) = data(Node(name=name, data_path=folder, data_split="global-time"))
    assert found.verdict == "fail" and "leave-last-out" in found.message
    (folder / "interactions.safetensors").write_bytes(b"x")
    (found,) = data(Node(name=name, data_path=folder))
    assert found.verdict == "fail" and found.remedy
    (found,) = data(Node(name=name, data_path=folder / "nowhere"))
    assert found.verdict == "fail" and found.remedy


def test_the_model_is_the_federations_whole_or_the_clients_side(fellrec_home: Path, tmp_path: Path) -> None:
    whole = model_folder("bert", tmp_path / "bert")
    client, server = write_sides(whole, Cut(1, 1), tmp_path / "sides")
    wanted = digest(whole)

    def verdict(folder: Path, expected: str = wanted, k: int = 1) -> str:
        (found,) = model(Node(model=str(folder), digest=expected, k=k, m=1))
        assert found.verdict == "ok" or found.remedy
        return found.verdict

    assert verdict(whole) == verdict(client) == "ok"
    for folder in (whole, client):
        (found,) = model(Node(model=str(folder), digest=wanted, config=config_digest(whole), k=1, m=1))
        assert found.verdict == "ok"
    edit_config(whole, layer_norm_eps=0.5)
    (found,) = model(Node(model=str(whole), digest=wanted, config=config_digest(client), k=1, m=1))
    assert found.verdict == "fail" and "config.json" in found.message and "config.json" in found.remedy
    assert verdict(server) == verdict(client, k=2) == verdict(whole, "0" * 64) == verdict(tmp_path / "none") == "fail"


def test_memory_is_measured_against_the_clients_side_of_the_cut(
    fellrec_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model_folder("bert", tmp_path / "bert")
    held = cost(whole, Cut(1, 1))["client"]["bytes"]
    node = Node(model=str(whole), k=1, m=1)
    enough = holding.PROCESS_BYTES + holding.WORKING * held
    for free, verdict in ((enough, "ok"), (enough - 1, "warn"), (holding.PROCESS_BYTES, "fail"), (None, "warn")):
        monkeypatch.setattr(holding, "available_memory", lambda free=free: free)
        (found,) = memory(node)
        assert found.verdict == verdict
    monkeypatch.setattr(holding, "available_memory", lambda: enough)
    assert verdicts(list(memory(Node(model=str(whole))))) == {"memory": "warn"}, "without a split all layers run here"


def test_a_control_groups_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("1000\n")
    (tmp_path / "current").write_text("400\n")
    monkeypatch.setattr(holding, "CGROUPS", ((str(tmp_path / "max"), str(tmp_path / "current")),))
    assert available_memory() == 600
    (tmp_path / "max").write_text("max\n")
    assert available_memory() is None or available_memory() > 1 << 20


def test_packages_are_held_against_what_fellrec_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(verdicts(list(versions(Node()))).values()) == {"ok"}
    real = software.metadata.version
    monkeypatch.setattr(software.metadata, "version", lambda name: "1.40.0" if name == "flwr" else real(name))
    (wrong,) = [finding for finding in versions(Node()) if finding.verdict == "fail"]
    assert wrong.check == "flwr" and "1.40.0" in wrong.message and "pip install" in wrong.remedy
    monkeypatch.setattr(software.platform, "python_version", lambda: "3.9.1")
    assert verdicts(list(versions(Node())))["python"] == "fail"


def test_settings_come_from_node_env_and_unknown_ones_are_named(tmp_path: Path) -> None:
    env = tmp_path / "node.env"
    env.write_text("# x\n\nFELLREC_NODE='a'\nFELLREC_SPLIT_K=2\nFELLREC_DATA_PATH=data\nFELLREC_ISOLATION=process\n")
    for encoding in ("utf-8", "utf-8-sig"):
        env.write_text(env.read_text(), encoding=encoding)
        assert Node.from_env(env) == Node(name="a", k=2, data_path=tmp_path / "data")
    for line, word in (
        ("FELLREC_NOD=a", "did you mean 'FELLREC_NODE'"),
        ("FELLREC_SPLIT_K=-1", "-1"),
        ("nonsense", "line 1"),
    ):
        env.write_text(line + "\n")
        with pytest.raises(ConfigError, match=word):
            Node.from_env(env)
    with pytest.raises(ConfigError, match="cannot be read"):
        Node.from_env(tmp_path / "none")


def test_the_command_fails_when_a_check_does_and_says_so_in_json(fellrec_home: Path, tmp_path: Path) -> None:
    folder, node = federation(tmp_path / "federation")
    env = folder / "nodes" / "shop-a" / "node.env"
    env.write_text(env.read_text().replace("FELLREC_SUPERLINK=localhost:8443\nFELLREC_SPLIT=localhost:50051\n", ""))
    done = CliRunner().invoke(app, ["preflight", "--env", str(env), "--json"])
    found = {finding["check"]: finding for finding in json.loads(done.output)}
    assert done.exit_code == 1 and found["data"]["verdict"] == "fail" and found["split key"]["verdict"] == "ok"
    config = from_flat(tiny_settings(fellrec_home))
    data_path = next(iter(all_clients(config, config.home).values()))
    done = CliRunner().invoke(app, ["preflight", "--env", str(env), "--data-path", str(data_path)])
    assert done.exit_code == 0 and "warn" in done.output and "fail" not in done.output
