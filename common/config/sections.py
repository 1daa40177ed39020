"""Every setting of a run: a field of a section, with its default, its range and what it means.

The defaults here are the defaults in ``pyproject.toml`` (a test holds them together).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from common.config.section import Count, CountOrAll, Positive, Section, Share
from common.config.split import SplitConfig
from common.scopes import SCOPES


class DataConfig(Section):
    """Whose data, and how one data set is dealt to several simulated clients."""

    sets: str = Field("sample:5", description="prepared data sets with their number of clients: 'films:1 games:4'")
    partition: Literal["kmeans", "dirichlet", "user"] = Field("kmeans", description="how a set is dealt to its clients")
    alpha: Positive = Field(0.5, description="concentration of the Dirichlet partition")
    split: Literal["leave-last-out", "global-time"] = Field("leave-last-out", description="train / valid / test")
    own_catalogue: bool = Field(False, description="a client's catalogue holds only what its own users touched")


class ModelConfig(Section):
    """The backbone, its text, and which of its tensors are trained."""

    recommender: Literal["encoder", "generative", "click"] = Field(
        "encoder",
        description="read users and items as vectors, ask a causal model for a title in words, or tell clicks from attributes",
    )
    name: str = Field(
        "embedded",
        min_length=1,
        description="'embedded', home:NAME (made by `fellrec pretrain`), a local folder, or a hub name",
    )
    dtype: Literal["fp32", "bf16"] = Field("fp32", description="in which base weights are held and computed with")
    quantise: Literal["none", "int8", "int4"] = Field(
        "none", description="base weights in 8 or 4 bits, by bitsandbytes; with split.on = false only"
    )
    checkpointing: bool = Field(False, description="compute a layer's inner values anew on the way back: less memory")
    adapter: Literal["lora", "full", "gated"] = Field(
        "lora", description="low-rank adapters, full fine-tuning, or FedPA's paths for user and groups behind a gate"
    )
    lora_rank: Count = Field(8, description="rank r of the adapters")
    lora_alpha: Positive = Field(16.0, description="scale of the adapters: alpha / r")
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="dropout before the adapters")
    lora_targets: str = Field("", description="comma-separated layer names; '' takes PEFT's choice for the model")
    positions: Literal["model", "recformer"] = Field(
        "model", description="add RecFormer's item and key/value embeddings"
    )
    projection: bool = Field(True, description="train a matrix on the pooled vectors, for users and for items")
    pooling: Literal["auto", "mean", "first"] = Field("auto", description="how tokens become one vector")
    recency: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="weight of an item in the mean, against the next newer"
    )
    history: Count = Field(8, description="newest items of the history that are read")
    max_tokens: Annotated[int, Field(ge=8)] = Field(96, description="tokens of a user at most")
    item_tokens: Annotated[int, Field(ge=2)] = Field(24, description="tokens of an item, or of its title, at most")
    temperature: Positive = Field(0.05, description="scores are cosine / temperature")


class GenerateConfig(Section):
    """The generative recommender (BIGRec): how it asks, and how words become items."""

    instruction: str = Field(
        "Given a list of items that the user has liked before, please recommend a new item that the user will like.",
        min_length=1,
        description="the task, as the prompt says it",
    )
    grounding: Literal["distance", "trie"] = Field(
        "distance",
        description="rank by the distance of titles to what was generated, or let beams spell titles of the catalogue only",
    )
    embedding: Literal["last", "mean"] = Field(
        "last", description="of a title, for distances: its last token's hidden state, or the mean over its tokens"
    )
    compare: bool = Field(False, description="measure both ways of grounding at the end")
    beams: Count = Field(4, description="beams of the search; with grounding 'trie' also the titles that get a score")
    loss_on: Literal["answer", "all"] = Field("answer", description="tokens that are learned: the answer's, or all")


class TrainConfig(Section):
    """The budget and the optimiser of one client in one round."""

    examples: CountOrAll = Field(160, description="training examples per client (few-shot); 0 takes all")
    resample: bool = Field(True, description="draw the examples anew each round, instead of once")
    local_epochs: Count = Field(1, description="passes over the examples per round")
    batch_size: Count = Field(16, description="examples per optimiser step")
    micro_batches: Count = Field(
        1, description="parts of a step; with hosted layers one travels while another is computed"
    )
    learning_rate: Positive = Field(1e-3, description="AdamW's learning rate before pacing")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="AdamW's weight decay")
    freeze_items_from: CountOrAll = Field(0, description="round from which the item matrix stays (stage 2); 0: never")


class EvaluateConfig(Section):
    """How much is measured, and how what is served is put together."""

    valid_users: CountOrAll = Field(128, description="validation users per client and round; 0 takes all")
    evidence: Literal["none", "popularity", "neighbours", "injection"] = Field(
        "none",
        description="the client's own counts, or counts and item-kNN, blended in when it serves; or BIGRec's injection of"
        " counts into distances",
    )
    test_users: CountOrAll = Field(0, description="test users per client at the end; 0 takes all")
    batch_size: Count = Field(64, description="users or items per encoding")


class FederationConfig(Section):
    """Who must answer, and how long the server waits."""

    quorum: Share = Field(0.6, description="share of the invited clients whose answers a round needs")
    timeout: Positive = Field(
        3600.0, description="seconds that a round may take at most; later rounds wait as long as earlier ones suggest"
    )
    stragglers: Annotated[float, Field(ge=0)] = Field(
        3.0, description="once the quorum is met, how many times as long the rest may take; 0: until the time-out"
    )
    clients_per_message: CountOrAll = Field(
        0, description="clients that a message carries; 0: one of a language model, all of a node's of a click model"
    )
    misbehaving: str = Field(
        "", description="simulated clients that do not play fair: 'sample-1=scaled sample-2=idle', or reversed, random"
    )
    min_clients: Count = Field(1, description="clients that the first round waits for")
    nodes_timeout: Positive = Field(120.0, description="seconds to wait for the first nodes")
    patience: CountOrAll = Field(
        0, description="rounds without a better validation R@10 before the run stops; 0: never"
    )


class StrategyConfig(Section):
    """Which assignment of scopes (``common.scopes``) and rules (``server_app.strategies``)."""

    name: str = Field("fellrec", description=f"one of {', '.join(SCOPES)}, or a rule of your own")
    options: str = Field(
        "", description="settings of a rule of your own: 'field=value field=value', the fields of its dataclass"
    )
    average_rounds: Count = Field(3, description="the last rounds whose mixed adapters are averaged for the result")


class FellrecConfig(Section):
    """The settings of the strategy ``fellrec``, each of which can be switched off alone."""

    attention: bool = Field(True, description="mix by similarity; off: everyone alike")
    similarity: Literal["update", "round", "product", "raw"] = Field(
        "update", description="of what the cosine is taken"
    )
    temperature: Positive = Field(1.0, description="sharpens the similarity below 1")
    merge: Literal["factors", "product"] = Field("factors", description="mix A and B separately, or the product BA")
    heating: bool = Field(True, description="harder clients take less from the others at first")
    pacing: bool = Field(True, description="per-client learning rate, driven by the same heat")
    alpha: Positive = Field(0.7, description="heat at round 0 is tanh(alpha)")
    beta: Positive = Field(5.0, description="rounds scale of the heating")
    loss_temperature: Positive = Field(0.05, description="softmax temperature over the clients' losses")
    own_share: Literal["rule", "validated"] = Field(
        "validated", description="own share from the rule, or chosen on validation data"
    )
    own_margin: Annotated[float, Field(ge=0)] = Field(
        2.0, description="standard errors that a larger own share must gain"
    )


class FedAvgConfig(Section):
    """The settings of ``fedavg`` (and of ``fedprox``, which averages in the same way)."""

    weights: Literal["size", "uniform"] = Field("size", description="clients count by their examples, or alike")


class FedProxConfig(Section):
    """The settings of ``fedprox``."""

    mu: Positive = Field(0.01, description="weight of the proximal term mu / 2 |P - P_received|^2")


class RobustConfig(Section):
    """The settings of ``trimmed-mean`` and ``krum``."""

    hostile: Count = Field(
        1, description="clients that may be hostile: so many values are trimmed at either end, or clients not selected"
    )


class GuardConfig(Section):
    """The guard before mixing: whose update is out of all proportion is left out of its round, by name."""

    on: bool = Field(True, description="hold every update against the others' before anything is mixed")
    factor: Annotated[float, Field(gt=1)] = Field(
        3.0, description="how many times the others' median an update's norm, per square root of its examples, may be"
    )
    gradient_factor: Annotated[float, Field(gt=1)] = Field(
        20.0, description="the same of the gradients of a click model's clients, single people, who differ much more"
    )
    largest_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.6, description="what one client may count at most in a mean by size, of at least three; 1: anything"
    )


class ClickConfig(Section):
    """The click model: which users are clients, and what they are grouped by; its shape is the warm start's."""

    open_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="share of the users whom the warm start was made from; they are no clients"
    )
    division: CountOrAll = Field(0, description="seed of the division into open users and clients")
    group_by: str = Field("", description="comma-separated user attributes that make groups; '' takes all")


