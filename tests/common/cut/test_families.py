from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from common.cut import FAMILIES, family_of, read_config
from common.cut.skeleton import skeleton
from common.errors import ModelError
from tests.common.cut.tiny import tiny_config


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


@pytest.mark.parametrize("text", ["{", "[]", '"bert"'])
def test_a_broken_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match="config.json"):
        read_config(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        read_config(tmp_path / "nowhere")


def test_values_of_the_wrong_type_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": "many"}))
    with pytest.raises(ModelError, match="no configuration of a 'llama'"):
        read_config(tmp_path)
