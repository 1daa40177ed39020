"""What a side is a part of: the cut, the architecture and the identity of the whole model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from common.cut.configuration import config_digest
from common.cut.families import read_config, read_json
from common.cut.identity import joint_digest, tensor_digests
from common.cut.point import Cut, Side
from common.errors import ModelError

MANIFEST_FILE = "cut.json"
SCHEMA = 3


@dataclass(frozen=True)
class Manifest:
    """One side of a cut model.

    Attributes
    ----------
    k, m : the cut. layers : of the whole model. family : the ``model_type``.
    digest : of the whole model's weights. config : digest of what its ``config.json`` says of the computation.
    tensors : digest of each tensor of the whole model, by its stored name; together they make ``digest``.
    """

    side: Side
    k: int
    m: int
    layers: int
    family: str
    digest: str
    config: str
    tensors: dict[str, str] = field(default_factory=dict, repr=False)
    schema: int = SCHEMA

    def write(self, folder: Path) -> None:
        """Writes ``cut.json`` into a side's folder."""
        (folder / MANIFEST_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path | str) -> Manifest | None:
    """The manifest of a side's folder; None for a folder that holds a whole model.

    Raises
    ------
    ModelError : ``cut.json`` is malformed, or of another schema.
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        return None
    raw = read_json(path)
    if raw.get("schema") != SCHEMA:
        raise ModelError(f"schema is {raw.get('schema')!r} in {str(path)!r}, not {SCHEMA!r}", "split the model again")
    kinds = {"k": int, "m": int, "layers": int, "schema": int, "tensors": dict}
    names = [one.name for one in fields(Manifest)]
    for name in names:
        if type(raw.get(name)) is not kinds.get(name, str):
            raise ModelError(f"{name} is {raw.get(name)!r} in {str(path)!r}", "split the model again")
    if unknown := raw.keys() - set(names):
        raise ModelError(f"{sorted(unknown)[0]!r} in {str(path)!r} is unknown", "split the model again")
    if raw["side"] not in ("client", "server"):
        raise ModelError(f"side is {raw['side']!r} in {str(path)!r}", "it must be 'client' or 'server'")
    if not all(isinstance(one, str) for one in raw["tensors"].values()):
        raise ModelError(f"tensors in {str(path)!r} holds what is no digest", "split the model again")
    if (joint := joint_digest(raw["tensors"])) != raw["digest"]:
        raise ModelError(
            f"digest is {raw['digest']!r} in {str(path)!r}, its tensors make {joint!r}", "split the model again"
        )
    return Manifest(**raw)


def digest(folder: Path | str) -> str:
    """The identity of the whole model's weights, from its own folder or, as its manifest says, from either side's.

    Raises
    ------
    ModelError : the folder's weights or its manifest cannot be read.
    """
    own = read_manifest(folder)
    return joint_digest(tensor_digests(folder)) if own is None else own.digest


def manifest(folder: Path | str, cut: Cut, side: Side) -> Manifest:
    """The manifest of one side, from its own folder or from the whole model's (whose weights are then digested).

    Raises
    ------
    ModelError : the cut is impossible, or the folder holds the other side or another cut.
    """
    check_folder(folder, cut, side)
    if (own := read_manifest(folder)) is not None:
        return own
    config = read_config(folder)
    tensors = tensor_digests(folder)
    return Manifest(
        side,
        cut.k,
        cut.m,
        config.num_hidden_layers,
        config.model_type,
        joint_digest(tensors),
        config_digest(folder),
        tensors,
    )


def check_folder(folder: Path | str, cut: Cut, side: Side) -> None:
    """Refuses a folder that cannot give this side of this cut; cheap, for it reads JSON only.

    Raises
    ------
    ModelError : as said by its message.
    """
    cut.check(read_config(folder))
    own = read_manifest(folder)
    if own is None:
        return
    if own.side != side:
        raise ModelError(f"{str(folder)!r} holds the side {own.side!r}, not {side!r}", "give the other folder")
    if Cut(own.k, own.m) != cut:
        raise ModelError(
            f"{str(folder)!r} was split at k={own.k}, m={own.m}, not at k={cut.k}, m={cut.m}",
            "set the same k and m, or split the whole model again",
        )
    if (found := config_digest(folder)) != own.config:
        raise ModelError(
            f"config.json in {str(folder)!r} has digest {found[:12]!r}, the model was split with {own.config[:12]!r}",
            "copy the side's folder again, or split the whole model again",
        )
