from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from common.cut import Cut, TrunkSlot, client_side, server_side, set_trunk
from common.errors import ModelError
from tests.common.cut.tiny import batch, load_whole


def test_trunk_can_be_set_later_and_is_no_part_of_the_client(tiny) -> None:
    client = client_side(tiny("llama"), Cut(1, 1))
    with pytest.raises(ModelError, match="not connected"):
        client(**batch("right"))
    names = set(client.state_dict())
    set_trunk(client, server_side(tiny("llama"), Cut(1, 1)))
    assert client(**batch("right")).last_hidden_state.shape == (3, 11, 16)
    assert set(client.state_dict()) == names
    with pytest.raises(ModelError, match="0 places"):
        set_trunk(load_whole(tiny("llama")), None)


def test_the_trunk_gets_the_plain_mask_of_its_own_call(tiny) -> None:
    seen: list[Tensor | None] = []
    client = client_side(tiny("llama"), Cut(1, 1))

    def failing(hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        raise ConnectionError("gone")

    def identity(hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        seen.append(mask)
        return hidden

    set_trunk(client, failing)
    with pytest.raises(ConnectionError):
        client(**batch("left"))
    set_trunk(client, identity)
    client(**batch("right"))
    client(**batch("none"))
    client(batch("left")["input_ids"], batch("left")["attention_mask"])
    assert torch.equal(seen[0], batch("right")["attention_mask"])
    assert seen[1] is None
    assert torch.equal(seen[2], batch("left")["attention_mask"])


def test_calls_that_the_hosted_layers_cannot_serve_are_refused(tiny) -> None:
    client = client_side(tiny("llama"), Cut(1, 1), server_side(tiny("llama"), Cut(1, 1)))
    with pytest.raises(ModelError, match="two dimensions"):
        client(batch("none")["input_ids"], attention_mask=torch.ones(3, 1, 11, 11, dtype=torch.bool))
    set_trunk(client, lambda hidden, mask, positions: hidden[:, 1:])
    with pytest.raises(ModelError, match="answered shape"):
        client(**batch("right"))
    server = server_side(tiny("longformer"), Cut(1, 1))
    with pytest.raises(ModelError, match="attention_window"):
        server(torch.zeros(1, 11, 16))


def test_calls_in_several_threads_keep_their_own_masks(tiny) -> None:
    together = threading.Barrier(2, timeout=60)
    seen: dict[str, Tensor] = {}

    def trunk(hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        together.wait()
        seen[threading.current_thread().name] = mask
        return hidden

    client = client_side(tiny("bert"), Cut(1, 1), trunk)
    threads = [threading.Thread(target=client, kwargs=batch(side), name=side) for side in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(seen[side], batch(side)["attention_mask"]) for side in ("left", "right"))


def test_one_slot_stands_in_the_middle(tiny) -> None:
    client = client_side(tiny("llama"), Cut(2, 1))
    assert [isinstance(layer, TrunkSlot) for layer in client.layers] == [False, False, True, False]
    assert len(client.layers) == client.config.num_hidden_layers == 4
    assert client.layers[-1] is client.get_submodule("layers.4")
