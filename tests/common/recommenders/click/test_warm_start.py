from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from common.data.attributes import Attributes
from common.data.click_division import divide, vocabulary
from common.errors import DataError, ModelError
from common.recommenders.click.model import ClickModel
from common.recommenders.click.warm_start import ClickBase, item_codes, open_fingerprints, shape_for, user_codes
from tests.clicks import ITEMS, USERS, tiny_log

LOG = tiny_log()


def base(item_ids: bool = True) -> ClickBase:
    record = {
        "set": {"name": LOG.name, "digest": LOG.digest, "vocabulary": vocabulary(LOG)},
        "division": {"open_share": 0.25, "seed": 3, "open": open_fingerprints(LOG, divide(LOG, 0.25, 3).open)},
        "item_ids": item_ids,
    }
    return ClickBase(ClickModel(shape_for(LOG, 2, (4, 3), item_ids), seed=1), record)


@pytest.mark.parametrize("item_ids", [True, False])
def test_what_is_saved_comes_back(tmp_path: Path, item_ids: bool) -> None:
    made = base(item_ids)
    made.save(tmp_path / "warm")
    found = ClickBase.load(tmp_path / "warm")
    assert found.item_ids is item_ids and found.record["division"] == made.record["division"]
    users, items = user_codes(LOG)[:1], item_codes(LOG, item_ids)[:1]
    assert items.shape[1] == 1 + item_ids and torch.equal(found.model(users, items), made.model(users, items))


def test_with_ids_every_item_has_a_code_of_its_own() -> None:
    codes = item_codes(LOG, True)[:, -1]
    assert codes.tolist() == list(range(1, ITEMS + 1))


@pytest.mark.parametrize("damage", ["missing", "kind", "shape", "nan", "weights"])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    base().save(tmp_path / "warm")
    config, weights = tmp_path / "warm" / "config.json", tmp_path / "warm" / "model.safetensors"
    record, tensors = json.loads(config.read_text()), load_file(weights)
    if damage == "missing":
        config.unlink()
    elif damage == "weights":
        weights.write_bytes(b"no")
    elif damage == "nan":
        save_file(tensors | {"output.bias": torch.tensor([float("nan")])}, weights)
    else:
        record |= {"kind": {"kind": "bert"}, "shape": {"shape": {"users": {}}}}[damage]
        config.write_text(json.dumps(record))
    with pytest.raises(ModelError):
        ClickBase.load(tmp_path / "warm")


def test_another_log_or_division_is_refused_and_so_is_a_client_it_was_made_from() -> None:
    made, division = base(), divide(LOG, 0.25, 3)
    made.check_division(LOG, 0.25, 3)
    for share, seed in ((0.5, 3), (0.25, 4)):
        with pytest.raises(ModelError, match="click.division"):
            made.check_division(LOG, share, seed)
    with pytest.raises(ModelError, match="digest"):
        made.check_division(tiny_log(seed=1), 0.25, 3)
    made.check(LOG, [LOG.user_keys[user] for user in division.clients])
    with pytest.raises(ModelError, match="one of the clients"):
        made.check(LOG, [LOG.user_keys[division.open[0]]])
    with pytest.raises(ModelError, match="items or attributes"):
        ClickBase(made.model, made.record | {"set": made.record["set"] | {"vocabulary": "x"}}).check(LOG, [])


def test_a_log_that_makes_no_model_is_refused() -> None:
    with pytest.raises(DataError, match="no user attributes"):
        shape_for(replace(LOG, user_attributes=Attributes.encode([{}] * USERS, ())), 2, (4,), True)
    named = Attributes.encode([{"item_id": "x"}] * ITEMS, ("item_id",))
    with pytest.raises(DataError, match="'item_id'"):
        shape_for(replace(LOG, item_attributes=named), 2, (4,), True)
