"""Snapshots on disk: per client the committed adapter, and the working copy of an open round.

One safetensors file each, with what else must be known in its header: adapter, optimiser and step cannot disagree.
Working copies are written beside the computing; where the disk is slow, only the newest is written.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from common.errors import RunError, SplitError
from server_app.split.files import remove_file, replace_file

COMMITTED, WORKING = "committed.safetensors", "working.safetensors"


@dataclass(frozen=True)
class Snapshot:
    """Tensors, and facts that JSON can hold."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class SnapshotStore:
    """Keeps snapshots in ``folder``.

    Parameters
    ----------
    identity : what they belong to; snapshots of another model or other LoRA settings are refused.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder, self._identity = folder, dict(identity)
        self._pending: dict[str, tuple[Snapshot, Callable[[], None]]] = {}
        self._writing: str | None = None
        self._failure: OSError | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write_on, name="fellrec-split-snapshots", daemon=True)
        self._writer.start()

    def save(self, client: str, name: str, snapshot: Snapshot) -> None:
        """Writes a snapshot and returns once it is on the disk."""
        header = {"client": client, **self._identity, **snapshot.facts}
        content = save(dict(snapshot.tensors), metadata={"fellrec": json.dumps(header)})
        replace_file(self._file(client, name), content)

    def save_soon(self, client: str, snapshot: Snapshot, done: Callable[[], None]) -> None:
        """Writes a working copy later, or a newer one in its place; ``done`` is called from another thread."""
        with self._changed:
            self._pending[client] = snapshot, done
            self._changed.notify_all()

    def settle(self, client: str, written: bool) -> None:
        """Waits until nothing is being written for a client; what is pending is ``written`` first, or given up.

        Raises
        ------
        RunError : a snapshot could not be written.
        """
        with self._changed:
            if not written:
                self._pending.pop(client, None)
            self._changed.wait_for(lambda: self._failure or (client not in self._pending and self._writing != client))
            if self._failure:
                raise RunError(
                    f"a hosted adapter cannot be saved: {self._failure}",
                    "make room there, then set resume = true to go on after the last whole round",
                )

    def drop_working(self, client: str) -> None:
        """Removes a client's working copy; nothing may be pending."""
        remove_file(self._file(client, WORKING))

    def load(self) -> Iterator[tuple[str, Snapshot, Snapshot | None]]:
        """Every client with its committed snapshot and, where a round was open, the working copy.

        Raises
        ------
        SplitError : a snapshot is damaged, or of another model.
        """
        for committed in sorted(self._folder.glob(f"*/{COMMITTED}")):
            client, snapshot = self._read(committed)
            working = committed.with_name(WORKING)
            yield client, snapshot, self._read(working)[1] if working.exists() else None

    def close(self) -> None:
        """Writes what is pending and ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._writer.join()

    def _read(self, path: Path) -> tuple[str, Snapshot]:
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["fellrec"])
                snapshot = Snapshot({name: file.get_tensor(name) for name in file.keys()}, facts)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise SplitError(
                f"snapshot {str(path)!r} cannot be read: {error}", "restore it, or start a new run"
            ) from error
        for name, value in self._identity.items():
            if facts.get(name) != value:
                raise SplitError(
                    f"snapshot {str(path)!r} has {name!r} = {facts.get(name)!r}, the service has {value!r}",
                    "use the settings that the run began with, or another state folder",
                )
        return facts["client"], snapshot

    def _file(self, client: str, name: str) -> Path:
        # a client's name may hold anything
        return self._folder / hashlib.sha256(client.encode()).hexdigest()[:32] / name

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._writing = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._pending or self._closed)
                if not self._pending:
                    return
                self._writing = client = next(iter(self._pending))
                snapshot, done = self._pending.pop(client)
            try:
                self.save(client, WORKING, snapshot)
                done()
            except OSError as error:
                with self._changed:
                    self._failure = error
