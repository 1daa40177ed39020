"""The cut of a model: which layers a client keeps, which the split service hosts, and loading one side alone.

Both sides run the model's own Hugging Face class. The client's has one :class:`TrunkSlot` in the middle layers'
place; the server's has the middle layers only. So masks, rotary positions and norms stay the library's work, and a
new architecture is one line in :data:`FAMILIES`. Neither side ever reads or allocates the other's weights.

Layers keep their index in the whole model in every parameter's name, on both sides: an adapter trained on one side
is already named as a part of the whole model's adapter.
"""

from __future__ import annotations

from common.cut.configuration import config_digest
from common.cut.costs import cost
from common.cut.families import FAMILIES, Family, family_of, read_config
from common.cut.folder import write_sides
from common.cut.manifests import Manifest, digest, manifest, read_manifest
from common.cut.names import owner, side_name, whole_name
from common.cut.point import Cut, Side
from common.cut.sides import client_side, server_side
from common.cut.slot import TrunkSlot, set_trunk
from common.cut.trunk import ServerTrunk
from common.cut.weights import read_weights
from common.models import resolve

__all__ = [
    "FAMILIES",
    "Cut",
    "Family",
    "Manifest",
    "ServerTrunk",
    "Side",
    "TrunkSlot",
    "client_side",
    "config_digest",
    "cost",
    "digest",
    "family_of",
    "manifest",
    "owner",
    "read_config",
    "read_manifest",
    "read_weights",
    "resolve",
    "server_side",
    "set_trunk",
    "side_name",
    "whole_name",
    "write_sides",
]
