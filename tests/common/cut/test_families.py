from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from common.cut import FAMILIES, Cut, client_side, family_of, read_config, server_side
from common.cut.skeleton import skeleton
from common.errors import ModelError
from tests.common.cut.tiny import edit_config, save_tiny, tiny_config


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_paths_are_those_of_the_models_class(name: str) -> None:
    family = FAMILIES[name]
    model = skeleton(tiny_config(name), causal=family.causal)
    base = model.base_model
    assert len(base.get_submodule(family.layers)) == 5
    for path in (family.norm, family.embeddings, family.tokens, family.positions, family.dropout):
        assert not path or base.get_submodule(path) is not base
    assert base.base_model_prefix == family.prefix


def test_unknown_architectures_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'t5'.*bert, gemma,.*llama"):
        family_of(AutoConfig.for_model("t5"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "my_own", "auto_map": {"AutoConfig": "evil.py"}}))
    with pytest.raises(ModelError, match="'my_own'"):
        read_config(tmp_path)


def test_models_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(ModelError, match="quantization_config"):
        family_of(tiny_config("llama", quantization_config={"quant_method": "gptq", "bits": 4}))
    with pytest.raises(ModelError, match="add_cross_attention"):
        family_of(tiny_config("bert", add_cross_attention=True, is_decoder=True))


LONG = {"short_factor": [1.0, 1.0], "long_factor": [2.0, 2.0], "original_max_position_embeddings": 16}


@pytest.mark.parametrize(("kind", "more"), [("dynamic", {}), ("longrope", LONG)])
@pytest.mark.parametrize(
    ("family", "spelled"),
    [("llama", "type"), ("llama", "rope_type"), ("gemma3_text", "rope_type"), ("modernbert", "rope_type")],
)
def test_rotary_embeddings_that_keep_state_are_refused(
    tmp_path: Path, family: str, kind: str, more: dict, spelled: str
) -> None:
    folder = save_tiny(family, tmp_path / "model")
    edit_config(folder, rope_parameters=None, rope_scaling={spelled: kind, "factor": 4.0, **more})
    for make in (client_side, server_side):
        with pytest.raises(ModelError, match=f"rope_type is '{kind}'.*shared by clients.*'split.on'"):
            make(folder, Cut(1, 1))


@pytest.mark.parametrize("text", ["{", "[]", '"bert"'])
def test_a_broken_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match="config.json"):
        read_config(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        read_config(tmp_path / "nowhere")


def test_values_of_the_wrong_type_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": "many"}))
    with pytest.raises(ModelError, match="config.json in .* cannot be read.*hidden_size"):
        read_config(tmp_path)
