"""A run with the middle layers on the server: the numbers of the run without, whatever happens to a client."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from client_app import hosted
from client_app.text_learner import recommender_for
from common.errors import RunError
from common.run_folder import RunFolder
from fellrec.served import served_adapter
from tests.common.cut.tiny import edit_config
from tests.federation import broken, federate, silent, tiny_dataset, tiny_settings
from tests.test_federation import adapters, claim, events, poison, result


@pytest.mark.parametrize("strategy", ["fellrec", "fedavg", "local", "centralised"])
def test_the_split_changes_no_number(fellrec_home: Path, strategy: str) -> None:
    for on in (False, True):
        federate(
            tiny_settings(
                fellrec_home, strategy__name=strategy, split__on=on, run_name=f"split-{on}", num_server_rounds=3
            )
        )
    whole, split = (
        {
            client: served_adapter(RunFolder.find(run, str(fellrec_home)), client)
            for client in ("toy-0", "toy-1", "toy-2")
        }
        for run in ("split-False", "split-True")
    )
    for client in whole:
        assert whole[client].keys() == split[client].keys()
        assert all(torch.equal(whole[client][name], split[client][name]) for name in whole[client])
    assert result(fellrec_home, "split-False")["metrics"] == result(fellrec_home, "split-True")["metrics"]


def test_micro_batches_that_overlap_change_no_number(fellrec_home: Path) -> None:
    for on in (False, True):
        federate(
            tiny_settings(
                fellrec_home, split__on=on, run_name=f"micro-{on}", train__micro_batches=3, train__batch_size=8
            )
        )
    whole, split = adapters(fellrec_home, "micro-False"), adapters(fellrec_home, "micro-True")
    assert all(torch.equal(whole[client][name], split[client][name]) for client in whole for name in whole[client])


def test_the_client_holds_less_and_the_result_says_what_travelled(fellrec_home: Path) -> None:
    recommender_for.cache_clear()
    federate(tiny_settings(fellrec_home, split__on=True))
    found = result(fellrec_home)
    cost = found["cost"]["client"]
    assert found["run"]["split"] == {"on": True, "k": 1, "m": 1, "layers": 4}
    assert cost["parameters"] < cost["parameters_whole"] and cost["weights_bytes"] < cost["weights_bytes_whole"]
    assert cost["parameters_whole"] - cost["parameters"] >= found["cost"]["server"]["hosted_parameters"] > 0
    assert cost["bytes_up"] > 10_000 and cost["bytes_down"] > 10_000


def test_the_mixed_hosted_part_is_what_the_next_round_starts_from(fellrec_home: Path) -> None:
    """An own share of one takes a client's own adapter whole, the hosted part with it: no trace of the others is left."""
    tiny_dataset("many", users=120).save(fellrec_home / "data" / "many")
    more = {"data__sets": "many:3", "train__local_epochs": 10, "train__learning_rate": 1e-2, "model__temperature": 0.5}
    always = {"fellrec__own_margin": 0.0, "split__on": True, "num_server_rounds": 3, **more}
    federate(tiny_settings(fellrec_home, run_name="split", **always))
    federate(tiny_settings(fellrec_home, run_name="whole", **always | {"split__on": False}))
    shares = [[c["share"] for c in event["clients"].values()] for event in events(fellrec_home, "round_ended", "split")]
    assert shares == [
        [c["share"] for c in event["clients"].values()] for event in events(fellrec_home, "round_ended", "whole")
    ]
    assert any(share for row in shares for share in row)
    assert result(fellrec_home, "split")["metrics"] == result(fellrec_home, "whole")["metrics"]


@pytest.mark.parametrize("fault", [broken, silent, poison("", float("nan")), claim("losses", [float("nan")])])
def test_a_client_that_is_left_out_leaves_no_trace_in_its_hosted_adapter(fellrec_home: Path, fault) -> None:
    """Its next round starts where the last one did, as in the run without the split."""
    for on in (False, True):
        settings = tiny_settings(fellrec_home, split__on=on, run_name=f"fault-{on}", federation__timeout=6.0)
        federate(settings, faults={("toy-1", 1): fault})
        assert [event["clients"] for event in events(fellrec_home, "rejected", f"fault-{on}")] == [["toy-1"]]
    whole, split = adapters(fellrec_home, "fault-False"), adapters(fellrec_home, "fault-True")
    assert all(torch.equal(whole[client][name], split[client][name]) for client in whole for name in whole[client])


def test_a_resumed_split_run_gives_the_numbers_of_the_unbroken_one(fellrec_home: Path) -> None:
    federate(tiny_settings(fellrec_home, run_name="whole", num_server_rounds=4, split__on=True))
    federate(tiny_settings(fellrec_home, run_name="half", num_server_rounds=2, split__on=True))
    federate(tiny_settings(fellrec_home, run_name="half", num_server_rounds=4, split__on=True, resume=True))
    unbroken, resumed = adapters(fellrec_home, "whole"), adapters(fellrec_home, "half")
    assert all(
        torch.equal(unbroken[client][name], resumed[client][name]) for client in unbroken for name in unbroken[client]
    )


@pytest.mark.parametrize("field", ["layer_norm_eps", "hidden_act"])
def test_a_client_whose_model_computes_something_else_is_refused(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    settings = tiny_settings(fellrec_home, split__on=True)
    other = fellrec_home / "other"
    shutil.copytree(fellrec_home / "model", other)
    edit_config(other, **{field: {"layer_norm_eps": 0.1, "hidden_act": "relu"}[field]})
    monkeypatch.setattr(hosted, "resolve", lambda name: other)
    with pytest.raises(RunError, match="quorum"):
        federate(settings)
    said = {event["reason"] for event in events(fellrec_home, "rejected")}
    assert said and all("config is" in reason and "config.json differs" in reason for reason in said)


def test_tokens_are_in_no_file_of_the_run(fellrec_home: Path) -> None:
    grid = federate(tiny_settings(fellrec_home, split__on=True))
    tokens = [token for m in grid.sent for token in m.content.config_records["config"].get("split-tokens", [])]
    run = RunFolder.find("latest", str(fellrec_home)).path
    kept = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())
    assert tokens and not any(token.encode() in kept for token in tokens)


def test_a_lossy_run_leaves_nothing_to_an_exact_one_in_the_same_home(fellrec_home: Path) -> None:
    frozen = {"split__on": True, "train__freeze_items_from": 1}
    federate(tiny_settings(fellrec_home, run_name="exact", **frozen))
    shutil.rmtree(fellrec_home / "clients")
    federate(tiny_settings(fellrec_home, run_name="lossy", split__codec="int8", **frozen))
    federate(tiny_settings(fellrec_home, run_name="after", **frozen))
    one, other = adapters(fellrec_home, "exact"), adapters(fellrec_home, "after")
    assert all(torch.equal(one[client][name], other[client][name]) for client in one for name in one[client])