class FedpaConfig(Section):
    """FedPA's gated adapters, of a click model or of a language model with ``model.adapter`` = ``gated``.

    The learning rates are a click model's, under any strategy.
    """

    rank: Count = Field(4, description="of every low-rank path")
    alpha: Positive = Field(4.0, description="scale of the paths: alpha / rank")
    common_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.7, description="the gate's weight for the common path at the start"
    )
    gate_width: str = Field(
        "8,4", description="hidden width of each layer's gate, or one for all; of a language model the first counts"
    )
    groups: str = Field(
        "",
        description="what clients of a language model are grouped by, and the values: 'branch=north,south chain=a,b'",
    )
    user_adapter: bool = Field(True, description="a user-level path, private to each client")
    group_adapters: bool = Field(True, description="a group-level path for each grouping attribute")
    gate: bool = Field(True, description="weigh the paths input by input; off: add them up")
    private_learning_rate: Positive = Field(0.03, description="Adam on the client: user embeddings, user-level path")
    shared_learning_rate: Positive = Field(0.003, description="Adam on the server: gates and output layer")
    group_learning_rate: Positive = Field(
        0.01, description="Adam on the server: group-level paths; under 'local' the client's, gates and output included"
    )
    pull: Annotated[float, Field(ge=0)] = Field(
        3.0, description="of private tensors to their start, divided by the client's training rows"
    )


