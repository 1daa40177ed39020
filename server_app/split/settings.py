"""What a split service is told: the model it hosts, how its adapters are trained, and what a client may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path

import grpc

from common.certificates import read_authorities, read_pair
from common.errors import ConfigError
from common.wire import HEADER_BYTES, Codec
from server_app.split.memory import Kind

MAY_BE_0 = (
    "graph_bytes",
    "input_bytes",
    "tokens_per_second",
    "width",
    "training_tokens",
    "message_bytes",
    "reply_bytes",
    "all_reply_bytes",
)
"""Limits for which 0 means something: nothing is held, no limit, or what the others call for."""

MESSAGES, REPLIES, OWNERS = 8, 4, 8
"""Of the largest size: tensors that arrive or wait, and that are answered, for one client; clients with full replies."""


@dataclass(frozen=True)
class HostedLora:
    """LoRA on every hosted linear layer whose path ends with one of ``targets`` (as PEFT matches names)."""

    targets: tuple[str, ...]
    rank: int = 8
    alpha: float = 16.0


@dataclass(frozen=True)
class AdamW:
    """The settings of :class:`torch.optim.AdamW`; the learning rate comes with each round or step."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01


@dataclass(frozen=True)
class Limits:
    """What clients may take; beyond it a request is refused and the service goes on.

    Each is a setting of a run, ``split.limits.*``, which the error names. A client that calls under several names, one
    for each candidate adapter, has one share of all of them.

    Attributes
    ----------
    sessions, sessions_per_client : open at once.
    tokens : cells (rows times width) of one request. training_tokens : of one that trains; 0 is ``tokens``.
        batch_tokens : of a batch over several clients.
    width : cells of one row, never more than the model reads; 0 leaves it at that.
    padding : cells of a request for each of its tokens.
    header_bytes : of a message that holds no chunk, before it is parsed.
    pass_seconds : that one request may take of the compute thread, by the fastest pass so far.
    long_share : of the time at least, that a client's long requests may take while others are at work (a long one is
        more than twice what the others send; the longer it is, the nearer to this share).
    graph_bytes : autograd graphs held for one client between forward and backward; beyond it, forwards are recomputed.
    input_bytes : inputs kept for recomputing, per client; beyond it, the client is asked to send them again.
    cache_bytes : keys and values of what one client generates. sequences : that one session may hold; beyond it, the
        one used longest ago gives way, and its client sends it again.
    message_bytes : of requests that arrive or wait, per client. reply_bytes : of replies that a client has not taken,
        and of the last ones, which are kept in case they were lost; all_reply_bytes : those of all clients. 0 is room
        for the largest that ``tokens`` allow: 8 and 4 of a client, and the replies of 8 clients.
    held_bytes : everything held for all clients: graphs, inputs, gradients, caches, messages, replies.
    micro_batches : of one optimiser step.
    tokens_per_second : cells per client over time, with a burst of the largest request; 0 sets no limit. What is too
        fast waits, for half of its deadline at most.
    queue_seconds : a request may wait so long for its turn. payload_seconds : a message may take so long to arrive.
    reply_seconds : and a reply so long to be taken.
    """

    sessions: int = 128
    sessions_per_client: int = 4
    tokens: int = 1 << 16
    training_tokens: int = 0
    batch_tokens: int = 1 << 16
    width: int = 0
    padding: float = 64.0
    header_bytes: int = HEADER_BYTES
    pass_seconds: float = 60.0
    long_share: float = 0.2
    graph_bytes: int = 4 << 30
    input_bytes: int = 1 << 30
    cache_bytes: int = 4 << 30
    sequences: int = 16
    message_bytes: int = 0
    reply_bytes: int = 0
    all_reply_bytes: int = 0
    held_bytes: int = 16 << 30
    micro_batches: int = 256
    queue_seconds: float = 120.0
    payload_seconds: float = 60.0
    reply_seconds: float = 60.0
    tokens_per_second: float = 0.0

    def per_client(self, cell_bytes: int) -> dict[Kind, int]:
        """Bytes of each kind for one client, where a cell takes so many."""
        largest = self.tokens * cell_bytes
        return {
            Kind.GRAPH: self.graph_bytes,
            Kind.INPUT: self.input_bytes,
            Kind.CACHE: self.cache_bytes,
            Kind.MESSAGE: self.message_bytes or MESSAGES * largest,
            Kind.REPLY: self.reply_bytes or REPLIES * largest,
        }

    def per_kind(self, cell_bytes: int) -> dict[Kind, int]:
        """Bytes of a kind for all clients together, where it has a limit of its own."""
        return {Kind.REPLY: self.all_reply_bytes or OWNERS * self.per_client(cell_bytes)[Kind.REPLY]}


