"""A recommendation through the split service, against the whole model in one process.

The client's side is the same in both: its data, its first and last layers, its item matrix. A small encoder reads the history
once; a small decoder spells titles token by token, so that each token crosses to the service and back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from transformers import LlamaConfig, LlamaForCausalLM, set_seed

from benchmarks.child import child, wait
from benchmarks.harness import Result, Size, interleaved, main, progress, ratio_of, result
from benchmarks.models import save_model
from client_app.holding import Holding
from client_app.memory import Memory
from client_app.recommend import Recommending
from common.config import RunConfig, from_flat
from common.data.sample import generate
from common.low_rank import Adapter
from common.recommenders.build import origin
from common.recommenders.recommender import Recommender
from fellrec.base_tokenizer import train_tokenizer
from fellrec.serving import split_recommender, whole_recommender
from server_app.hosting import Hosting

CLIENT, RUN = "client", "benchmark"
TARGET = 1.25
TOP = 10
TOKEN_SECONDS = 3600.0
PROMPT, TITLE = 224, 24


def measure(size: Size) -> list[Result]:
    """Both kinds of recommender."""
    repetitions = {"encoder": size.pick(3, 60, 400), "decoder": size.pick(3, 20, 200)}
    found = []
    with tempfile.TemporaryDirectory() as root:
        for kind in ("encoder", "decoder"):
            progress(kind)
            found += _compare(kind, Path(root) / kind, size, repetitions[kind])
    return found


def _compare(kind: str, root: Path, size: Size, repetitions: int) -> list[Result]:
    data = generate(users=size.pick(40, 200, 800), items=size.pick(120, 300, 600))
    data.save(root / "data")
    config = (_encoder if kind == "encoder" else _decoder)(root, size, data.catalogue.titles)
    adapter = _moved(origin(config.model, config.seed))
    holding = Holding.load(CLIENT, root / "data", config.data.split)
    with ExitStack() as stack:
        _, (address, token) = stack.enter_context(child(_serve, config, adapter))
        split, hosted = split_recommender(config, RUN, CLIENT, adapter, address, token)
        stack.enter_context(closing(hosted))

        def ready(name: str, recommender: Recommender) -> Recommending:
            return Recommending(recommender, holding, Memory(root / "memory" / name / CLIENT), config, 2)

        both = {"split": ready("split", split), "whole": ready("whole", whole_recommender(config, adapter))}
        cases = {name: _asked(one, data.interactions.user_keys) for name, one in both.items()}
        alike = [_keys(one, data.interactions.user_keys[0]) for one in both.values()]
        if alike[0] != alike[1]:
            raise RuntimeError(f"{kind}: the service recommends {alike[0]!r}, the whole model {alike[1]!r}")
        seconds = interleaved(cases, repetitions, warm_up=2)
    p95 = {name: float(np.percentile(times, 95)) for name, times in seconds.items()}
    p50 = {name: float(np.median(times)) for name, times in seconds.items()}
    ratio, quartiles = ratio_of(seconds["split"], seconds["whole"])
    more = {"items": len(data.catalogue), "requests": repetitions}
    return [
        result(
            f"{kind}, p50",
            ratio,
            TARGET,
            "lower",
            quartiles=quartiles,
            milliseconds=p50["split"] * 1e3,
            whole_milliseconds=p50["whole"] * 1e3,
            **more,
        ),
        result(
            f"{kind}, p95",
            p95["split"] / p95["whole"],
            TARGET,
            "lower",
            milliseconds=p95["split"] * 1e3,
            whole_milliseconds=p95["whole"] * 1e3,
            **more,
        ),
    ]


def _encoder(root: Path, size: Size, titles: tuple[str, ...]) -> RunConfig:
    """The demo's encoder in shape: MiniLM's width and layers, with random weights."""
    width, layers = size.pick((32, 3), (384, 6), (384, 6))
    folder = save_model(root / "model", "bert", width, layers, heads=size.pick(2, 12, 12))
    train_tokenizer(titles, 2000, 512).save_pretrained(folder)
    return from_flat({"model.name": str(folder), "model.projection": False})


def _decoder(root: Path, size: Size, titles: tuple[str, ...]) -> RunConfig:
    """A Llama with random weights; what it answers means nothing, but takes as long as if it did."""
    width, layers = size.pick((32, 3), (256, 6), (256, 6))
    tokenizer = train_tokenizer(titles, 2000, 512)
    set_seed(0)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(shape).save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    return from_flat(
        {
            "model.recommender": "generative",
            "model.name": str(root / "model"),
            "model.max-tokens": PROMPT,
            "model.item-tokens": TITLE,
            "generate.grounding": "trie",
            "generate.beams": 4,
            "generate.instruction": "Recommend.",
        }
    )


def _moved(adapter: Adapter) -> Adapter:
    """An adapter that does something: B is zero at the start."""
    return {name: tensor + 0.01 if ".lora_B." in name else tensor for name, tensor in adapter.items()}


def _asked(ready: Recommending, users: tuple[str, ...]) -> Callable[[], object]:
    """Asks for one user after another; two of these ask for the same users in the same turns."""
    turn = iter(range(10**9))
    return lambda: ready.for_user(users[next(turn) % len(users)], TOP)


def _keys(ready: Recommending, user: str) -> list[str]:
    return [item.key for item in ready.for_user(user, TOP).recommended]


def _serve(connection: Connection, config: RunConfig, adapter: Adapter) -> None:
    with tempfile.TemporaryDirectory() as state, closing(Hosting(config, RUN, Path(state))) as hosting:
        access = hosting.show(CLIENT, {0.0: adapter}, TOKEN_SECONDS)
        connection.send((access.address, access.tokens[0.0]))
        wait(connection)


if __name__ == "__main__":
    main("recommend", __doc__, measure)
