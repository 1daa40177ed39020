from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from common.data.attributes import Attributes
from common.data.click_division import divide
from common.data.click_folder import save_clicks
from common.errors import ConfigError
from common.recommenders.click.warm_start import ClickBase
from fellrec.cli import app
from fellrec.click_distillation import Distillation, distil, soft_loss
from fellrec.click_pretraining import ClickPretraining, pretrain_clicks
from tests.clicks import SHAPE, tiny_log
from tests.real_data import real_data

LOG = tiny_log()
LARGE = replace(SHAPE, width=8, layers=(32, 8), epochs=15)
SMALL = ClickPretraining(width=2, layers=(4,), item_ids=False, epochs=15, batch=32, learning_rate=0.02)


def test_a_warm_start_is_made_from_open_users_alone(tmp_path: Path) -> None:
    """Other clicks of the clients leave every weight as it is."""
    first = pretrain_clicks(LOG, SHAPE, tmp_path / "a")
    clients = torch.isin(torch.from_numpy(LOG.users.copy()), torch.from_numpy(divide(LOG, 0.25, 0).clients)).numpy()
    turned = replace(LOG, clicks=LOG.clicks ^ clients)
    pretrain_clicks(turned, SHAPE, tmp_path / "b")
    one, other = (ClickBase.load(tmp_path / name).model.state_dict() for name in "ab")
    assert first["made"] and all(torch.equal(one[name], other[name]) for name in one)


def test_it_is_made_once_and_another_one_does_not_take_its_place(tmp_path: Path) -> None:
    assert pretrain_clicks(LOG, SHAPE, tmp_path / "a")["made"]
    assert not pretrain_clicks(LOG, SHAPE, tmp_path / "a")["made"]
    with pytest.raises(ConfigError, match="choose another name"):
        pretrain_clicks(LOG, replace(SHAPE, seed=1), tmp_path / "a")


def test_it_learns_what_open_users_like(tmp_path: Path) -> None:
    record = pretrain_clicks(LOG, replace(LARGE, open_share=0.5), tmp_path / "a")
    assert record["test"]["auc"] > 0.7


def test_items_that_nobody_met_have_no_say(tmp_path: Path) -> None:
    known = LOG.item_attributes
    more = Attributes(known.names, known.values, np.concatenate([known.codes, known.codes[:1]]))
    log = replace(LOG, item_keys=(*LOG.item_keys, "unmet"), item_attributes=more)
    pretrain_clicks(log, SHAPE, tmp_path / "a")
    rows = ClickBase.load(tmp_path / "a").model.item_embeddings["item_id"].weight
    assert not rows[[0, len(LOG.item_keys) + 1]].any() and rows[1:-1].any()


@pytest.mark.parametrize("wrong", [{"open_share": 1.0}, {"epochs": 0}, {"layers": ()}, {"learning_rate": float("nan")}])
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        replace(SHAPE, **wrong)


def test_the_soft_loss_is_least_where_the_student_says_what_the_teacher_does() -> None:
    teacher = torch.randn(50, generator=torch.Generator().manual_seed(0))
    least = soft_loss(teacher, teacher, 2.0)
    assert all(soft_loss(teacher + shift, teacher, 2.0) > least for shift in (-0.5, 0.5))
    student = teacher.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(soft_loss(student, teacher, 2.0), student)
    torch.testing.assert_close(gradient, torch.zeros(50), atol=1e-6, rtol=0)


def test_a_student_follows_its_teacher_with_a_quarter_of_its_parameters(tmp_path: Path) -> None:
    pretrain_clicks(LOG, replace(LARGE, open_share=0.5), tmp_path / "big")
    teacher = ClickBase.load(tmp_path / "big")
    lesson = Distillation(replace(SMALL, open_share=0.5))
    record = distil(teacher, LOG, lesson, tmp_path / "small")
    assert 4 * record["parameters"]["student"] <= record["parameters"]["teacher"]
    assert record["test"]["student"]["auc"] > 0.6 and record["milliseconds"]["student"] > 0
    small = ClickBase.load(tmp_path / "small")
    small.check_division(LOG, 0.5, 0)
    with pytest.raises(ConfigError, match="a quarter at most"):
        distil(small, LOG, replace(lesson, student=replace(SMALL, open_share=0.5, width=3)), tmp_path / "other")
    with pytest.raises(ConfigError, match="there already"):
        distil(teacher, LOG, lesson, tmp_path / "small")


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"temperature": float("nan")}, {"soft": 1.5}])
def test_a_lesson_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Distillation(SMALL, **wrong)


def test_the_commands_make_a_warm_start_and_a_small_one(fellrec_home: Path) -> None:
    save_clicks(LOG, fellrec_home / "data" / "toy")
    say = CliRunner()
    done = say.invoke(app, ["pretrain", "toy", "--open", "0.5", "--as", "big", "--epochs", "2"], catch_exceptions=False)
    assert done.exit_code == 0 and "from 8 open users" in done.output and "home:big" in done.output
    arguments = [
        "distil",
        "home:big",
        "--set",
        "toy",
        "--as",
        "small",
        "--embedding",
        "1",
        "--hidden",
        "3",
        "--epochs",
        "2",
    ]
    done = say.invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "student:" in done.output
    assert (fellrec_home / "models" / "small" / "model.safetensors").is_file()


def test_the_real_log_gives_a_warm_start(tmp_path: Path) -> None:
    from common.data.readers.kuaisar import read

    log, _ = read(real_data("kuaisar-r"))
    record = pretrain_clicks(log, replace(ClickPretraining(), item_ids=False, epochs=2), tmp_path / "warm")
    assert len(record["division"]["open"]) == 448 and record["parameters"] == 8745
    assert 0.55 < record["test"]["auc"] < 0.75
