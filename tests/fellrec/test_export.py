"""fellrec/export.py: a folder that stock PEFT loads, and that computes what the run's adapter does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModel, AutoModelForCausalLM
from typer.testing import CliRunner

from client_app.holding import Holding
from client_app.node import all_clients
from common.data.dataset import Dataset
from common.data.split import Part
from common.errors import ConfigError, ModelError, RunError
from common.evaluation.rankings import METRICS, RankingMetrics, ranks
from common.recommenders.encoder.text import compose
from common.run_folder import RunFolder
from fellrec import export as export_module
from fellrec.cli import app
from fellrec.export import base_name, export
from fellrec.recommending import recommending
from fellrec.serving import whole_recommender
from tests.common.recommenders import causal
from tests.fellrec.served import Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def follow(out: Path, base: str) -> Any:
    """What the card's program makes, word for word but for the two places that it names."""
    program = re.findall(r"^```python\n(.*?)^```$", (out / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    assert "fellrec" not in program and "common" not in program
    places = {'"this folder"': repr(str(out)), '"the base model\'s folder"': repr(base)}
    for told, meant in places.items():
        assert program.count(told) == 1
        program = program.replace(told, meant)
    there: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), there)
    return there["recommender"]


def measured(recommender: Any, run: RunFolder, client: str) -> tuple[dict[str, float], np.ndarray]:
    """A followed card's metrics on the client's test users, and its scores of them."""
    config = run.config()
    holding = Holding.load(client, all_clients(config, config.home)[client], config.data.split)
    cases = holding.cases(Part.TEST, config.evaluate.test_users, config.seed)
    recommender.read([dict(item) for item in holding.dataset.catalogue.items])
    scores = recommender.scores(cases.histories)
    metrics = RankingMetrics()
    metrics.add(ranks(scores, cases.targets, cases.seen))
    return metrics.result(), scores.detach().numpy()


MOVED = {"train__learning_rate": 0.05, "train__local_epochs": 4, "train__examples": 0, "model__recency": 0.8}


@pytest.mark.parametrize(
    ("freeze", "chosen"),
    [
        (0, {}),
        (1, {"split__on": True}),
        (2, {"model__projection": False}),
        (1, {"model__pooling": "first", "model__recency": 1.0, "model__item_tokens": 3, "model__max_tokens": 8}),
    ],
)
def test_the_card_s_program_gives_the_card_s_numbers(
    runs: Runs, fellrec_home: Path, tmp_path: Path, freeze: int, chosen: dict[str, object]
) -> None:
    """Whatever weights the items were encoded with, the program knows; with others it would give other scores."""
    run = runs.get("encoder", train__freeze_items_from=freeze, num_server_rounds=3, **MOVED | chosen)
    exported = export(run, "toy-1", tmp_path / "out")
    assert exported.items == (freeze == 2) == (tmp_path / "out" / "items.safetensors").is_file()
    recommender = follow(tmp_path / "out", run.config().model.name)
    found, scores = measured(recommender, run, "toy-1")
    wanted = run.result()["metrics"]["clients"]["toy-1"]["model"]
    assert found == pytest.approx(wanted, abs=1e-6)
    assert (
        f"| this model alone | {' | '.join(f'{found[m]:.4f}' for m in METRICS)} |"
        in (tmp_path / "out" / "README.md").read_text()
    )
    told = recommender.told["items"]["encoded_by"]
    assert told == {0: "adapter", 1: "base", 2: "file"}[freeze]
    for other in {"base", "adapter"} - {told}:
        recommender.told["items"]["encoded_by"] = other
        assert np.abs(measured(recommender, run, "toy-1")[1] - scores).max() > 1e-3


