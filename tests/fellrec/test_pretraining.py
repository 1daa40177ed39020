"""A model from catalogue text: what is in its folder, that it is made once, and that it is good for something."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from common.cut import Cut, client_side, server_side
from common.data.catalogue import Catalogue
from common.data.sample import generate
from common.errors import ConfigError, ModelError
from common.models import load_causal, load_tokenizer, resolve
from common.recommenders.corpus import Corpus
from common.recommenders.generative.prompt import Prompts
from fellrec import learning
from fellrec.base_tokenizer import BOS, EOS, PAD, train_tokenizer
from fellrec.cli import app
from fellrec.pretraining import PretrainSettings, pretrain, read_record

TITLES = (
    "Halo 3",
    "Halo",
    'The "Best" of Pokémon (DS)',
    "Ōkami",
    "神の塔",
    "</s> <pad>",
    "Émile  et\tles 🐉",
    "1942",
    "Halo 3: ODST",
    "Mario Kart: Double Dash!!",
)
TINY = PretrainSettings(layers=4, width=16, heads=2, vocabulary=400, steps=6, batch=4, history=3)
CATALOGUE = Catalogue("games", tuple(map(str, range(len(TITLES)))), tuple({"title": title} for title in TITLES))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "toy"
    assert pretrain([CATALOGUE], TINY, folder)["made"]
    return folder


def test_the_folder_has_the_hubs_form_and_loads(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "pretraining.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    model = AutoModelForCausalLM.from_pretrained(made, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(made, local_files_only=True)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    ids = [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert ids == [0, 1, 2] and tokenizer.convert_ids_to_tokens(ids) == [PAD, BOS, EOS]
    for config in (model.config, model.generation_config):
        assert [config.pad_token_id, config.bos_token_id, config.eos_token_id] == ids
    assert tokenizer("Halo")["input_ids"][0] == 1
    loaded = load_causal(made)(input_ids=torch.tensor([[1, 5, 9]])).logits
    torch.testing.assert_close(loaded, model(input_ids=torch.tensor([[1, 5, 9]])).logits)


def test_every_title_is_spelled_without_an_unknown_token(made: Path) -> None:
    tokenizer = load_tokenizer(made)
    prompts = Prompts(tokenizer, TINY.template)
    assert tokenizer.unk_token is None
    for title, ids in zip(TITLES, prompts.pieces.inner(TITLES), strict=True):
        assert tokenizer.decode(ids) == title
        assert prompts.decode([*ids, *prompts.end]) == title


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_any_text_survives_a_tokenizer_that_never_saw_it(text: str) -> None:
    prompts = Prompts(TOKENIZER, TINY.template)
    (ids,) = prompts.pieces.inner([text])
    assert TOKENIZER.decode(ids) == text and not set(ids) & {0, 1, 2}


TOKENIZER = train_tokenizer(["Halo", "Halo 3"] * 4, 270, 256)


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ConfigError, match="--vocabulary"):
        train_tokenizer(["Halo"], 258, 256)


def test_the_same_text_settings_and_seed_give_the_same_weights(made: Path, tmp_path: Path) -> None:
    pretrain([CATALOGUE], TINY, tmp_path / "again")
    pretrain([CATALOGUE], replace(TINY, seed=1), tmp_path / "other")
    weights, again, other = (
        load_file(folder / "model.safetensors") for folder in (made, tmp_path / "again", tmp_path / "other")
    )
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not all(torch.equal(weights[name], other[name]) for name in weights)
    assert (made / "tokenizer.json").read_bytes() == (tmp_path / "again" / "tokenizer.json").read_bytes()


def test_a_model_is_made_once(made: Path) -> None:
    stamp = (made / "model.safetensors").stat().st_mtime_ns
    found = pretrain([CATALOGUE], TINY, made, lambda _: pytest.fail("it learns again"))
    assert not found["made"] and found["digest"] == read_record(made)["digest"]
    assert (made / "model.safetensors").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", [{"steps": 7}, {"seed": 1}, {"layers": 5}])
def test_a_folder_of_other_settings_is_left_alone(made: Path, change: dict) -> None:
    with pytest.raises(ConfigError, match="other text or settings"):
        pretrain([CATALOGUE], replace(TINY, **change), made)


def test_a_folder_of_other_text_or_another_origin_is_left_alone(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="other text or settings"):
        pretrain([CATALOGUE.subset(range(5))], TINY, made)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ModelError, match="no model that fellrec pre-trained"):
        pretrain([CATALOGUE], TINY, tmp_path / "mine")


def test_an_interrupted_call_goes_on_to_the_same_weights(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "KEEP", 0.0)
    heard: list[int] = []

    def interrupt(learning: learning.Learning) -> None:
        heard.append(learning.steps)
        if learning.steps == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain([CATALOGUE], TINY, tmp_path / "toy", interrupt)
    assert not (tmp_path / "toy").exists()
    pretrain([CATALOGUE], TINY, tmp_path / "toy", lambda learning: heard.append(learning.steps))
    assert heard == [1, 2, 3, 4, 5, 6]
    weights, whole = (load_file(folder / "model.safetensors") for folder in (tmp_path / "toy", made))
    assert all(torch.equal(weights[name], whole[name]) for name in whole)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_minutes_end_the_learning(tmp_path: Path) -> None:
    record = pretrain([CATALOGUE], replace(TINY, steps=0, minutes=1e-9), tmp_path / "toy")
    assert record["steps"] == 1


def test_the_card_says_what_went_in(made: Path) -> None:
    card, record = (made / "README.md").read_text(), json.loads((made / "pretraining.json").read_text())
    assert card.startswith("---\n") and "# toy" in card and "No interaction of anybody" in card
    assert f"`games`: {len(TITLES)} items, digest `{CATALOGUE.digest}`" in card
    assert record["digest"] in card and TINY.instruction in card
    assert record["settings"]["steps"] == record["steps"] == 6


def test_both_sides_of_a_cut_give_the_whole_models_logits(made: Path) -> None:
    whole, cut = load_causal(made), Cut(1, 1)
    sides = client_side(made, cut, server_side(made, cut), causal=True)
    ids = torch.tensor([[1, 7, 30, 4, 2]])
    with torch.no_grad():
        assert torch.equal(sides(input_ids=ids).logits, whole(input_ids=ids).logits)


def test_it_learns_which_title_follows(tmp_path: Path) -> None:
    catalogue = generate().catalogue.subset(range(12))
    corpus, longer = Corpus.of([catalogue]), replace(TINY, width=32, steps=30, vocabulary=500, learning_rate=2e-2)
    losses = []
    for steps in (1, longer.steps):
        folder = tmp_path / str(steps)
        pretrain([catalogue], replace(longer, steps=steps), folder)
        prompts = Prompts(load_tokenizer(folder), longer.template)
        lists = corpus.lists(32, 4, np.random.default_rng(99))
        batch = prompts.with_answers(
            [one[:-1] for one in lists], [one[-1] for one in lists], prompts.titles(corpus), "answer"
        )
        with torch.no_grad():
            losses.append(float(load_causal(folder)(**batch._asdict()).loss))
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "change", [{"layers": 0}, {"width": 15}, {"heads": 3}, {"minutes": 0.0}, {"minutes": float("nan")}, {"steps": -1}]
)
def test_settings_that_make_no_model_are_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(change)) if change != {"heads": 3} else "heads"):
        replace(TINY, **change)


def test_the_command_makes_a_model_that_a_recipe_can_name(fellrec_home: Path) -> None:
    command = [
        "pretrain",
        "sample",
        "--as",
        "toy",
        "--layers",
        "3",
        "--width",
        "16",
        "--heads",
        "2",
        "--vocabulary",
        "300",
        "--steps",
        "2",
    ]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0 and "2 steps" in done.output and "(made)" in done.output
    assert resolve("home:toy") == fellrec_home / "models" / "toy"
    assert str(fellrec_home / "models" / "toy") in done.output
    assert "(there already)" in CliRunner().invoke(app, command, catch_exceptions=False).output
    for name in ("a/b", ".hidden", ""):
        with pytest.raises(ConfigError):
            CliRunner().invoke(app, [*command[:3], name, *command[4:]], catch_exceptions=False)