@dataclass(frozen=True)
class HostSettings:
    """Everything that decides a split service.

    Attributes
    ----------
    run : the run that tokens are minted for.
    digest, config, k, m, hidden_size : the hosted model, its weights' and its configuration's digest; a client that
        means another one is refused.
    codecs : that clients may choose.
    address, port : to listen on; port 0 takes a free one. Without TLS only a loopback address is allowed.
    batch_clients : clients in one pass over the base at most; 1 makes every number independent of the other clients
        to the bit.
    batch_seconds : how long a request may wait for others to share its pass.
    unsaved_steps : optimiser steps that a crash may undo at most (the client replays them).
    """

    run: str
    digest: str
    k: int
    m: int
    hidden_size: int
    lora: HostedLora
    optimiser: AdamW = AdamW()
    limits: Limits = Limits()
    codecs: tuple[Codec, ...] = field(default=tuple(Codec))
    address: str = "127.0.0.1"
    port: int = 0
    batch_clients: int = 16
    batch_seconds: float = 0.002
    unsaved_steps: int = 4
    config: str = ""

    def __post_init__(self) -> None:
        for part, least in (
            (
                self,
                {
                    "hidden_size": 1,
                    "batch_clients": 1,
                    "unsaved_steps": 1,
                    "k": 0,
                    "m": 0,
                    "port": 0,
                    "batch_seconds": 0,
                },
            ),
            (self.lora, {"rank": 1}),
            (self.optimiser, {"beta1": 0, "beta2": 0, "epsilon": 0, "weight_decay": 0}),
            (
                self.limits,
                {limit.name: 0 if limit.name in MAY_BE_0 else 1e-3 for limit in fields(Limits)},
            ),
        ):
            for name, bound in least.items():
                value = getattr(part, name)
                if not math.isfinite(value) or value < bound:
                    raise ConfigError(f"{name!r} = {value!r} of the split service", f"it must be {bound} or more")
        if self.limits.long_share > 1:
            raise ConfigError(f"'long_share' = {self.limits.long_share!r} of the split service", "it must be 1 or less")
        if not (math.isfinite(self.lora.alpha) and self.lora.alpha > 0):
            raise ConfigError(f"'alpha' = {self.lora.alpha!r} of the hosted LoRA", "it must be a positive number")
        if not self.lora.targets:
            raise ConfigError("'targets' of the hosted LoRA is empty", "name linear layers, e.g. ('query', 'value')")
        if not self.codecs:
            raise ConfigError("'codecs' of the split service is empty", f"allow some of {', '.join(Codec)}")


@dataclass(frozen=True)
class TlsFiles:
    """The server's certificate chain and private key, as PEM files.

    Attributes
    ----------
    client_ca : authorities of clients' certificates; None asks clients for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> grpc.ServerCredentials:
        """What gRPC needs of them.

        Raises
        ------
        ConfigError : a file cannot be read, a certificate is not valid today, or the key is of another.
        """
        chain, key = read_pair(self.certificate, self.key, ("split.certificate", "split.key"))
        authorities = None if self.client_ca is None else read_authorities(self.client_ca, "split.client-ca")
        return grpc.ssl_server_credentials([(key, chain)], authorities, require_client_auth=authorities is not None)