@pytest.mark.parametrize(
    ("grounding", "beams", "chosen"),
    [
        ("distance", 1, {"generate__embedding": "mean"}),
        ("distance", 2, {"model__item_tokens": 4}),
        ("trie", 1, {}),
        ("trie", 3, {"split__on": True}),
        ("distance", 1, {"spaced": True}),
    ],
)
def test_a_generative_card_s_program_gives_the_card_s_numbers(
    runs: Runs, fellrec_home: Path, tmp_path: Path, grounding: str, beams: int, chosen: dict[str, object]
) -> None:
    """The last with a tokenizer that puts a space before every text."""
    chosen = {"generate__grounding": grounding, "generate__beams": beams, **chosen}
    if chosen.pop("spaced", False):
        tokenizer = causal.metaspace()
        causal.llama(len(tokenizer), layers=4).save_pretrained(tmp_path / "spaced")
        tokenizer.save_pretrained(tmp_path / "spaced")
        chosen |= {"model__name": str(tmp_path / "spaced"), "model__max_tokens": 300}
    run = runs.get("generative", **chosen, train__learning_rate=0.02)
    export(run, "toy-1", tmp_path / "out")
    recommender = follow(tmp_path / "out", run.config().model.name)
    found, scores = measured(recommender, run, "toy-1")
    assert found == pytest.approx(run.result()["metrics"]["clients"]["toy-1"]["model"], abs=1e-6)
    with recommending(run, "toy-1") as ready:
        holding, config = ready._holding, run.config()
        cases = holding.cases(Part.TEST, config.evaluate.test_users, config.seed)
        expected = ready._scores(cases.histories)
    assert np.array_equal(np.isfinite(scores), np.isfinite(expected)) and np.isfinite(scores).any()
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_lost_item_matrix_is_not_exported_as_another(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    run = runs.get("encoder", train__freeze_items_from=2, seed=5)
    (kept,) = Path(run.config().home).rglob("items-toy-1.safetensors")
    kept.unlink()
    with pytest.raises(RunError, match="client 'toy-1' has lost its item matrix"):
        export(run, "toy-1", tmp_path / "out")
    assert not list(tmp_path.iterdir()) or not (tmp_path / "out").exists()
    export(run, "toy-0", tmp_path / "out")


@pytest.mark.parametrize("split", [False, True])
def test_an_encoder_s_folder_gives_the_same_vectors_and_scores(
    runs: Runs, fellrec_home: Path, tmp_path: Path, split: bool
) -> None:
    run = runs.get("encoder", split__on=split)
    export(run, "toy-1", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "projection.safetensors",
        "recommender.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    ours = whole_recommender(run.config(), run.load_adapter("toy-1"))
    base = AutoModel.from_pretrained(run.config().model.name).eval()
    texts = ours.catalogue_index(Dataset.load(Path(run.config().home) / "data" / "toy").catalogue)
    batch = compose([[0, 3], [5, 1, 2]], texts, ours.special, 4, 48)

    def pooled(model: torch.nn.Module) -> torch.Tensor:
        with torch.no_grad():
            hidden = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        mask = batch.attention_mask.unsqueeze(-1).float()
        return functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)

    start = pooled(base)
    vectors = pooled(PeftModel.from_pretrained(base, tmp_path / "out").eval())
    with torch.no_grad():
        assert torch.equal(vectors, ours.encode_users([[0, 3], [5, 1, 2]], texts))
        assert not torch.equal(vectors, start)
        items = ours.encode_items(texts)
        turn = load_file(tmp_path / "out" / "projection.safetensors")
        users = functional.normalize(vectors + vectors @ turn["user"].T, dim=-1)
        turned = functional.normalize(items + items @ turn["item"].T, dim=-1)
        assert torch.equal(users @ turned.T / 0.05, ours.scores([[0, 3], [5, 1, 2]], texts, items))
    assert turn["user"].abs().max() > 0


def test_a_generative_recommender_s_folder_gives_the_same_logits(
    runs: Runs, fellrec_home: Path, tmp_path: Path
) -> None:
    run = runs.get("generative", split__on=True)
    export(run, "toy-1", tmp_path / "out")
    ours = whole_recommender(run.config(), run.load_adapter("toy-1"))
    ids = torch.tensor([ours.tokenizer("a red fox, a blue bear")["input_ids"]])
    with torch.no_grad():
        expected = ours.backbone(input_ids=ids).logits
        base = AutoModelForCausalLM.from_pretrained(run.config().model.name).eval()
        start = base(input_ids=ids).logits
        found = PeftModel.from_pretrained(base, tmp_path / "out").eval()(input_ids=ids).logits
    assert torch.equal(found, expected) and not torch.equal(found, start)
    assert not (tmp_path / "out" / "projection.safetensors").exists()
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert settings["task_type"] == "CAUSAL_LM" and settings["peft_type"] == "LORA" and settings["r"] == 2


def test_the_card_says_what_it_is_and_names_no_path_of_this_machine(
    runs: Runs, fellrec_home: Path, tmp_path: Path
) -> None:
    run = runs.get("encoder", split__on=True)
    export(run, "toy-1", tmp_path / "out")
    card, result = (tmp_path / "out" / "README.md").read_text(), run.result()
    row = result["metrics"]["clients"]["toy-1"]
    for told in (
        "library_name: peft",
        "`toy-1`",
        result["data"]["digest"],
        "generated data",
        result["privacy"]["assumptions"],
        f"{row['ndcg@10']:.4f}",
        "| item-knn |",
        "PeftModel.from_pretrained",
        "projection.safetensors",
        run.name,
    ):
        assert told in card, told
    for path in (tmp_path / "out").iterdir():
        assert run.config().home.encode() not in path.read_bytes(), path.name


def test_an_adapter_that_learned_nothing_is_told(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    run = runs.get("encoder")
    copy = RunFolder(tmp_path / "run")
    (copy.path / "adapters").mkdir(parents=True)
    for name in ("config.json", "result.json"):
        (copy.path / name).write_bytes((run.path / name).read_bytes())
    untouched = {n: torch.zeros_like(t) if "lora_B" in n else t for n, t in run.load_adapter("toy-1").items()}
    copy.save_adapter("toy-1", untouched)
    assert export(copy, "toy-1", tmp_path / "out").moved == 0
    assert "nothing was learned" in (tmp_path / "out" / "README.md").read_text()


def test_what_computes_something_else_is_not_written(
    runs: Runs, fellrec_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = export_module._save

    def spoilt(recommender: torch.nn.Module, *rest: object) -> tuple[int, bool]:
        with torch.no_grad():
            next(p for n, p in recommender.backbone.named_parameters() if "lora_B" in n).add_(1e-3)
        return save(recommender, *rest)

    monkeypatch.setattr(export_module, "_save", spoilt)
    with pytest.raises(ModelError, match="differs"):
        export(runs.get("encoder"), "toy-1", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_peft_cannot_hold_is_refused(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    run = runs.get("encoder")
    settings = json.loads((run.path / "config.json").read_text())
    for changed in ({"model.adapter": "full"}, {"model.positions": "recformer"}):
        other = RunFolder(tmp_path / "other")
        other.path.mkdir(exist_ok=True)
        (other.path / "config.json").write_text(json.dumps(settings | changed))
        (other.path / "result.json").write_bytes((run.path / "result.json").read_bytes())
        with pytest.raises(RunError, match=next(iter(changed))):
            export(other, "toy-1", tmp_path / "out")
    with pytest.raises(RunError, match="toy-9"):
        export(run, "toy-9", tmp_path / "out")
    with pytest.raises(ConfigError, match="--data-path is '.*exported without data"):
        export(run, "toy-1", tmp_path / "out", tmp_path)
    with pytest.raises(ConfigError, match=r"\.\./toy-1"):
        export(run, "../toy-1", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(ConfigError, match="not an empty folder"):
        export(run, "toy-1", tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "other"]


def test_the_command_tells_what_was_checked(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    arguments = ["export", str(runs.get("encoder").path), "--client", "toy-1", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "checked: PEFT loads it" in done.output and "nothing was learned" not in done.output


@pytest.mark.parametrize(
    ("name", "hub"),
    [("a/b", "a/b"), ("bert-base", "bert-base"), ("embedded", None), ("home:x", None), ("/m/x", None), ("~/x", None)],
)
def test_only_the_hub_s_names_are_told(name: str, hub: str | None) -> None:
    assert base_name(name) == hub
