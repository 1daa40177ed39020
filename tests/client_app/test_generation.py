"""Generation through a real service: the tokens are the whole model's, whatever happens in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import Cut, client_side
from common.cut.hosted_cache import adopt
from common.errors import SplitError
from common.recommenders.generative.beam_cache import for_beams
from common.wire import Codec
from server_app.split.host import SplitHost
from server_app.split.settings import Limits
from tests.server_app.split.chaos import BadNetwork
from tests.server_app.split.tiny import SEED, batch, host_for, link_settings, model_folder

CUT = Cut(1, 1)
BEAMS = {"max_new_tokens": 8, "min_new_tokens": 8, "num_beams": 4, "do_sample": False}


class Act(LogitsProcessor):
    """Does something once, in the middle of a generation."""

    def __init__(self, act: Callable[[], object], after: int) -> None:
        self._act, self._left = act, after

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._left -= 1
        if self._left == 0:
            self._act()
        return scores


def during(act: Callable[[], object], after: int = 4) -> LogitsProcessorList:
    return LogitsProcessorList([Act(act, after)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder("llama", tmp_path_factory.mktemp("causal"), causal=True)


@pytest.fixture(scope="module")
def whole(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder).requires_grad_(False)


@pytest.fixture
def serve(folder: Path, tmp_path: Path) -> Iterator[Callable[..., tuple[SplitHost, str]]]:
    hosts: list[SplitHost] = []

    def made(**limits: int) -> tuple[SplitHost, str]:
        hosts.append(host_for(folder, "llama", CUT, tmp_path / "state", limits=Limits(**limits)))
        address = hosts[-1].start()
        hosts[-1].begin("ann", 1, 0.1, SEED)
        return hosts[-1], address

    yield made
    for host in hosts:
        host.stop(0)


def link_to(host: SplitHost, address: str, **changes: object) -> SplitLink:
    return SplitLink(address, host.mint("ann", 60), link_settings("llama", CUT, **changes))


def client_of(folder: Path, link: SplitLink) -> PreTrainedModel:
    return client_side(folder, CUT, RemoteTrunk(link), True).requires_grad_(False)


@pytest.mark.parametrize("training", [True, False])
def test_generated_tokens_are_the_whole_models(serve, folder: Path, whole, training: bool) -> None:
    host, address = serve()
    allowed = {"prefix_allowed_tokens_fn": lambda row, ids: [3 + (5 * len(ids) + j) % 50 for j in range(9)]}
    with link_to(host, address, training=training) as link:
        client = client_of(folder, link)
        for way in ({"num_beams": 1}, {}, {"num_return_sequences": 3}, allowed):
            inputs, settings = batch(1, left=True), {**BEAMS, **way}
            up = link.bytes_up
            assert torch.equal(client.generate(**inputs, **settings), whole.generate(**inputs, **settings)), way
            cached = link.bytes_up - up
            client.generate(**inputs, **settings, use_cache=False)
            assert cached < (link.bytes_up - up - cached) / 2


def test_prompts_are_read_once_for_all_beams(serve, folder: Path, whole) -> None:
    host, address = serve()
    inputs = batch(6, left=True)
    mask = inputs["attention_mask"]
    start = {
        "input_ids": inputs["input_ids"][:, :-1],
        "attention_mask": mask[:, :-1],
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0)[:, :-1],
    }
    with link_to(host, address) as link, torch.no_grad():
        client = client_of(folder, link)
        cache = for_beams(client.base_model(**start, use_cache=True).past_key_values, 4, 10)
        found = client.generate(**inputs, **BEAMS, past_key_values=cache)
    assert torch.equal(found, whole.generate(**inputs, **BEAMS))
    assert requests(host) == {"OP_PREFILL": 1, "OP_DECODE": 8}


def test_every_codec_generates(serve, folder: Path, whole) -> None:
    host, address = serve()
    inputs = batch(1, left=True)
    expected = whole.generate(**inputs, **{**BEAMS, "num_beams": 1})
    for codec in (Codec.BF16, Codec.INT8):
        with link_to(host, address, codec=codec) as link:
            found = client_of(folder, link).generate(**inputs, **{**BEAMS, "num_beams": 1})
        assert found.shape == expected.shape
        assert (found == expected).float().mean() > 0.8


def test_a_lost_connection_costs_one_prefill(serve, folder: Path, whole) -> None:
    host, address = serve()
    inputs = batch(2, left=True)
    with link_to(host, address) as link:
        client = client_of(folder, link)
        found = client.generate(**inputs, **BEAMS, logits_processor=during(link.close))
    assert torch.equal(found, whole.generate(**inputs, **BEAMS))
    assert requests(host) == {"OP_PREFILL": 2, "OP_DECODE": 6}


def test_an_adapter_that_learns_in_between_is_used_for_everything(serve) -> None:
    host, address = serve()
    hidden = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(1))
    with link_to(host, address) as link:
        trunk, layer = RemoteTrunk(link), adopt(DynamicLayer())
        with torch.no_grad():
            before = trunk(hidden)
            layer.extend(trunk, hidden[:, :4], None, None)
        trunk(hidden).pow(2).sum().backward()
        link.step(0.5)
        with torch.no_grad():
            found, after = layer.extend(trunk, hidden[:, 4:], None, None), trunk(hidden)
    torch.testing.assert_close(found, after[:, 4:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before[:, 4:], after[:, 4:], rtol=1e-2)
    assert requests(host)["OP_PREFILL"] == 2 and refusals(host) == {"FAILED_PRECONDITION": 1}


def test_the_base_model_is_asked_without_the_adapter(serve, folder: Path, whole) -> None:
    host, address = serve()
    inputs = batch(4, left=True)
    expected = whole.generate(**inputs, **BEAMS)
    adapted = {name: torch.full_like(tensor, 0.3) for name, tensor in host.adapter("ann").items()}
    host.rollback("ann")
    host.load_adapter("ann", adapted)
    with link_to(host, address, training=False) as link:
        client = client_of(folder, link)
        trunk = RemoteTrunk(link)
        hidden = torch.randn(2, 4, 32)
        with torch.no_grad():
            own = trunk(hidden)
            with trunk.base():
                bare = trunk(hidden)
                elsewhere: list[Tensor] = []
                other = threading.Thread(target=lambda: elsewhere.append(trunk.eval()(hidden)))
                other.start()
                other.join()
            assert torch.equal(elsewhere[0], own) and torch.equal(trunk(hidden), own)
        assert not torch.allclose(bare, own)
        with trunk.train().base(), pytest.raises(SplitError, match="not trained"):
            trunk(hidden)
        own_trunk = RemoteTrunk(link)
        client = client_side(folder, CUT, own_trunk, True)
        with own_trunk.base():
            assert torch.equal(client.generate(**inputs, **BEAMS), expected)
        assert not torch.equal(client.generate(**inputs, **BEAMS), expected)


def test_an_adapter_left_out_in_mid_sequence_is_left_out_of_all(serve, folder: Path) -> None:
    host, address = serve()
    with link_to(host, address) as link:
        trunk = RemoteTrunk(link)
        client = client_side(folder, CUT, trunk, True)
        with torch.no_grad():
            cache = client(**batch(1, width=4), use_cache=True).past_key_values
            with trunk.base():
                client(torch.tensor([[4], [5], [6]]), past_key_values=cache, use_cache=True)
    assert requests(host) == {"OP_PREFILL": 2}


def test_generations_in_several_threads_and_copies_of_one(serve, folder: Path, whole) -> None:
    host, address = serve(sequences=2)
    found: dict[int, Tensor] = {}
    with link_to(host, address) as link:

        def generate(seed: int) -> None:
            found[seed] = client_of(folder, link).generate(**batch(seed, left=True), **BEAMS)

        threads = [threading.Thread(target=generate, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, ids in found.items():
        assert torch.equal(ids, whole.generate(**batch(seed, left=True), **BEAMS)), seed
    assert len(found) == 4


def test_what_is_given_up_is_given_back(serve, folder: Path) -> None:
    host, address = serve()
    with link_to(host, address, training=False) as link:
        client = client_of(folder, link)
        client.generate(**batch(1, left=True), **BEAMS)
        held = host.held_bytes
        assert held > 0
        for _ in range(3):
            client.generate(**batch(1, left=True), **BEAMS)
        settles(host, held)
        link.infer(torch.zeros(1, 2, 32))
        settles(host, 0)
        client.generate(**batch(1, left=True), **BEAMS)
    settles(host, 0)


def test_keys_beyond_the_limit_are_refused(serve, folder: Path) -> None:
    host, address = serve(cache_bytes=20_000)
    with link_to(host, address, attempts=2) as link:
        client = client_of(folder, link)
        with pytest.raises(SplitError, match="of caches.*RESOURCE_EXHAUSTED"):
            client.generate(**batch(1, rows=8), **BEAMS)
        assert client.generate(**batch(1, rows=1, width=3), max_new_tokens=3).shape[1] > 3
    host, address = serve(tokens=64)
    with link_to(host, address) as link, pytest.raises(SplitError, match="width 17 are more than.* 64 tokens"):
        client_of(folder, link).generate(**batch(1, rows=1, width=8), **{**BEAMS, "max_new_tokens": 12})


def test_gradients_are_not_cut_off_silently(serve, folder: Path) -> None:
    host, address = serve()
    with link_to(host, address) as link:
        client = client_side(folder, CUT, RemoteTrunk(link), True)
        with pytest.raises(SplitError, match="no gradients"):
            client(**batch(1), use_cache=True)
        client = client_side(folder, CUT, RemoteTrunk(link).eval(), True)
        with pytest.raises(SplitError, match="no gradients"):
            client(**batch(1), use_cache=True)


def test_tokens_are_those_of_a_good_network(serve, folder: Path, whole) -> None:
    host, address = serve()
    network = BadNetwork(address, seed=3, rate=0.15)
    settings = {"reply_seconds": 0.5, "first_wait": 0.001, "longest_wait": 0.02, "attempts": 60}
    with link_to(host, network.address, **settings) as link:
        client = client_of(folder, link)
        for seed in range(2):
            inputs = batch(seed, left=True)
            assert torch.equal(client.generate(**inputs, **BEAMS), whole.generate(**inputs, **BEAMS))
    network.stop()
    assert len(network.met) > 4


def settles(host: SplitHost, nbytes: int) -> None:
    """Waits until no more than this is held: a reply's memory is given back once it is sent."""
    for _ in range(400):
        if host.held_bytes <= nbytes:
            return
        time.sleep(0.01)
    assert host.held_bytes <= nbytes


def requests(host: SplitHost) -> dict[str, float]:
    """How many requests of each kind were answered."""
    return _counts(host, "fellrec_split_seconds_count", "op")


def refusals(host: SplitHost) -> dict[str, float]:
    return _counts(host, "fellrec_split_refused_total", "status")


def _counts(host: SplitHost, name: str, label: str) -> dict[str, float]:
    return {
        sample.labels[label]: sample.value
        for metric in host.metrics.collect()
        for sample in metric.samples
        if sample.name == name
    }
