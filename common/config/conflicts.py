"""Settings that contradict each other, refused by name before anything starts."""

from __future__ import annotations

import difflib

from common.config.parsing import parse_groups
from common.config.sections import DataConfig, RunConfig
from common.data.sets import parse_sets
from common.errors import ConfigError
from common.scopes import SCOPES, known_strategies

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Addresses of this machine alone."""


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


def refuse_conflicts(config: RunConfig) -> None:
    """Refuses a configuration whose settings contradict each other.

    Raises
    ------
    ConfigError : naming the settings, their values and what would do.
    """
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
