"""A whole federation in one process: the real ServerApp and ClientApp with a tiny model, and faults on the way of replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flwr.app import Context, Error, Message, RecordDict
from transformers import BertConfig, BertModel, set_seed

from common.config import RunConfig, flatten, from_flat
from common.data.catalogue import Catalogue
from common.data.dataset import Dataset
from common.data.interactions import Interactions
from fellrec import in_process
from server_app.app import app as server_app
from tests.common.recommenders import causal, tiny

Fault = Callable[[Message], Message | None]
"""What becomes of a reply on its way; None: it never arrives."""


MANY = "many"
"""In place of a client's name: a message for several clients."""


class InProcessGrid(in_process.InProcessGrid):
    """The product's, which keeps what was sent; replies may be tampered with by ``(client, round)``, nodes have aliases."""

    def __init__(self, run_config: Mapping, nodes: int, faults: Mapping[tuple[str, int], Fault] | None = None) -> None:
        super().__init__(run_config, nodes)
        self._faults = dict(faults or {})
        self.sent: list[Message] = []
        self.aliases: dict[int, int] = {}

    def _answer(self, message: Message) -> Message | None:
        self.sent.append(message)
        reply = super()._answer(message)
        config = message.content.config_records["config"]
        clients = list(config.get("clients", []))
        named = clients[0] if len(clients) == 1 else MANY
        fault = self._faults.get((named, int(config.get("server-round", 0))))
        return fault(reply) if fault else reply

    def _context(self, node: int) -> Context:
        return super()._context(self.aliases.get(node, node))


def broken(reply: Message) -> Message:
    """A fault: the client answers with an error."""
    answer = Message(Error(1, "boom"), reply_to=reply)
    answer.metadata.__dict__["_reply_to_message_id"] = reply.metadata.reply_to_message_id
    return answer


def silent(reply: Message) -> None:
    """A fault: the reply never arrives."""
    return None


def tiny_model(folder: Path) -> Path:
    """A random BERT of four layers with its tokenizer, in the hub's own folder form."""
    set_seed(0)
    BertModel(BertConfig(**tiny.SHAPE | {"num_hidden_layers": 4}), add_pooling_layer=False).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def tiny_causal_model(folder: Path) -> Path:
    """A random Llama of four layers with a byte-level tokenizer, in the hub's own folder form."""
    tokenizer = causal.byte_level()
    causal.llama(len(tokenizer), layers=4).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


COLOURS, ANIMALS = ("red", "blue", "green"), ("fox", "bear", "owl")


def tiny_dataset(name: str, users: int = 24, seed: int = 0, animals: tuple[str, str, str] = ANIMALS) -> Dataset:
    """Nine items (a colour and an animal each); users keep to one colour or one animal."""
    items = tuple({"title": f"{colour} {animal}", "category": colour} for colour in COLOURS for animal in animals)
    catalogue = Catalogue(name, tuple(f"i{place}" for place in range(len(items))), items)
    rows: list[tuple[int, int]] = []
    for user in range(users):
        taste = (user + seed) % 3
        liked = [3 * taste, 3 * taste + 1, 3 * taste + 2, (3 * taste + 4) % 9, (3 * taste + 7) % 9]
        rows += [(user, liked[(place + user) % len(liked)]) for place in range(len(liked))]
    interactions = Interactions(
        tuple(f"{name}-u{user}" for user in range(users)),
        [user for user, _ in rows],
        [item for _, item in rows],
        list(range(len(rows))),
    )
    return Dataset(name, catalogue, interactions, True, "none", "made for a test")


def tiny_settings(home: Path, **overrides: object) -> dict:
    """Flat settings of a run that takes a second: two data sets could be named in ``data.sets``; ``toy`` is there."""
    if not (home / "model").is_dir():
        tiny_model(home / "model")
        tiny_dataset("toy").save(home / "data" / "toy")
    chosen = {
        "home": str(home),
        "num-server-rounds": 2,
        "data.sets": "toy:3",
        "model.name": str(home / "model"),
        "model.lora-rank": 2,
        "model.history": 4,
        "model.max-tokens": 48,
        "model.item-tokens": 8,
        "split.on": False,
        "train.examples": 8,
        "train.batch-size": 4,
        "federation.timeout": 60.0,
        "federation.nodes-timeout": 5.0,
        **{key.replace("__", ".").replace("_", "-"): value for key, value in overrides.items()},
    }
    return dict(flatten(from_flat(chosen)))


def tiny_causal_settings(home: Path, **overrides: object) -> dict:
    """As :func:`tiny_settings`, with a generative recommender."""
    if not (home / "causal").is_dir():
        tiny_causal_model(home / "causal")
    chosen = {
        "model__recommender": "generative",
        "model__name": str(home / "causal"),
        "model__max_tokens": 224,
        "model__item_tokens": 12,
        "generate__instruction": "Recommend.",
        "generate__beams": 2,
        "generate__grounding": "trie",
    }
    return tiny_settings(home, **chosen | overrides)


def federate(
    settings: Mapping,
    nodes: int = 2,
    faults: Mapping[tuple[str, int], Fault] | None = None,
    grid: Callable[..., InProcessGrid] | None = None,
) -> InProcessGrid:
    """Runs the real ServerApp over in-process nodes, to its end; ``grid`` makes them in another way."""
    grid = (grid or InProcessGrid)(settings, nodes, faults)
    server_app(grid, Context(1, 0, {}, RecordDict(), dict(settings), 0))
    return grid


__all__ = ["RunConfig", "InProcessGrid", "broken", "federate", "silent", "tiny_dataset", "tiny_model", "tiny_settings"]
