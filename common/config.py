"""The typed configuration of a run, filled in one place from Flower's flat run configuration.

Flower hands every app one flat mapping (``"train.learning-rate": 0.001``). :func:`from_flat` turns it into a
:class:`RunConfig` or raises a :class:`~common.errors.ConfigError` that names the key, the value and the nearest right one.
The defaults here are the defaults in ``pyproject.toml`` (a test holds them together).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from common.data.sets import parse_sets
from common.errors import ConfigError
from common.scopes import SCOPES, known_strategies
from common.section import Count, CountOrAll, Positive, Section, Share
from common.split_config import SplitConfig

Value = bool | int | float | str
LOOPBACK = ("127.0.0.1", "::1", "localhost")


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


def from_flat(flat: Mapping[str, Value]) -> RunConfig:
    """The configuration from Flower's flat mapping; keys that are left out take their defaults.

    Raises
    ------
    ConfigError : an unknown key (with the nearest right one), a wrong type, a value out of range (NaN and infinities
        are always out of range), or settings that contradict each other.
    """
    known = dict(flatten(RunConfig()))
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r} (default {known[near[0]]!r})?" if near else "see docs/configuration.md"
            raise ConfigError(f"unknown setting {key!r} = {value!r}", hint)
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    try:
        config = RunConfig.model_validate(nested)
    except ValidationError as error:
        raise _named(error, flat, known) from None
    _refuse_conflicts(config)
    return config


def flatten(config: Section, prefix: str = "") -> Iterator[tuple[str, Value]]:
    """The flat ``(key, value)`` pairs of a section, as Flower writes them."""
    for name, field in type(config).model_fields.items():
        value, key = getattr(config, name), f"{prefix}{field.alias or name.replace('_', '-')}"
        if isinstance(value, Section):
            yield from flatten(value, f"{key}.")
        else:
            yield key, value


def parse_groups(text: str) -> dict[str, tuple[str, ...]]:
    """The values of every grouping attribute, from ``attribute=value,value`` joined by spaces.

    Raises
    ------
    ConfigError : it has another form, or a name or value stands twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split():
        attribute, equals, rest = part.partition("=")
        values = tuple(rest.split(","))
        if (
            not equals
            or not attribute.isidentifier()
            or attribute in found
            or not all(values)
            or len(set(values)) < len(values)
        ):
            raise ConfigError(
                f"'fedpa.groups' = {text!r}: {part!r} names no attribute with distinct values",
                "write 'branch=north,south chain=a,b'",
            )
        found[attribute] = values
    return found


def parse_pairs(setting: str, text: str) -> dict[str, str]:
    """Names with a value each, from ``name=value`` joined by spaces.

    Raises
    ------
    ConfigError : it has another form, or a name stands twice.
    """
    found: dict[str, str] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not (name and equals and value) or name in found:
            raise ConfigError(f"{setting!r} = {text!r}: {part!r} is no 'name=value'", "write 'one=value other=value'")
        found[name] = value
    return found


