"""Settings of models, data and clients: each runs to a complete result, and really changes something.

What the settings of the server's side make of what was sent is recomputed in ``tests/test_wiring.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from flwr.supercore.task_identity import TaskIdentity

from common.run_folder import RunFolder
from tests.federation import federate, tiny_settings
from tests.test_federation import adapters, result

CHANGES = {
    "product similarity": {"fellrec__similarity": "product"},
    "product merge": {"fellrec__merge": "product"},
    "item and key/value embeddings": {"model__positions": "recformer"},
    "no projection": {"model__projection": False},
    "first token": {"model__pooling": "first"},
    "recency": {"model__recency": 0.5},
    "half precision": {"model__dtype": "bf16"},
    "item and key/value embeddings in half precision": {"model__dtype": "bf16", "model__positions": "recformer"},
    "full fine-tuning": {"model__adapter": "full"},
    "Dirichlet": {"data__partition": "dirichlet"},
    "one user per client": {"data__partition": "user", "data__sets": "toy:3"},
    "global time": {"data__split": "global-time"},
    "the same examples every round": {"train__resample": False},
    "two local epochs": {"train__local_epochs": 2},
}


COMMON = {"fellrec__own_share": "rule", "num_server_rounds": 3}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run of nothing but defaults."""
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    home = tmp_path_factory.mktemp("home")
    federate(tiny_settings(home, run_name="plain", **COMMON))
    return home


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_setting_changes_the_run_and_the_run_is_whole(plain: Path, change: str) -> None:
    name = change.replace(" ", "-").replace("/", "-")
    federate(tiny_settings(plain, run_name=name, **COMMON | CHANGES[change]))
    changed = result(plain, name)
    assert changed["run"]["rounds"] == 3 and changed["metrics"]["clients"]
    one, other = (_first_adapter(plain, run) for run in ("plain", name))
    assert one.keys() != other.keys() or any(not torch.equal(one[name], other[name]) for name in one)


def _first_adapter(home: Path, run: str) -> dict[str, torch.Tensor]:
    folder = RunFolder.find(run, str(home))
    return folder.load_adapter(sorted(path.stem for path in (folder.path / "adapters").iterdir())[0])


SPLIT = [
    "item and key/value embeddings",
    "product merge",
    "no projection",
    "recency",
    "half precision",
    "item and key/value embeddings in half precision",
]


@pytest.mark.parametrize("change", SPLIT)
def test_the_split_changes_no_number_under_other_settings_either(fellrec_home: Path, change: str) -> None:
    for on in (False, True):
        federate(tiny_settings(fellrec_home, run_name=f"split-{on}", split__on=on, **CHANGES[change]))
    whole, split = adapters(fellrec_home, "split-False"), adapters(fellrec_home, "split-True")
    assert all(torch.equal(whole[client][name], split[client][name]) for client in whole for name in whole[client])


def test_a_lossy_codec_changes_numbers_and_sends_fewer_bytes(fellrec_home: Path) -> None:
    sent = {}
    for codec in ("fp32", "bf16", "int8"):
        federate(tiny_settings(fellrec_home, run_name=codec, split__on=True, split__codec=codec))
        sent[codec] = result(fellrec_home, codec)["cost"]["client"]["bytes_up"]
    assert sent["int8"] < sent["bf16"] < sent["fp32"]
    exact, rounded = adapters(fellrec_home, "fp32")["toy-0"], adapters(fellrec_home, "bf16")["toy-0"]
    assert any(not torch.equal(exact[name], rounded[name]) for name in exact)
