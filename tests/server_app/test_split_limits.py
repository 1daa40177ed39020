"""server_app/split_limits.py: every limit is a setting; 0 is what the run itself needs."""

from __future__ import annotations

from dataclasses import fields

import pytest
from transformers import AutoConfig

from common.config import flatten, from_flat
from server_app.split.settings import Limits
from server_app.split_limits import limits_of
from tests.federation import tiny_settings

BERT = AutoConfig.for_model("bert")
LONGFORMER = AutoConfig.for_model("longformer", attention_window=[64, 64])


def limits(backbone: object = BERT, **settings: object) -> Limits:
    flat = {name.replace("__", ".").replace("_", "-"): value for name, value in settings.items()}
    return limits_of(from_flat(flat), backbone)


def test_every_limit_of_the_service_is_a_setting_and_reaches_it() -> None:
    settings = {
        key.removeprefix("split.limits."): value
        for key, value in flatten(from_flat({}))
        if key.startswith("split.limits.")
    }
    names = {field.name.replace("_", "-") for field in fields(Limits)} - {"tokens-per-second"}
    assert settings.keys() == names
    for name, default in settings.items():
        other = type(default)(default / 2 if name == "long-share" else max(default + 1, default))
        if name == "header-bytes":
            other = default - 1
        found = limits_of(from_flat({f"split.limits.{name}": other}), BERT)
        assert getattr(found, name.replace("-", "_")) == other, name
    assert limits(split__tokens_per_second=7.0).tokens_per_second == 7.0


def test_the_runs_own_batches_are_what_a_client_may_send() -> None:
    found = limits(model__max_tokens=96, train__batch_size=16, evaluate__batch_size=64)
    assert (found.width, found.tokens, found.training_tokens) == (96, 64 * 96, 16 * 96)
    found = limits(model__max_tokens=96, train__batch_size=20, train__micro_batches=3)
    assert found.training_tokens == 7 * 96 and found.micro_batches == 3


def test_a_window_is_padded_whole() -> None:
    assert limits(LONGFORMER, model__max_tokens=70).width == 128


def test_beams_are_rows() -> None:
    found = limits(model__recommender="generative", evaluate__batch_size=8, generate__beams=200, model__max_tokens=100)
    assert found.tokens == 200 * 100


@pytest.mark.parametrize("name", ["encoder", "generative"])
def test_a_tiny_run_needs_little(fellrec_home, name: str) -> None:
    config = from_flat(tiny_settings(fellrec_home, split__on=True, model__recommender=name))
    assert limits_of(config, BERT).tokens < 1 << 16
