"""A run is a folder: configuration, event log, checkpoints, adapters, result.

::

    runs/<name>/config.json               the flat configuration
                events.jsonl              the event log
                checkpoints/round-0003/   manifest.json + tensors.safetensors, the last two kept
                adapters/<client>.safetensors
                result.json
    runs/latest -> <name>
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from common.config import RunConfig, flatten, from_flat
from common.errors import RunError
from common.events import EventLog
from common.files import on_disk, read_json
from common.home import runs_home
from common.tensor_files import load_file, save_file

if TYPE_CHECKING:
    from torch import Tensor

    from common.low_rank import Adapter

CHECKPOINT_SCHEMA = 3
"""Of what a checkpoint holds; another one is refused by name."""

KEPT_CHECKPOINTS = 2
HEADER = 80
"""Bytes that a file says of a tensor, beside its name and content."""
FREE_ON_RESUME = (
    "resume",
    "run-name",
    "num-server-rounds",
    "home",
    "split.host",
    "split.port",
    "split.advertise",
    "split.certificate",
    "split.key",
    "split.client-ca",
    "split.metrics-port",
    "split.tokens-per-second",
    "evaluate.test-users",
    "evaluate.evidence",
    "generate.compare",
)
"""Settings, beside ``federation.*`` and ``split.limits.*``, that a resumed run may change: they change no number of the
rounds so far."""

_CHECKPOINT = re.compile(r"round-(\d{4,})")


MOST_NAMED = 24
"""Clients that an error names at most."""


class RunFolder:
    """One run on disk. Every file is written to a temporary name, then renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.path.name

    @classmethod
    def create(cls, config: RunConfig, unique: str) -> RunFolder:
        """A new folder, to which ``latest`` points from now on; ``unique`` tells runs of the same second apart.

        Raises
        ------
        RunError : a run of this name exists already, or the home cannot be written to.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        name = config.run_name or "-".join(
            part for part in (stamp, config.recipe, config.strategy.name, unique) if part
        )
        path = runs_home(config.home) / name
        if path.exists():
            raise RunError(f"run {name!r} exists already", "give another 'run-name', or set 'resume' to go on with it")
        with on_disk(path):
            path.mkdir(parents=True)
        folder = cls(path)
        folder._write_json("config.json", dict(flatten(config)))
        folder._point_latest()
        return folder

    @classmethod
    def find(cls, name: str, home: str = "") -> RunFolder:
        """An existing run by its name (``latest`` is one), or by its path.

        Raises
        ------
        RunError : there is no such run.
        """
        for path in (runs_home(home) / name, Path(name).expanduser()):
            if (path / "config.json").is_file():
                return cls(path.resolve())
        existing = sorted(path.name for path in runs_home(home).glob("*") if (path / "config.json").is_file())
        hint = f"the newest are {', '.join(existing[-3:])}" if existing else f"no run is in {runs_home(home)}"
        raise RunError(f"no run {name!r}", hint)

    @classmethod
    def reopen(cls, config: RunConfig) -> RunFolder:
        """The run that ``run-name`` names, to go on with: only how long and where it runs may have changed.

        Raises
        ------
        RunError : there is no such run, or another setting differs from the one it was started with.
        """
        folder = cls.find(config.run_name, config.home)
        begun = dict(flatten(folder.config()))
        for key, value in flatten(config):
            if (
                value != begun[key]
                and key not in FREE_ON_RESUME
                and not key.startswith(("federation.", "split.limits."))
            ):
                raise RunError(
                    f"run {folder.name!r} was started with {key!r} = {begun[key]!r}, not {value!r}",
                    "resume with the same settings, or start a new run",
                )
        folder._write_json("config.json", dict(flatten(config)))
        folder._point_latest()
        return folder

    @property
    def events_path(self) -> Path:
        """The event log's file."""
        return self.path / "events.jsonl"

    def events(self) -> EventLog:
        """The run's event log, open for appending."""
        return EventLog(self.events_path)

    def config(self) -> RunConfig:
        """The configuration the run was started with; raises RunError where it is damaged."""
        return from_flat(read_json(self.path / "config.json"))

    def save_checkpoint(self, round_number: int, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Writes the state after a round as one folder that is there whole or not at all; keeps the last two.

        Raises
        ------
        RunError : it cannot be written, for want of room say; the checkpoint before is untouched.
        """
        final = self.path / "checkpoints" / f"round-{round_number:04d}"
        partial = final.with_name(f".{final.name}.{os.getpid()}.part")
        text = json.dumps({"schema": CHECKPOINT_SCHEMA, "round": round_number, **manifest})
        needed = sum(tensor.nbytes + len(name) + HEADER for name, tensor in tensors.items()) + len(text)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_file(tensors, partial / "tensors.safetensors")
            (partial / "manifest.json").write_text(text, encoding="utf-8")
            for written in (*partial.iterdir(), partial):
                _flush(written)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(partial, final)
            _flush(final.parent)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            free = shutil.disk_usage(self.path).free
            raise RunError(
                f"the checkpoint of round {round_number!r} cannot be written to {str(final)!r}: {error};"
                f" it takes about {needed:,} bytes, {free:,} are free",
                f"make room there, then set resume = true to go on after round {round_number - 1}",
            ) from error
        # later ones are of void rounds before a resume
        kept = self._checkpoints()
        kept = kept[: kept.index(final) + 1]
        for other in set(self._checkpoints()) - set(kept[-KEPT_CHECKPOINTS:]):
            shutil.rmtree(other, ignore_errors=True)

    def last_checkpoint(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Manifest and tensors of the newest checkpoint, or None.

        Raises
        ------
        RunError : it is damaged.
        """
        found = self._checkpoints()
        if not found:
            return None
        try:
            return read_json(found[-1] / "manifest.json"), load_file(found[-1] / "tensors.safetensors")
        except (OSError, SafetensorError, RunError) as error:
            raise RunError(
                f"checkpoint {str(found[-1])!r} is damaged: {error}", "delete it to go on from the one before"
            ) from error

    def save_adapter(self, client: str, adapter: Adapter) -> None:
        """Keeps the adapter that a client serves with; raises RunError where it cannot be written."""
        folder = self.path / "adapters"
        partial, path = folder / f".{client}.{os.getpid()}.part", folder / f"{client}.safetensors"
        with on_disk(path):
            folder.mkdir(exist_ok=True)
            save_file(adapter, partial)
            os.replace(partial, path)

    def load_adapter(self, client: str) -> Adapter:
        """The adapter that a client serves with.

        Raises
        ------
        RunError : the run has none for this client, or it is damaged.
        """
        path = self.path / "adapters" / f"{client}.safetensors"
        if not path.is_file():
            known = sorted(file.stem for file in path.parent.glob("*.safetensors"))
            more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
            named = (", ".join(known[:MOST_NAMED]) or "nobody yet") + more
            raise RunError(f"run {self.name!r} has no adapter for client {client!r}", f"it has one for {named}")
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise RunError(f"adapter {str(path)!r} is damaged: {error}", "restore the file, or run again") from error

    def save_result(self, result: Mapping[str, Any]) -> None:
        """Writes ``result.json``; a value that is not finite is an error, not a number."""
        self._write_json("result.json", result)

    def result(self) -> dict[str, Any]:
        """The run's result.

        Raises
        ------
        RunError : the run has not ended well, or its result is damaged.
        """
        path = self.path / "result.json"
        if not path.is_file():
            raise RunError(f"run {self.name!r} has no result", "it has not ended, or it failed: see its events.jsonl")
        return read_json(path)

    def _checkpoints(self) -> list[Path]:
        found = [path for path in (self.path / "checkpoints").glob("round-*") if _CHECKPOINT.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.name.removeprefix("round-")))

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        partial = self.path / f".{name}.{os.getpid()}.part"
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        with on_disk(self.path / name):
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, self.path / name)

    def _point_latest(self) -> None:
        link = self.path.parent / "latest"
        partial = link.with_name(f".latest.{os.getpid()}")
        with on_disk(link):
            partial.unlink(missing_ok=True)
            partial.symlink_to(self.path.name)
            os.replace(partial, link)


def _flush(path: Path) -> None:
    """Sees to it that a file, or a folder's list of names, survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
