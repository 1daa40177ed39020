"""A small generated click log, a warm start from its open users, and settings of a run that takes a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.config import flatten, from_flat
from common.data.attributes import Attributes
from common.data.click_folder import load_clicks, save_clicks
from common.data.clicks import ClickLog
from fellrec.click_pretraining import ClickPretraining, pretrain_clicks

USERS, ROWS, ITEMS = 16, 20, 12
SHAPE = ClickPretraining(width=2, layers=(4, 3), epochs=3, batch=32, learning_rate=0.01)


def tiny_log(name: str = "toy", seed: int = 0) -> ClickLog:
    """Users of two ages and three cities; who is old clicks on red items, the others on blue ones, mostly."""
    draw = np.random.default_rng(seed)
    ages, cities, colours = np.arange(USERS) % 2, np.arange(USERS) % 3, np.arange(ITEMS) % 2
    users = np.repeat(np.arange(USERS), ROWS)
    items = draw.integers(ITEMS, size=len(users))
    clicks = (ages[users] == colours[items]) ^ (draw.random(len(users)) < 0.15)
    times = np.tile(np.arange(ROWS) * 1000, USERS)
    attributes = {
        "user": [{"age": f"a{a}", "city": f"c{c}"} for a, c in zip(ages, cities, strict=True)],
        "item": [{"colour": f"r{colour}"} for colour in colours],
    }
    return ClickLog(
        name,
        tuple(f"user-{u}" for u in range(USERS)),
        tuple(f"i{i}" for i in range(ITEMS)),
        users.astype(np.int32),
        items.astype(np.int32),
        clicks.astype(np.int8),
        times.astype(np.int64),
        Attributes.encode(attributes["user"], ("age", "city")),
        Attributes.encode(attributes["item"], ("colour",)),
        generated=True,
        licence="none",
        source="made for a test",
    )


def click_settings(home: Path, **overrides: object) -> dict:
    """Flat settings over the log ``toy`` and its warm start, both made where they are missing."""
    if not (home / "data" / "toy").is_dir():
        save_clicks(tiny_log(), home / "data" / "toy")
    if not (home / "models" / "warm").is_dir():
        pretrain_clicks(load_clicks(home / "data" / "toy"), SHAPE, home / "models" / "warm")
    chosen = {
        "home": str(home),
        "num-server-rounds": 2,
        "data.sets": "toy",
        "model.recommender": "click",
        "model.name": str(home / "models" / "warm"),
        "split.on": False,
        "strategy.name": "fedpa",
        "strategy.average-rounds": 1,
        "fedpa.gate-width": "3,2",
        "fedpa.rank": 2,
        "federation.timeout": 5.0,
        "federation.nodes-timeout": 5.0,
        **{key.replace("__", ".").replace("_", "-"): value for key, value in overrides.items()},
    }
    return dict(flatten(from_flat(chosen)))
