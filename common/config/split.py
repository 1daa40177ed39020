"""The settings of the split: which layers the server hosts, how clients reach them, and what they may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from common.config.section import Count, CountOrAll, Positive, Section


class LimitsConfig(Section):
    """What one client may take of the service, and all together; a request beyond a limit is refused by its name."""

    sessions: Count = Field(128, description="open at once, of all clients")
    sessions_per_client: Count = Field(4, description="open at once; one that is idle gives way to a new one")
    tokens: CountOrAll = Field(
        0, description="rows times width of one request, padding included; 0: what the run's own batches need"
    )
    training_tokens: CountOrAll = Field(
        0, description="the same of one forward or backward that trains; 0: what the run's own micro-batches need"
    )
    batch_tokens: Count = Field(65536, description="the same of a pass that several clients share")
    width: CountOrAll = Field(
        0, description="cells of a row, padding included; 0: what the run's texts need; never more than the model reads"
    )
    padding: Annotated[float, Field(ge=1)] = Field(64.0, description="cells of a request for each of its tokens")
    header_bytes: Annotated[int, Field(ge=65536, le=4194304)] = Field(
        1048576, description="of a message without its tensors, looked at before it is parsed"
    )
    micro_batches: CountOrAll = Field(0, description="of one optimiser step; 0: as many as 'train.micro-batches'")
    sequences: Count = Field(16, description="that a session generates at once; the one used longest ago gives way")
    pass_seconds: Positive = Field(
        60.0, description="of the compute thread for one request, by the fastest pass so far"
    )
    long_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2,
        description="of the time at least, for a client's requests of over twice the others', while others are at work",
    )
    queue_seconds: Positive = Field(120.0, description="that a request waits for its turn")
    payload_seconds: Positive = Field(60.0, description="that a request takes to arrive")
    reply_seconds: Positive = Field(60.0, description="that a reply takes to be read; then its session is cut")
    graph_bytes: CountOrAll = Field(
        4294967296, description="of autograd graphs held for a client; beyond it, forwards are recomputed"
    )
    input_bytes: CountOrAll = Field(
        1073741824, description="of inputs held for recomputing, per client; beyond it, they are asked for again"
    )
    cache_bytes: Count = Field(4294967296, description="of keys and values of what a client generates")
    message_bytes: CountOrAll = Field(
        0, description="of a client's requests that arrive or wait; 0: 8 tensors of the largest size"
    )
    reply_bytes: CountOrAll = Field(
        0, description="of replies that a client has not read, and of its last ones; 0: 4 tensors of the largest size"
    )
    all_reply_bytes: CountOrAll = Field(0, description="the same of all clients; 0: those of 8 clients")
    held_bytes: Count = Field(17179869184, description="of everything held for all clients")


class SplitConfig(Section):
    """Which layers the server hosts, and how clients reach them."""

    on: bool = Field(True, description="the server hosts the middle layers; off: the client runs the whole model")
    k: CountOrAll = Field(1, description="first layers that stay on the client, after the embeddings")
    m: CountOrAll = Field(1, description="last layers that stay on the client, before norm and head")
    codec: Literal["fp32", "bf16", "int8"] = Field("fp32", description="of hidden states and gradients on the wire")
    batch_clients: Count = Field(
        1, description="clients in one pass at most; 1 is exact to the bit whoever else trains"
    )
    host: str = Field("127.0.0.1", description="address to listen on; beyond loopback only with a certificate")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(0, description="port to listen on; 0 takes a free one")
    advertise: str = Field("", description="host:port that clients are told; '' tells the one listened on")
    certificate: str = Field("", description="the server's certificate chain, PEM; '' is plaintext, on loopback only")
    key: str = Field("", description="the server's private key, PEM")
    client_ca: str = Field(
        "",
        description="authorities of clients' certificates, PEM; '' asks for none; a common name is the client's name",
    )
    tokens_per_second: Annotated[float, Field(ge=0)] = Field(
        0.0, description="tokens, padding included, that a client may send in the long run; 0: any number"
    )
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0,
        description="loopback port of the Prometheus metrics of a run, and of the service where there is one; 0: none",
    )
    limits: LimitsConfig = LimitsConfig()
