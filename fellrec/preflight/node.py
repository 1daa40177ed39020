"""What a node is told about itself: the settings of ``node.env``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError

FOR_START = ("FELLREC_ISOLATION", "FELLREC_RUNTIME_HOST", "FELLREC_RUNTIME_PORT")
"""Settings that only ``start.sh`` reads."""


@dataclass(frozen=True)
class Node:
    """A node before it joins; None and '' mean: not said, and so not checked.

    Attributes
    ----------
    name : the client that lives here. data_path : its folder. data_split : how its parts must have been made.
    superlink, split : ``host:port``.
    root_certificate, split_certificate, split_key, supernode_key : files.
    model, digest, config, k, m : the model, the digests of its weights and of its configuration, and the layers that stay
        here; k and m are None without a split.
    """

    name: str = ""
    data_path: Path | None = None
    data_split: str = "leave-last-out"
    superlink: str = ""
    split: str = ""
    root_certificate: Path | None = None
    split_certificate: Path | None = None
    split_key: Path | None = None
    supernode_key: Path | None = None
    model: str = ""
    digest: str = ""
    config: str = ""
    k: int | None = None
    m: int | None = None

    @classmethod
    def from_env(cls, path: Path) -> Node:
        """The node whose settings stand in an env file; relative paths start from the file's folder.

        Raises
        ------
        ConfigError : the file cannot be read, or has a line or a setting that is none.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--env = {str(path)!r} cannot be read: {error}", "give the node's node.env") from error
        found: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, equals, value = line.partition("=")
            if not equals:
                raise ConfigError(f"{str(path)!r}, line {number}: {line!r} is not NAME=VALUE")
            found[name.strip()] = value.strip().strip("'\"")
        return cls.from_mapping(found, path.parent)

    @classmethod
    def from_mapping(cls, found: Mapping[str, str], folder: Path) -> Node:
        """The node from ``FELLREC_...`` settings."""
        fields: dict[str, Any] = {}
        for name, value in found.items():
            if name in FOR_START or not value:
                continue
            if name not in FIELDS:
                near = difflib.get_close_matches(name, FIELDS, n=1)
                raise ConfigError(f"unknown setting {name!r} = {value!r}", f"did you mean {near[0]!r}?" if near else "")
            field, kind = FIELDS[name]
            if kind is int and not value.isdecimal():
                raise ConfigError(f"{name!r} = {value!r} is no count", "give a number from 0 up")
            fields[field] = (folder / Path(value).expanduser()).absolute() if kind is Path else kind(value)
        return cls(**fields)


FIELDS: dict[str, tuple[str, type]] = {
    "FELLREC_NODE": ("name", str),
    "FELLREC_DATA_PATH": ("data_path", Path),
    "FELLREC_DATA_SPLIT": ("data_split", str),
    "FELLREC_SUPERLINK": ("superlink", str),
    "FELLREC_SPLIT": ("split", str),
    "FELLREC_ROOT_CERTIFICATE": ("root_certificate", Path),
    "FELLREC_SPLIT_CERTIFICATE": ("split_certificate", Path),
    "FELLREC_SPLIT_KEY": ("split_key", Path),
    "FELLREC_SUPERNODE_KEY": ("supernode_key", Path),
    "FELLREC_MODEL": ("model", str),
    "FELLREC_MODEL_DIGEST": ("digest", str),
    "FELLREC_MODEL_CONFIG": ("config", str),
    "FELLREC_SPLIT_K": ("k", int),
    "FELLREC_SPLIT_M": ("m", int),
}
