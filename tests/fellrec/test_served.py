"""fellrec/served.py: a click model's client is served with what it was measured with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from client_app.click_holding import ClickHolding
from common.data.split import Part
from common.errors import ModelError, RunError
from common.evaluation.click_counts import count
from common.recommenders.click.run import click_run
from common.recommenders.click.warm_start import item_codes, user_codes
from common.run_folder import RunFolder
from fellrec.served import served_adapter
from tests.fellrec.served import Runs

FAST = {
    "num_server_rounds": 3,
    "strategy__average_rounds": 2,
    "fedpa__private_learning_rate": 0.3,
    "fedpa__group_learning_rate": 0.1,
    "fedpa__shared_learning_rate": 0.1,
}
"""Settings under which every tensor moves from round to round."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def measured(run: RunFolder, client: str) -> dict[str, float | int | None]:
    """The metrics of a client's served model on its test rows."""
    config = run.config()
    click = click_run(config)
    holding = ClickHolding.of_client(config, client, None, click.base)
    rows = np.flatnonzero(holding.log.parts == Part.TEST)
    model = click.of_client(served_adapter(run, client))
    with torch.no_grad():
        users = user_codes(holding.log).expand(len(rows), -1)
        logits = model(users, item_codes(holding.log, click.base.item_ids)[holding.log.items[rows]])
    return count(holding.log.clicks[rows], logits.numpy(), np.zeros(len(rows), int), 1).of(0) or {}


@pytest.mark.parametrize("strategy", ["fedpa", "fedavg", "local", "fellrec"])
def test_every_client_has_the_numbers_that_it_reported(runs: Runs, fellrec_home: Path, strategy: str) -> None:
    run = runs.get("click", strategy__name=strategy, **FAST)
    reported = run.result()["metrics"]["clients"]
    assert len(reported) == 12
    for client, row in reported.items():
        found = measured(run, client)
        assert found["logloss"] == pytest.approx(row["logloss"], abs=1e-6) and found["auc"] == row["auc"]
    assert served_adapter(run, client).keys() == click_run(run.config()).start().keys()


@pytest.mark.parametrize("strategy", ["fedpa", "local", "fellrec"])
def test_private_tensors_are_the_mean_of_the_last_rounds(runs: Runs, fellrec_home: Path, strategy: str) -> None:
    run = runs.get("click", strategy__name=strategy, **FAST)
    before = served_adapter(run, "toy-05")
    folder = Path(run.config().home) / "clients" / "one" / "toy-05"
    former = folder / "private-0002.safetensors"
    content = former.read_bytes()
    former.unlink()
    (folder / "private-0001.safetensors").rename(folder / "kept")
    after = served_adapter(run, "toy-05")
    (folder / "kept").rename(folder / "private-0001.safetensors")
    former.write_bytes(content)
    private = before.keys() - run.load_adapter("toy-05").keys()
    assert private and all(torch.equal(before[name], after[name]) == (name not in private) for name in before)


@pytest.mark.parametrize("strategy", ["fedpa", "local", "fellrec"])
def test_private_tensors_that_are_elsewhere_are_not_replaced_by_the_start(
    runs: Runs, fellrec_home: Path, strategy: str
) -> None:
    run = runs.get("click", strategy__name=strategy, seed=3)
    shutil.rmtree(Path(run.config().home) / "clients" / "one" / "toy-05")
    with pytest.raises(RunError, match="private tensors of client 'toy-05' of run 'one' are not on this machine"):
        served_adapter(run, "toy-05")


def test_tensors_of_another_model_are_refused_by_name(runs: Runs, fellrec_home: Path) -> None:
    run = runs.get("click", strategy__name="fedavg", **FAST)
    click, tensors = click_run(run.config()), served_adapter(run, "toy-05")
    wide = tensors | {"output.weight": torch.zeros(1, 9)}
    fewer = {name: tensor for name, tensor in tensors.items() if name != "output.weight"}
    for wrong in (wide, fewer):
        with pytest.raises(ModelError, match=r"'output.weight' does not fit"):
            click.of_client(wrong)
    with pytest.raises(ModelError, match="not finite"):
        click.of_client(tensors | {"output.bias": torch.tensor([torch.nan])})