class PrivacyConfig(Section):
    """Local differential privacy of what clients contribute; not with hosted layers."""

    mechanism: Literal["none", "laplace", "gaussian"] = Field(
        "none", description="noise that a client adds to its clipped contribution"
    )
    epsilon: Positive = Field(8.0, description="what all rounds cost a client together; each has its share")
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(1e-5, description="of the Gaussian mechanism")
    clip: Positive = Field(0.2, description="greatest norm of a contribution: L1 for Laplace, L2 for the Gaussian")
    max_epsilon: Annotated[float, Field(ge=0)] = Field(
        0.0, description="a release that would pass it does not leave, resumes included; 0: as 'privacy.epsilon'"
    )


class RunConfig(Section):
    """Everything that decides a run."""

    recipe: str = Field("", description="name of the recipe, for the run folder and the result")
    run_name: str = Field("", pattern=r"^[A-Za-z0-9._-]*$", description="folder of the run; '' makes one")
    resume: bool = Field(False, description="go on with the run named in run-name after its last whole round")
    home: str = Field("", description="overrides $FELLREC_HOME")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(0, description="of every random choice; below 2^32")
    num_server_rounds: Count = Field(4, description="rounds")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    generate: GenerateConfig = GenerateConfig()
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    federation: FederationConfig = FederationConfig()
    strategy: StrategyConfig = StrategyConfig()
    fellrec: FellrecConfig = FellrecConfig()
    fedavg: FedAvgConfig = FedAvgConfig()
    fedprox: FedProxConfig = FedProxConfig()
    robust: RobustConfig = RobustConfig()
    guard: GuardConfig = GuardConfig()
    click: ClickConfig = ClickConfig()
    fedpa: FedpaConfig = FedpaConfig()
    privacy: PrivacyConfig = PrivacyConfig()
