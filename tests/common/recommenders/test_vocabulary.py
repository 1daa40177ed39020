from __future__ import annotations

import numpy as np
import pytest

from common.errors import ModelError
from common.recommenders.vocabulary import check_ids, check_vocabulary
from tests.common.recommenders.causal import byte_level, llama


def test_every_token_of_the_vocabulary_has_a_row() -> None:
    tokenizer = byte_level()
    check_vocabulary(tokenizer, llama(len(tokenizer)).config, (0, 1))
    with pytest.raises(ModelError, match=rf"the id {len(tokenizer) - 1}, the model's table has {len(tokenizer) - 1}"):
        check_vocabulary(tokenizer, llama(len(tokenizer) - 1).config, (0, 1))


def test_an_added_token_may_lie_beyond_the_table_unless_every_sequence_or_a_text_holds_it() -> None:
    tokenizer = byte_level()
    config = llama(len(tokenizer)).config
    picture = len(tokenizer)
    tokenizer.add_tokens(["<picture>"])
    check_vocabulary(tokenizer, config, (0, 1))
    check_ids(np.array([5, picture - 1]), tokenizer, config)
    check_ids(np.array([], np.int64), tokenizer, config)
    with pytest.raises(ModelError, match="'<picture>' the id"):
        check_vocabulary(tokenizer, config, (0, picture))
    with pytest.raises(ModelError, match="'<picture>' the id"):
        check_ids(np.array([5, picture]), tokenizer, config)
