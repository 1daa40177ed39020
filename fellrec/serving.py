"""The split service alone, after training: it hosts every client's hosted layers for whoever holds that client's token."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from client_app.hosted import CERTIFICATE, KEY, ROOT, Hosted
from common.config import RunConfig
from common.cut import Cut
from common.errors import RunError
from common.low_rank import Adapter
from common.messages import HostedAccess
from common.recommenders.build import build
from common.recommenders.generative.recommender import GenerativeRecommender
from common.recommenders.recommender import Recommender
from common.recommenders.state import load_trained, trained_state
from common.run_folder import RunFolder
from server_app.hosting import Hosting

ASKED = (signal.SIGINT, signal.SIGTERM)
"""What asks the service to end."""

END_WITHIN = 8
"""Seconds that sessions and the step that is being computed have for it."""


@dataclass(frozen=True)
class Service:
    """A service that answers: where, and where each client's token lies (a file that only its owner reads)."""

    address: str
    tokens: dict[str, Path]


def serve(folder: RunFolder, config: RunConfig, hours: float, told: Callable[[Service], None]) -> None:
    """Serves a run's hosted layers until the process is asked to end; ``told`` hears of the :class:`Service`.

    Raises
    ------
    RunError : the run has no adapters.
    """
    clients = sorted(path.stem for path in (folder.path / "adapters").glob("*.safetensors"))
    if not clients:
        raise RunError(f"run {folder.name!r} has no adapters", "it has not ended, or it failed: see its events.jsonl")
    for sign in ASKED:
        signal.signal(sign, _leave)
    with (
        tempfile.TemporaryDirectory(prefix="fellrec-serve-") as state,
        closing(Hosting(config, folder.name, Path(state))) as hosting,
    ):
        tokens = {}
        for client in clients:
            access = hosting.show(client, {0.0: folder.load_adapter(client)}, hours * 3600)
            tokens[client] = keep_token(folder.path / "tokens" / f"{client}.token", access.tokens[0.0])
        told(Service(hosting.address, tokens))
        threading.Event().wait()


def _leave(*_: object) -> None:
    """Ends this process, also while it still loads: in order, or after :data:`END_WITHIN` seconds as it stands."""
    signal.alarm(END_WITHIN)
    # whoever asks again means it
    for sign in ASKED:
        signal.signal(sign, signal.SIG_DFL)
    raise SystemExit(0)


def whole_recommender(config: RunConfig, adapter: Adapter) -> Recommender:
    """The recommender with all layers here."""
    recommender = build(config.model, config.seed, generate=config.generate, fedpa=config.fedpa)
    load_trained(recommender, adapter)
    return recommender


def split_recommender(
    config: RunConfig,
    run: str,
    client: str,
    adapter: Adapter,
    address: str,
    token: str,
    root_certificate: str = "",
    certificate: str = "",
    key: str = "",
) -> tuple[Recommender, Hosted]:
    """The client's side of the recommender, its middle layers at a service; the second is to be closed."""
    recommender = build(config.model, config.seed, Cut(config.split.k, config.split.m), config.generate, config.fedpa)
    load_trained(recommender, {name: adapter[name] for name in trained_state(recommender)})
    node = {ROOT: root_certificate, CERTIFICATE: certificate, KEY: key}
    hosted = Hosted(recommender.backbone, HostedAccess(address, {0.0: token}), config, node, training=False)
    hosted.use(0.0)
    if isinstance(recommender, GenerativeRecommender):
        recommender.base_context = hosted.base
    return recommender, hosted


def keep_token(path: Path, token: str) -> Path:
    """Writes a token to a file that only its owner reads, in place of what was there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    return path
