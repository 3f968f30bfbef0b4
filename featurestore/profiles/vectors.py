"""Vectors -> a few numbers each, along directions that are frozen with the bins.

Of a vector nothing but null could be counted as it stands. Its length, its norm and its place along some directions are
numbers, and are binned, watched and judged as any other:

- ``length``: how many elements. An Embedding that another model wrote may have another.
- ``norm``: Euclidean, over all elements, whatever their number.
- ``pca1``, ``pca2``, ``pca3``: along the directions in which the reference varies most, where most changes show.
- ``projection1`` ...: along random directions, drawn by the field's name and the number of dimensions. They see what
  the principal components are blind to: a change in a direction in which the reference hardly varies.

A vector with another number of dimensions than the directions, or with an element that is NaN or null, has no place
along them: it counts as NaN there, and where an element is missing its norm does as well. A null vector is null in all.

Every sum here is over one vector, in the order of its elements, and never by a matrix product, whose last digit depends
on how many rows there are: cuts are places of reference vectors, and the same vector has to fall into the same cell.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import types
from featurestore.profiles.hashing import mixed

Measure = Literal["length", "norm", "place"]

#: Principal components of a vector that are watched.
COMPONENTS = 3
#: Random directions beside them.
PROJECTIONS = 3
#: Vectors that the components are computed from, by hash of their elements, so that their order does not matter.
_SAMPLE = 1024
_SAMPLE_VALUES = 1 << 24
#: Numbers that are worked on at a time: they fit into a cache.
_BLOCK_VALUES = 1 << 16


@dataclass(frozen=True)
class Derivation:
    """How a number is made of a vector.

    Attributes:
        column: the vectors' column.
        dtype: its type: an Embedding, or an Array of numbers.
        measure: what is taken.
        direction: of ``place``: as many numbers as the vector has, together of length one.
    """

    column: str
    dtype: types.DType
    measure: Measure
    direction: tuple[float, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; :meth:`from_json` reads them back exactly."""
        packed = base64.b64encode(np.array(self.direction, "<f4").tobytes()).decode()
        return {"column": self.column, "dtype": self.dtype.name, "measure": self.measure, "direction": packed}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Derivation:
        """Return what :meth:`to_json` came from."""
        direction = np.frombuffer(base64.b64decode(values["direction"]), "<f4")
        return cls(values["column"], types.by_name(values["dtype"]), values["measure"], tuple(direction.tolist()))


def is_vector(dtype: types.DType) -> bool:
    """Whether values of a type are lists of numbers."""
    return dtype.element is not None and dtype.element.numeric


def derivations(column: str, dtype: types.DType, vectors: pa.Array | pa.ChunkedArray) -> dict[str, Derivation]:
    """Return what is to be taken from a column of vectors, by the name of the feature that it makes.

    An Array's directions have the number of dimensions that most of its vectors have, the least such number if there
    are several; one without elements has none.
    """
    made = {f"{column}.{measure}": Derivation(column, dtype, measure) for measure in ("length", "norm")}
    lists = [_lists(chunk) for chunk in _chunks(vectors)]
    size = dtype.size or _usual(np.concatenate([np.zeros(0, np.int64), *(lengths for lengths, _ in lists)]))
    if not size:
        return made
    directions = {
        **{f"pca{place}": one for place, one in enumerate(_components(lists, size), 1)},
        **{f"projection{place}": one for place, one in enumerate(_projections(column, size), 1)},
    }
    for name, direction in directions.items():
        # As floats of half the width they are half as long on disk, and still the same on every machine.
        frozen = tuple(direction.astype(np.float32).tolist())
        made[f"{column}.{name}"] = Derivation(column, dtype, "place", frozen)
    return made


