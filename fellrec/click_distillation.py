"""A small click model that learns from a large one's probabilities: knowledge distillation on the server.

Soft labels at a temperature (Hinton, Vinyals and Dean, arXiv 1503.02531): the student's logits over T are to give the
teacher's probabilities at T, times T squared so that the gradient keeps its size, beside the clicks themselves. Pairs of
open users and items that nobody met have no clicks, and teach by the teacher's word alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from common.data.clicks import ClickLog
from common.data.split import Part
from common.errors import ConfigError, ModelError
from common.recommenders.click.model import ITEM_ID, ClickModel, click_loss
from common.recommenders.click.warm_start import ClickBase, item_codes, shape_for
from common.seeds import derive
from fellrec.click_pretraining import ClickPretraining, Rows, Told, fit, open_rows

LARGEST = 0.25
"""Share of the teacher's parameters that a student may have."""

CANDIDATES, REPEATS = 1000, 200
"""Items that one user's scores are timed over, and how often."""


@dataclass(frozen=True)
class Distillation:
    """How a student learns.

    Parameters
    ----------
    student : its shape and how it learns; open users, division and seed as the teacher's.
    temperature : of the soft labels, above 0. soft : weight of the teacher's word against the clicks, in [0, 1].
    """

    student: ClickPretraining
    temperature: float = 2.0
    soft: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature is {self.temperature!r}", "it must be a positive number")
        if not 0 <= self.soft <= 1:
            raise ConfigError(f"soft is {self.soft!r}", "it lies in [0, 1]")


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean cross-entropy of the student's probabilities at T with the teacher's, for logits [n]."""
    wanted = torch.sigmoid(teacher / temperature)
    return temperature**2 * binary_cross_entropy_with_logits(student / temperature, wanted)


def distil(
    teacher: ClickBase, log: ClickLog, settings: Distillation, folder: Path, told: Told = lambda *_: None
) -> dict[str, Any]:
    """Teach a smaller click model and keep it in ``folder``; returns its record.

    The record has both models' parameters, metrics on the open users' test rows, and milliseconds for a user's scores of a
    thousand items, as measured here.

    Raises
    ------
    ConfigError : the folder is there already, or the student has more than a quarter of the teacher's parameters.
    ModelError : the teacher was made on another log.
    """
    division, own = teacher.record["division"], settings.student
    teacher.check_division(log, division["open_share"], division["seed"])
    if (own.open_share, own.division) != (division["open_share"], division["seed"]):
        raise ModelError("the student's open users are not the teacher's", "take the teacher's share and division")
    if folder.exists():
        raise ConfigError(f"{str(folder)!r} is there already", "choose another name, or delete it")
    student = ClickModel(shape_for(log, own.width, own.layers, own.item_ids), derive(own.seed, "student"))
    if own.item_ids:
        torch.nn.init.zeros_(student.item_embeddings[ITEM_ID].get_parameter("weight"))
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (teacher.model, student)]
    if sizes[1] > LARGEST * sizes[0]:
        raise ConfigError(
            f"the student has {sizes[1]:,} parameters, the teacher {sizes[0]:,}",
            "make it narrower or do without item ids: a quarter at most",
        )
    began = time.perf_counter()
    opened, _ = open_rows(log, own.open_share, own.division, own.item_ids)
    known, _ = open_rows(log, own.open_share, own.division, teacher.item_ids)
    best = fit(student, opened, own, _lesson(student, teacher, log, settings), told)
    rows = {"teacher": (teacher.model, known), "student": (student, opened)}
    record = {
        **{key: teacher.record[key] for key in ("set", "division")},
        "item_ids": own.item_ids,
        "settings": asdict(settings),
        "teacher": teacher.record.get("digest"),
        "epoch": best,
        "seconds": round(time.perf_counter() - began, 3),
        "parameters": {"teacher": sizes[0], "student": sizes[1]},
        "test": {name: own_rows[Part.TEST].metrics(model) for name, (model, own_rows) in rows.items()},
        "milliseconds": {name: _milliseconds(model, own_rows[Part.TEST]) for name, (model, own_rows) in rows.items()},
    }
    ClickBase(student, record).save(folder)
    return record


def _lesson(student: ClickModel, teacher: ClickBase, log: ClickLog, settings: Distillation) -> Callable[[Rows], Tensor]:
    """The loss of a batch: soft and hard on its rows, soft on as many of its users with items drawn at random."""
    items = {ids: item_codes(log, ids) for ids in (teacher.item_ids, settings.student.item_ids)}
    draw = torch.Generator().manual_seed(derive(settings.student.seed, "unmet items"))

    def loss(batch: Rows) -> Tensor:
        met = len(batch.clicks)
        users = torch.cat([batch.users, batch.users])
        numbers = torch.cat([batch.numbers, torch.randint(len(log.item_keys), (met,), generator=draw)])
        with torch.no_grad():
            wanted = teacher.model(users, items[teacher.item_ids][numbers])
        found = student(users, items[settings.student.item_ids][numbers])
        hard = click_loss(found[:met], batch.clicks)
        return settings.soft * soft_loss(found, wanted, settings.temperature) + (1 - settings.soft) * hard

    return loss


def _milliseconds(model: ClickModel, rows: Rows) -> float:
    """The median time of one user's scores of :data:`CANDIDATES` items, one core's worth of this machine."""
    places = np.resize(np.arange(len(rows.clicks)), CANDIDATES)
    users, items, taken = rows.users[:1].expand(CANDIDATES, -1), rows.items[places], []
    with torch.no_grad():
        for _ in range(REPEATS):
            began = time.perf_counter()
            model(users, items)
            taken.append(time.perf_counter() - began)
    return round(1000 * float(np.median(taken)), 4)
