from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.errors import ConfigError, DataError, ModelError
from common.recommenders.generative.prompt import IGNORED, Prompts, Template
from common.recommenders.generative.titles import Titles
from tests.common.recommenders.causal import TITLES, byte_level, metaspace

TOKENIZERS = {
    "byte-level": byte_level(),
    "byte-level with a space": byte_level(prefix_space=True),
    "metaspace": metaspace(),
}
TEMPLATE = Template(instruction="Name a game", history=3, max_tokens=256, title_tokens=40)
each_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())


class Shop:
    items = [{"title": title, "category": "game"} for title in TITLES]


def both(tokenizer: PreTrainedTokenizerFast, template: Template = TEMPLATE) -> tuple[Prompts, Titles]:
    prompts = Prompts(tokenizer, template)
    return prompts, prompts.titles(Shop)


def plain(tokenizer: PreTrainedTokenizerFast, ids: torch.Tensor) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False).strip()


@each_tokenizer
def test_a_prompt_and_its_answer_are_the_template_s_text(tokenizer: PreTrainedTokenizerFast) -> None:
    prompts, titles = both(tokenizer)
    batch = prompts.with_answers([[0, 3, 4], [12]], [7, 5], titles)
    for row, (history, target) in enumerate([([0, 3, 4], 7), ([12], 5)]):
        kept = batch.input_ids[row][batch.attention_mask[row] == 1]
        assert kept[-1] == tokenizer.eos_token_id
        ids = kept[len(prompts.before) : -1]
        assert plain(tokenizer, ids) == TEMPLATE.text([TITLES[item] for item in history], TITLES[target])
    assert TEMPLATE.text(["a", "b"]) == '### Instruction:\nName a game\n\n### Input:\n"a", "b"\n\n### Response:\n"'
    assert TEMPLATE.text(["x", "a", "b", "c"], "d").endswith('"a", "b", "c"\n\n### Response:\n"d"')


@each_tokenizer
def test_what_is_learnt_is_what_generation_has_to_write_after_the_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    prompts, titles = both(tokenizer)
    histories, targets = [[0, 3], [12, 4, 9], [6]], list(range(len(TITLES)))
    for history in histories:
        (prompt,) = prompts.encode([history], titles).input_ids.tolist()
        answered = prompts.with_answers([history] * len(targets), targets, titles)
        for row, target in enumerate(targets):
            ids = answered.input_ids[row][answered.attention_mask[row] == 1].tolist()
            learnt = answered.labels[row][answered.labels[row] != IGNORED].tolist()
            assert learnt == [*titles[target], *prompts.end]
            assert ids == prompt + learnt
            assert prompts.decode(learnt) == TITLES[target]


@each_tokenizer
def test_padding_stands_on_the_left_and_counts_no_position(tokenizer: PreTrainedTokenizerFast) -> None:
    prompts, titles = both(tokenizer)
    batch = prompts.encode([[0], [3, 4, 6]], titles)
    padding = int((batch.attention_mask[0] == 0).sum())
    assert padding > 0
    assert (batch.attention_mask[0, :padding] == 0).all()
    assert batch.input_ids[0, padding:].tolist() == prompts.encode([[0]], titles).input_ids[0].tolist()
    assert batch.position_ids[0, padding:].tolist() == list(range(batch.input_ids.shape[1] - padding))
    assert batch.input_ids.dtype == batch.attention_mask.dtype == batch.position_ids.dtype == torch.int64


def test_labels_stand_on_every_token_that_follows_another_where_all_is_learnt() -> None:
    prompts, titles = both(byte_level())
    batch = prompts.with_answers([[0], [3, 4, 6]], [1, 2], titles, "all")
    for ids, mask, labels in zip(batch.input_ids, batch.attention_mask, batch.labels, strict=True):
        first = int((mask == 0).sum())
        assert (labels[: first + 1] == IGNORED).all()
        assert torch.equal(labels[first + 1 :], ids[first + 1 :])


def test_a_long_prompt_loses_its_oldest_titles_and_keeps_room_for_any_answer() -> None:
    wide, titles = both(byte_level(), Template("Name a game", 5, 1000, 40))
    history = [13, 8, 4, 2, 0]
    lengths = [wide.encode([history[-kept:]], titles).input_ids.shape[1] for kept in range(1, 6)]
    room = 40 + len(wide.end)
    for kept, length in enumerate(lengths[1:], 2):
        if length + room < lengths[0] + 40 + room:
            continue  # too narrow for the check at the start
        narrow = Prompts(byte_level(), Template("Name a game", 5, length + room, 40))
        expected = wide.encode([history[-kept:]], titles).input_ids
        assert torch.equal(narrow.encode([history], titles).input_ids, expected)
        tighter = Prompts(byte_level(), Template("Name a game", 5, length + room - 1, 40))
        expected = wide.encode([history[-kept + 1 :]], titles).input_ids
        assert torch.equal(tighter.encode([history], titles).input_ids, expected)
    assert lengths[-1] + room >= lengths[0] + 40 + room


def test_a_target_stands_in_its_prompt_only_where_the_history_holds_it() -> None:
    prompts, titles = both(byte_level())
    answer = [*titles[7], *prompts.end[:-1]]

    def holds(history: list[int]) -> bool:
        (ids,) = prompts.encode([history], titles).input_ids.tolist()
        return any(ids[at : at + len(answer) - 1] == answer[:-1] for at in range(len(ids)))

    assert not holds([0, 3, 4])
    assert holds([0, 7])


def test_titles_are_cut_and_told_by_their_digest() -> None:
    prompts, whole = both(byte_level())
    _, cut = both(byte_level(), Template("Name a game", 3, 256, 3))
    assert cut.lengths.max() == 3
    assert cut[2] == whole[2][:3]
    assert whole.digest == prompts.titles(Shop).digest != cut.digest
    assert len(whole) == len(TITLES)


REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: Template(instruction=" "), ConfigError, "instruction"),
    (lambda: Template(title_tokens=0), ConfigError, "title_tokens"),
    (
        lambda: Prompts(byte_level(), Template(max_tokens=100, title_tokens=32)),
        ConfigError,
        "'model.max-tokens' = 100, .*shorten 'generate.instruction'",
    ),
    (lambda: both(byte_level())[0].encode([[]], both(byte_level())[1]), DataError, "catalogue of 14"),
    (lambda: both(byte_level())[0].encode([[14]], both(byte_level())[1]), DataError, "catalogue of 14"),
    (lambda: both(byte_level())[0].with_answers([[1]], [-1], both(byte_level())[1]), DataError, "-1"),
]


@pytest.mark.parametrize(("act", "error", "says"), REFUSED)
def test_bad_settings_and_items_are_refused(act: Callable[[], object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        act()


def test_an_item_without_a_title_and_a_tokenizer_without_an_end_are_refused() -> None:
    class Nameless:
        items = [{"title": "a"}, {"category": "game"}]

    with pytest.raises(DataError, match="item 1 has no title"):
        Prompts(byte_level(), TEMPLATE).titles(Nameless)
    endless = byte_level()
    endless.eos_token = None
    with pytest.raises(ModelError, match="end-of-sequence"):
        Prompts(endless, TEMPLATE)