def _named(error: ValidationError, flat: Mapping[str, Value], known: Mapping[str, Value]) -> ConfigError:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    value, why, hint = flat.get(key), problem["msg"], f"the default is {known.get(key)!r}"
    expected = problem.get("ctx", {}).get("expected")
    if expected and isinstance(value, str):
        options = [option.strip(" '") for option in expected.replace(" or ", ",").split(",")]
        near = difflib.get_close_matches(value, options, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else hint
    return ConfigError(f"setting {key!r} = {value!r}: {why}", hint)


def _refuse_split_conflicts(config: RunConfig) -> None:
    split, off = config.split, "or set 'split.on' to false"
    if split.k + split.m == 0:
        raise ConfigError(
            "'split.k' = 0 and 'split.m' = 0 leave no layer on the client", f"set one of them to 1 or more, {off}"
        )
    if config.model.adapter == "full":
        raise ConfigError(
            "'split.on' = True hosts adapters, but 'model.adapter' = 'full'", f"set 'model.adapter' to 'lora', {off}"
        )
    if config.model.lora_dropout:
        raise ConfigError(
            f"'model.lora-dropout' = {config.model.lora_dropout!r} is not drawn in hosted layers",
            f"set it to 0.0, {off}",
        )
    if config.strategy.name == "fedprox":
        raise ConfigError(
            "'strategy.name' = 'fedprox' pulls on all of the adapter, of which the server hosts a part", off[3:]
        )
    if split.host not in LOOPBACK and not split.certificate:
        raise ConfigError(
            f"'split.host' = {split.host!r} is no loopback address", "give 'split.certificate' and 'split.key'"
        )
    if split.host in ("0.0.0.0", "::") and not split.advertise:
        raise ConfigError(
            f"'split.host' = {split.host!r} is no address to connect to", "give clients one in 'split.advertise'"
        )
    if bool(split.certificate) != bool(split.key):
        raise ConfigError(
            f"'split.certificate' = {split.certificate!r} and 'split.key' = {split.key!r}", "give both, or neither"
        )
    if split.client_ca and not split.certificate:
        raise ConfigError(
            f"'split.client-ca' = {split.client_ca!r} without TLS", "give 'split.certificate' and 'split.key' too"
        )
    if split.metrics_port and split.metrics_port == split.port:
        raise ConfigError(
            f"'split.metrics-port' = {split.metrics_port!r} is 'split.port' too", "give each a port of its own"
        )


def _refuse_recommender_conflicts(config: RunConfig) -> None:
    model, generative = config.model, config.model.recommender == "generative"
    if model.quantise != "none" and (config.split.on or model.adapter == "full"):
        raise ConfigError(
            f"'model.quantise' = {model.quantise!r} with 'split.on' = {config.split.on!r} and 'model.adapter' ="
            f" {model.adapter!r}",
            "quantised weights cannot be cut or trained: set 'split.on' to false and 'model.adapter' to 'lora'",
        )
    if model.quantise != "none" and not generative:
        raise ConfigError(f"'model.quantise' = {model.quantise!r} is for causal models", "set it to 'none'")
    if model.adapter == "full" and model.dtype != "fp32":
        raise ConfigError(
            f"'model.dtype' = {model.dtype!r} with 'model.adapter' = 'full': what is trained is kept in full precision",
            "set 'model.dtype' to 'fp32', or 'model.adapter' to 'lora'",
        )
    if generative and model.positions == "recformer":
        raise ConfigError("'model.positions' = 'recformer' is for encoders", "set it to 'model'")
    if generative and config.train.freeze_items_from:
        raise ConfigError(
            f"'train.freeze-items-from' = {config.train.freeze_items_from!r}, but a generative recommender trains no items",
            "set it to 0",
        )
    if config.evaluate.evidence == "injection" and not (generative and config.generate.grounding == "distance"):
        raise ConfigError(
            "'evaluate.evidence' = 'injection' weighs distances to what was generated",
            "set 'model.recommender' to 'generative' and 'generate.grounding' to 'distance', or choose 'popularity'",
        )


CLICK_STRATEGIES = ("fedpa", "fedavg", "local", "fellrec", "fellrec-paper")
"""What a click model goes with."""


def _refuse_click_conflicts(config: RunConfig) -> None:
    strategy, fedpa, sets = config.strategy.name, config.fedpa, config.data.sets.split()
    if config.split.on:
        raise ConfigError("'split.on' = True, but a click model has no layers to host", "set 'split.on' to false")
    if strategy not in CLICK_STRATEGIES:
        raise ConfigError(
            f"'strategy.name' = {strategy!r} does not go with 'model.recommender' = 'click'",
            f"choose one of {', '.join(CLICK_STRATEGIES)}",
        )
    if len(sets) != 1 or ":" in sets[0] or "+" in sets[0]:
        raise ConfigError(
            f"'data.sets' = {config.data.sets!r}: a click model learns from one click log, one client for each user",
            "name the log alone, as in 'kuaisar-r'",
        )
    if config.model.name == "embedded":
        raise ConfigError(
            "'model.name' = 'embedded' is no click model",
            "make one with `fellrec pretrain SET --open 0.25 --as NAME`, and set 'model.name' to 'home:NAME'",
        )
    widths = [width.strip() for width in fedpa.gate_width.split(",")]
    if not all(width.isascii() and width.isdigit() and int(width) for width in widths):
        raise ConfigError(
            f"'fedpa.gate-width' = {fedpa.gate_width!r} is no list of widths", "write '8,4', or one for all layers"
        )
    if strategy != "fedavg" and not (fedpa.user_adapter or fedpa.group_adapters):
        raise ConfigError(
            "'fedpa.user-adapter' = False and 'fedpa.group-adapters' = False leave no adapter", "switch one on"
        )


def _refuse_gated_conflicts(config: RunConfig) -> None:
    model, fedpa, gated = config.model, config.fedpa, config.model.adapter == "gated"
    if config.strategy.name == "fedpa" and not gated:
        raise ConfigError(
            f"'strategy.name' = 'fedpa' with 'model.adapter' = {model.adapter!r} has no paths for user and groups",
            "set 'model.adapter' to 'gated', or 'model.recommender' to 'click'",
        )
    if not gated:
        return
    if config.split.on:
        raise ConfigError(
            "'model.adapter' = 'gated' with 'split.on' = True: the server would hold the user-level path of hosted layers",
            "set 'split.on' to false, or 'model.adapter' to 'lora'",
        )
    if model.dtype != "fp32" or model.quantise != "none":
        raise ConfigError(
            f"'model.adapter' = 'gated' with 'model.dtype' = {model.dtype!r} and 'model.quantise' = {model.quantise!r}:"
            " its paths are added up in full precision",
            "set them to 'fp32' and 'none', or 'model.adapter' to 'lora'",
        )
    groups = parse_groups(fedpa.groups)
    if fedpa.group_adapters and not groups:
        raise ConfigError(
            "'fedpa.group-adapters' = True, but 'fedpa.groups' = '' names no attribute",
            "name what clients are grouped by, as in 'branch=north,south', or set 'fedpa.group-adapters' to false",
        )
    if not (fedpa.user_adapter or fedpa.group_adapters):
        raise ConfigError(
            "'fedpa.user-adapter' = False and 'fedpa.group-adapters' = False leave no adapter", "switch one on"
        )


def _refuse_noise_conflicts(config: RunConfig) -> None:
    mechanism, strategy = config.privacy.mechanism, config.strategy.name
    if mechanism == "none":
        return
    if strategy in ("local", "centralised"):
        raise ConfigError(
            f"'privacy.mechanism' = {mechanism!r}, but nothing leaves a client under {strategy!r}", "set it to 'none'"
        )
    if config.split.on:
        raise ConfigError(
            f"'privacy.mechanism' = {mechanism!r} with 'split.on' = True: hosted layers see gradients without noise",
            "set one of them back",
        )
    if strategy == "fellrec" and config.fellrec.own_share == "validated":
        raise ConfigError(
            f"'privacy.mechanism' = {mechanism!r} with 'fellrec.own-share' = 'validated': the share that a client chooses on"
            " its data is not noised",
            "set 'fellrec.own-share' to 'rule'",
        )


def _refuse_set_conflicts(data: DataConfig) -> None:
    if data.partition != "user" and any(not clients for _, clients in parse_sets(data.sets)):
        raise ConfigError(
            f"'data.sets' = {data.sets!r} gives a set 0 clients", "give it 1 or more, or set 'data.partition' to 'user'"
        )


def _refuse_unknown_strategy(name: str) -> None:
    if name in SCOPES:
        return
    known = known_strategies()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        raise ConfigError(
            f"setting 'strategy.name' = {name!r} is no strategy",
            f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}",
        )


