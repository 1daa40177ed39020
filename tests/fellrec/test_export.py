"""fellrec/export.py: a folder that stock PEFT loads, and that computes what the run's adapter does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModel, AutoModelForCausalLM
from typer.testing import CliRunner

from common.data.dataset import Dataset
from common.errors import ConfigError, ModelError, RunError
from common.recommenders.text import compose
from common.run_folder import RunFolder
from fellrec import export as export_module
from fellrec.cli import app
from fellrec.export import base_name, export
from fellrec.serving import whole_recommender
from tests.fellrec.served import Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("split", [False, True])
def test_an_encoder_s_folder_gives_the_same_vectors_and_scores(
    runs: Runs, fellrec_home: Path, tmp_path: Path, split: bool
) -> None:
    run = runs.get("encoder", split__on=split)
    export(run, "toy-1", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "projection.safetensors",
    ]  # fmt: skip
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
        "library_name: peft", "`toy-1`", result["data"]["digest"], "generated data", result["privacy"]["assumptions"],
        f"{row['ndcg@10']:.4f}", "| item-knn |", "PeftModel.from_pretrained", "projection.safetensors", run.name,
    ):  # fmt: skip
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
    clicks = {"model.recommender": "click", "model.name": "home:x", "strategy.name": "fedpa", "data.sets": "clicks"}
    for changed in (clicks, {"model.adapter": "full"}, {"model.positions": "recformer"}):
        other = RunFolder(tmp_path / "other")
        other.path.mkdir(exist_ok=True)
        (other.path / "config.json").write_text(json.dumps(settings | changed))
        (other.path / "result.json").write_bytes((run.path / "result.json").read_bytes())
        with pytest.raises(RunError, match=next(iter(changed))):
            export(other, "toy-1", tmp_path / "out")
    with pytest.raises(RunError, match="toy-9"):
        export(run, "toy-9", tmp_path / "out")
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
