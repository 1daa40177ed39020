"""A data set: a catalogue, the interactions with it, and where both come from; a folder on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from common.data.catalogue import Catalogue
from common.data.interactions import Interactions
from common.data.manifest import MANIFEST, SCHEMA, digest_of, read_manifest, remedy
from common.data.split import Part
from common.errors import DataError

CATALOGUE, INTERACTIONS = "catalogue.jsonl", "interactions.safetensors"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A catalogue and the interactions with it.

    Parameters
    ----------
    generated : True for made-up data, so that no result on it is taken for one on real data.
    licence : the terms of use, in words.
    source : what it is, which release, and what to cite.
    parts : int8 [n], the part (train, valid, test) of each interaction; None while it is not split. It travels with
        the shards of a set because a split by global time cannot be found again from one client's share.
    split : how ``parts`` came about; empty while there are none.
    filters : what was kept of the source's data, in words; empty for all of it.
    """

    name: str
    catalogue: Catalogue
    interactions: Interactions
    generated: bool
    licence: str
    source: str
    parts: NDArray[np.int8] | None = None
    split: str = ""
    filters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        items = self.interactions.items
        if len(items) and items.max() >= len(self.catalogue):
            raise DataError(
                f"data set {self.name!r}: an interaction names item {items.max()}, {len(self.catalogue)} are there"
            )
        if (self.parts is None) != (self.split == ""):
            raise DataError(
                f"data set {self.name!r}: parts and the name of their split belong together, split is {self.split!r}"
            )
        if self.parts is not None and (self.parts.shape != items.shape or self.parts.dtype != np.int8):
            raise DataError(
                f"data set {self.name!r}: parts are {self.parts.dtype} {self.parts.shape}, not int8 {items.shape}"
            )
        if self.parts is not None and not np.isin(self.parts, list(Part)).all():
            raise DataError(f"data set {self.name!r}: parts hold {np.setdiff1d(self.parts, list(Part)).tolist()!r}")

    @property
    def users(self) -> int:
        """How many users there are."""
        return len(self.interactions.user_keys)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over catalogue, interactions and, where there are any, parts."""
        return digest_of(self._digests())

    def _digests(self) -> dict[str, str]:
        digests = {"catalogue": self.catalogue.digest, "interactions": self.interactions.digest}
        if self.parts is not None:
            digests["parts"] = hashlib.sha256(self.parts.tobytes()).hexdigest()
        return digests

    def renamed(self, name: str) -> Dataset:
        """The same data set, and its catalogue, by another name."""
        catalogue = Catalogue(name, self.catalogue.keys, self.catalogue.items)
        return replace(self, name=name, catalogue=catalogue)

    def restrict(self, users: ArrayLike, name: str) -> Dataset:
        """The same catalogue with only these users (positions), in the order given."""
        chosen = np.asarray(users, dtype=np.int64)
        if len(np.unique(chosen)) != len(chosen) or (
            len(chosen) and not 0 <= chosen.min() <= chosen.max() < self.users
        ):
            raise DataError(
                f"data set {self.name!r} has {self.users} users; the positions to keep repeat or lie outside"
            )
        known, rows = self.interactions, self.interactions.rows_of(chosen)
        interactions = Interactions(
            user_keys=tuple(known.user_keys[user] for user in chosen),
            users=np.repeat(np.arange(len(chosen)), np.diff(known.offsets)[chosen]),
            items=known.items[rows],
            times=None if known.times is None else known.times[rows],
        )
        parts = None if self.parts is None else self.parts[rows]
        return replace(self, name=name, interactions=interactions, parts=parts)

    def save(self, folder: Path, same_catalogue: Path | None = None) -> None:
        """Write the three files; the manifest comes last, so that a folder with one is whole.

        ``same_catalogue`` : a folder that holds this very catalogue already; its file is linked where that can be done.
        """
        folder.mkdir(parents=True, exist_ok=True)
        known = self.interactions
        tensors: dict[str, NDArray[Any]] = {
            "users": known.users,
            "items": known.items,
            "user_keys": _packed(known.user_keys),
        }
        if known.times is not None:
            tensors["times"] = known.times
        if self.parts is not None:
            tensors["parts"] = self.parts
        manifest = {
            "schema": SCHEMA,
            "name": self.name,
            "catalogue": self.catalogue.name,
            "generated": self.generated,
            "licence": self.licence,
            "source": self.source,
            "split": self.split,
            "filters": list(self.filters),
            "digests": self._digests(),
            "counts": {"users": self.users, "items": len(self.catalogue), "interactions": len(known)},
        }
        _write(folder / CATALOGUE, lambda path: self._write_catalogue(path, same_catalogue))
        _write(folder / INTERACTIONS, lambda path: save_file(tensors, path))
        _write(
            folder / MANIFEST,
            lambda path: path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8"),
        )

    def _write_catalogue(self, path: Path, same: Path | None) -> None:
        if same is not None:
            try:
                return path.hardlink_to(same / CATALOGUE)
            except OSError:  # another file system, or one without links: the text is written again
                pass
        path.write_text("".join(self.catalogue.lines()), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Read a folder that ``save`` wrote; raises DataError where it is missing, damaged or of another schema."""
        manifest = read_manifest(folder)
        try:
            dataset = cls._read(folder, manifest)
            digests = manifest["digests"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError, DataError) as error:
            raise DataError(f"damaged data set in {str(folder)!r}: {error}", remedy(folder)) from error
        if dataset._digests() != digests:
            raise DataError(
                f"data set in {str(folder)!r} is not what its manifest says: a digest differs", remedy(folder)
            )
        return dataset

    @classmethod
    def _read(cls, folder: Path, manifest: dict[str, Any]) -> Dataset:
        name = manifest["name"]
        with (folder / CATALOGUE).open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        tensors = load_file(folder / INTERACTIONS)
        catalogue = Catalogue(
            manifest["catalogue"], tuple(row["key"] for row in rows), tuple(row["attributes"] for row in rows)
        )
        keys = tuple(json.loads(tensors["user_keys"].tobytes()))
        interactions = Interactions(keys, tensors["users"], tensors["items"], tensors.get("times"))
        return cls(
            name,
            catalogue,
            interactions,
            manifest["generated"],
            manifest["licence"],
            manifest["source"],
            tensors.get("parts"),
            manifest["split"],
            tuple(manifest.get("filters", ())),
        )


def _packed(keys: tuple[str, ...]) -> NDArray[np.uint8]:
    """Text as a tensor: safetensors holds numbers only."""
    return np.frombuffer(json.dumps(keys, ensure_ascii=False).encode(), dtype=np.uint8)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    write(partial)
    os.replace(partial, path)
