"""From a generated text to the items of a catalogue (BIGRec, arXiv 2308.08434): the titles that lie nearest to it.

The nearest title by L2 distance between embeddings of the base model is the first recommendation. Popularity may be
injected into the distances; how strongly, ``common.recommenders.evidence`` chooses on validation users.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from common.errors import DataError


def distances(generated: Tensor, matrix: Tensor, chunk: int = 4096) -> Tensor:
    """L2 distances float32 [B, n] of generated texts [B, H] to titles [n, H], ``chunk`` titles at a time.

    Differences are taken before squaring, so that a text which is a title lies at distance 0 from it.
    """
    left = generated.float()
    parts = [
        torch.cdist(left, part.float(), compute_mode="donot_use_mm_for_euclid_dist") for part in matrix.split(chunk)
    ]
    return torch.cat(parts, dim=1)


def injected(distances: Tensor, popularity: Tensor, gamma: float) -> Tensor:
    """BIGRec's injection, float64 [B, n]: ``D' (1 + P)^-gamma``, less is better.

    Parameters
    ----------
    distances : [B, n]; D' is each row of it between 0 and 1. popularity : [n], counts or any score of the items; P is it
        between 0 and 1. gamma : 0 leaves the order as it is.

    Raises
    ------
    DataError : shapes that do not fit together, or a value that is not finite.
    """
    table, counts = distances.double(), popularity.double()
    if table.ndim != 2 or counts.shape != table.shape[1:]:
        raise DataError(
            f"distances {tuple(table.shape)!r} and popularity {tuple(counts.shape)!r} do not fit", "pass [B, n] and [n]"
        )
    if not (table.isfinite().all() and counts.isfinite().all() and math.isfinite(gamma)):
        raise DataError(f"a distance, a popularity or gamma ({gamma!r}) is not finite", "look for a diverged model")
    return _spread(table) * (1 + _spread(counts)) ** -gamma


def exact_share(texts: Sequence[str], titles: Iterable[str]) -> float:
    """The share of generated texts that are, character for character, a title of the catalogue."""
    if not texts:
        raise DataError("no generated text to take a share of", "generate for at least one user")
    known = set(titles)
    return sum(text in known for text in texts) / len(texts)


def _spread(rows: Tensor) -> Tensor:
    """Each row between 0 (its least) and 1 (its greatest); zeros where all are equal."""
    least = rows.min(dim=-1, keepdim=True).values
    span = rows.max(dim=-1, keepdim=True).values - least
    return (rows - least) / torch.where(span > 0, span, 1.0)