def _refuse_conflicts(config: RunConfig) -> None:
    _refuse_unknown_strategy(config.strategy.name)
    _refuse_set_conflicts(config.data)
    if config.model.recommender == "click":
        _refuse_click_conflicts(config)
    else:
        _refuse_gated_conflicts(config)
    _refuse_noise_conflicts(config)
    if config.split.on:
        _refuse_split_conflicts(config)
    if config.run_name == "latest":
        raise ConfigError("'run-name' = 'latest' is the link to the newest run", "choose another name")
    if config.resume and not config.run_name:
        raise ConfigError("'resume' = True, but 'run-name' = '' names no run", "give the run's name")
    if config.model.recency < 1 and config.model.pooling == "first":
        raise ConfigError(
            f"'model.recency' = {config.model.recency!r} weighs a mean, but 'model.pooling' = 'first'",
            "set one of them back",
        )
    model, train, fellrec, strategy = config.model, config.train, config.fellrec, config.strategy.name
    if model.item_tokens + 2 > model.max_tokens:
        raise ConfigError(
            f"'model.max-tokens' = {model.max_tokens!r} cannot hold one item of 'model.item-tokens' = {model.item_tokens!r}",
            f"set 'model.max-tokens' to at least {model.item_tokens + 2}",
        )
    _refuse_recommender_conflicts(config)
    if train.freeze_items_from > config.num_server_rounds:
        raise ConfigError(
            f"'train.freeze-items-from' = {train.freeze_items_from!r} is after the last round, "
            f"'num-server-rounds' = {config.num_server_rounds!r}",
            "set it to 0 to never freeze the item matrix",
        )
    if model.adapter == "full" and strategy == "fellrec" and fellrec.merge == "product":
        raise ConfigError(
            "'fellrec.merge' = 'product' needs low-rank adapters, but 'model.adapter' = 'full'",
            "set 'fellrec.merge' to 'factors'",
        )
    if model.adapter == "full" and strategy == "fellrec" and fellrec.similarity == "product":
        raise ConfigError(
            "'fellrec.similarity' = 'product' needs low-rank adapters, but 'model.adapter' = 'full'",
            "set 'fellrec.similarity' to 'update'",
        )