def measured(vectors: pa.Array, wanted: Sequence[Derivation]) -> list[NDArray[np.float64]]:
    """Return, for each derivation, one number for each vector that is not null; NaN where there is none."""
    lengths, elements = _lists(vectors)
    starts = np.cumsum(lengths) - lengths
    by_size: dict[int, list[NDArray[np.float64]]] = {}
    found: list[NDArray[np.float64]] = []
    for one in wanted:
        if one.measure == "length":
            found.append(lengths.astype(np.float64))
        elif one.measure == "norm":
            found.append(_norms(elements, starts, lengths))
        else:
            found.append(np.full(len(lengths), np.nan))
            by_size.setdefault(len(one.direction), []).append(found[-1])
    for size, targets in by_size.items():
        directions = [np.array(one.direction) for one in wanted if len(one.direction) == size]
        rows = np.flatnonzero(lengths == size)
        step = max(1, _BLOCK_VALUES // size)
        for at in range(0, len(rows), step):
            some = rows[at : at + step]
            block = _block(elements, starts[some], size)
            for target, direction in zip(targets, directions, strict=True):
                # Infinities of both signs leave no number; and NaN is what is said of it.
                with np.errstate(invalid="ignore", over="ignore"):
                    target[some] = (block * direction).sum(axis=1)
    return found


def _norms(elements: NDArray[Any], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    norms = np.zeros(len(lengths))
    filled = np.flatnonzero(lengths)
    step = max(1, _BLOCK_VALUES // int(lengths.max(initial=1)))
    for at in range(0, len(filled), step):
        some = filled[at : at + step]
        first, end = starts[some[0]], starts[some[-1]] + lengths[some[-1]]
        with np.errstate(over="ignore"):  # a norm that no float holds is infinite
            squares = np.square(elements[first:end].astype(np.float64))
            norms[some] = np.sqrt(np.add.reduceat(squares, starts[some] - first))
    return norms


def _components(lists: Sequence[tuple[NDArray[np.int64], NDArray[Any]]], size: int) -> list[NDArray[np.float64]]:
    """Return the directions of the largest variance, the largest first; none of those without any."""
    sample = _sample(lists, size)
    if len(sample) < 2:
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        sample = sample / (np.abs(sample).max() or 1.0)
        sample = sample - sample.mean(axis=0)
    # The smaller of the two matrices of products has the same variances.
    wide = size > len(sample)
    variances, found = np.linalg.eigh(sample @ sample.T if wide else sample.T @ sample)
    order = np.argsort(-variances, kind="stable")[:COMPONENTS]
    kept = [place for place in order if variances[place] > 1e-12 * variances[order[0]] and variances[place] > 0]
    directions = [sample.T @ found[:, place] if wide else found[:, place] for place in kept]
    # The sign of a direction is nobody's choice but ours: its largest number is positive.
    return [one / np.linalg.norm(one) * np.sign(one[np.argmax(np.abs(one))]) for one in directions]


def _sample(lists: Sequence[tuple[NDArray[np.int64], NDArray[Any]]], size: int) -> NDArray[np.float64]:
    """Return finite vectors of one size, those with the smallest hashes, in the order of these."""
    most = min(_SAMPLE, max(2, _SAMPLE_VALUES // size))
    odd = mixed(np.arange(size, dtype=np.uint64)) | np.uint64(1)
    kept, hashes = np.zeros((0, size)), np.zeros(0, np.uint64)
    step = max(most, _BLOCK_VALUES // size)
    for lengths, elements in lists:
        starts, rows = np.cumsum(lengths) - lengths, np.flatnonzero(lengths == size)
        for at in range(0, len(rows), step):
            block = _block(elements, starts[rows[at : at + step]], size) + 0.0
            block = block[np.isfinite(block).all(axis=1)]
            kept = np.concatenate([kept, block])
            hashes = np.concatenate([hashes, mixed((block.view(np.uint64) * odd).sum(axis=1, dtype=np.uint64))])
            smallest = np.argsort(hashes, kind="stable")[:most]
            kept, hashes = kept[smallest], hashes[smallest]
    return kept


def _projections(column: str, size: int) -> list[NDArray[np.float64]]:
    seed = int.from_bytes(hashlib.sha256(f"{column} {size}".encode()).digest()[:16])
    drawn = np.random.Generator(np.random.PCG64(seed)).standard_normal((min(PROJECTIONS, size), size))
    return [one / np.linalg.norm(one) for one in drawn]


def _usual(lengths: NDArray[np.int64]) -> int:
    found, counts = np.unique(lengths, return_counts=True)
    return int(found[np.argmax(counts)]) if len(found) else 0


def _chunks(vectors: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return vectors.chunks if isinstance(vectors, pa.ChunkedArray) else [vectors]


def _lists(vectors: pa.Array) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return how many elements each vector has that is not null, and all of them; missing ones are NaN."""
    present = vectors.drop_null()
    if pa.types.is_null(present.type):
        return np.zeros(0, np.int64), np.zeros(0)
    lengths = pc.list_value_length(present).to_numpy(zero_copy_only=False).astype(np.int64)
    elements = present.flatten()
    if not pa.types.is_floating(elements.type) or pa.types.is_float16(elements.type):
        elements = elements.cast(pa.float64(), safe=False)
    return lengths, elements.to_numpy(zero_copy_only=False)


def _block(elements: NDArray[Any], starts: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    if len(starts) and starts[-1] - starts[0] == (len(starts) - 1) * size:
        block = elements[starts[0] : starts[-1] + size].reshape(-1, size)
    else:
        block = elements[starts[:, None] + np.arange(size)]
    return np.ascontiguousarray(block, np.float64)
