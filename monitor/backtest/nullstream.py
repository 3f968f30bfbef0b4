"""Blocks of a baseline -> windows in which nothing has changed: an A/A replay by block bootstrap.

Rows of one block depend on each other, so whole blocks are drawn. A pseudo-baseline is drawn from them as well, as
often as there are blocks, and limits are fitted to it: the true baseline is to it what the world is to the true
baseline, so the error of a finite training set counts. (Künsch 1989 for the blocks; Efron and Tibshirani 1993, chapter
8, for the two levels.) Windows shorter than a block take its rows in turns, without replacement: they share what is odd
about the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import Baseline, Profile, baseline_of_profiles, merge
from monitor.backtest.ledger import KeptWindow


def pseudo_baseline(baseline: Baseline, random: np.random.Generator) -> Baseline:
    """Return as many blocks as a baseline has, drawn from them with replacement, as a baseline over the same bins."""
    drawn = random.integers(0, len(baseline.blocks), len(baseline.blocks))
    start = baseline.blocks[0][0]
    parts = [(start + at * baseline.block, baseline.blocks[which][1]) for at, which in enumerate(drawn.tolist())]
    return baseline_of_profiles(parts, block=baseline.block)


def null_windows(
    baseline: Baseline, length: timedelta, count: int, start: datetime, random: np.random.Generator
) -> Iterator[KeptWindow]:
    """Yield windows that are made of the blocks of a baseline alone.

    Args:
        baseline: whose blocks.
        length: of a window.
        count: how many.
        start: of the first.
        random: says which blocks.
    """
    per_block = max(1, round(baseline.block / length))
    per_window = max(1, round(length / baseline.block))
    made = 0
    while made < count:
        drawn = random.integers(0, len(baseline.blocks), per_window).tolist()
        block = merge([baseline.blocks[which][1] for which in drawn])
        parts = [block] if per_block == 1 else _split(block, per_block, random)
        for part in parts[: count - made]:
            at = start + made * length
            made += 1
            yield KeptWindow(start=at, end=at + length, profile=part)


def _split(block: Profile, parts: int, random: np.random.Generator) -> list[Profile]:
    """Return a block's rows in so many parts of nearly equal size, each field's counts drawn without replacement.

    Moments are shared out in proportion: the detector and every effect go by counts.
    """
    left = block.counts.copy()
    found = []
    for part in range(parts, 0, -1):
        counts = np.zeros_like(left)
        size = 0
        for place in block.bins.slices.values():
            cells = left[place]
            size = int(cells.sum()) // part
            counts[place] = _drawn(cells, size, random)
        left -= counts
        share = size / block.rows if block.rows else 0.0
        found.append(
            replace(
                block,
                rows=size,
                counts=counts,
                infinite=np.floor(block.infinite * share).astype(block.infinite.dtype),
                finite=np.floor(block.finite * share).astype(block.finite.dtype),
                squares=block.squares * share,
            )
        )
    return found


def _drawn(cells: NDArray[np.int64], size: int, random: np.random.Generator) -> NDArray[np.int64]:
    if size <= 0:
        return np.zeros_like(cells)
    # "count" takes memory by rows and is refused beyond a billion; "marginals" goes cell by cell.
    drawn: NDArray[np.int64] = random.multivariate_hypergeometric(cells, size, method="marginals")
    return drawn
