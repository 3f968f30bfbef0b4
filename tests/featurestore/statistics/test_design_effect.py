"""The design effect: how many rows are worth one."""

import numpy as np
import pytest

from featurestore.statistics.design_effect import design_effect, intra_block_correlation


def blocks(rng: np.random.Generator, count: int, rows: int, rho: float) -> np.ndarray:
    """Return hits of each block, whose chance is 1/2 on average and varies between blocks as rho says."""
    if not rho:
        return rng.binomial(rows, 0.5, (count, 1))
    spread = (1 / rho - 1) / 2
    return rng.binomial(rows, rng.beta(spread, spread, (count, 1)))


@pytest.mark.parametrize("rho", [0.0, 0.02, 0.3, 0.9])
@pytest.mark.parametrize("rows", [50, 1000])
def test_rho_is_found_whatever_the_size_of_a_block(rho: float, rows: int) -> None:
    hits = blocks(np.random.default_rng(1), 4000, rows, rho)
    found = intra_block_correlation(hits, np.full(4000, rows))
    assert found[0] == pytest.approx(rho, abs=0.002 + 0.06 * rho)


def test_blocks_of_different_sizes_give_the_same_rho() -> None:
    rng = np.random.default_rng(2)
    sizes = rng.integers(20, 400, 4000)
    chances = rng.beta(4.5, 4.5, 4000)
    hits = rng.binomial(sizes, chances)[:, None]
    assert intra_block_correlation(hits, sizes)[0] == pytest.approx(0.1, abs=0.01)


def test_an_event_that_all_rows_or_none_are_in_has_no_correlation() -> None:
    assert intra_block_correlation([[0, 10], [0, 20]], [10, 20]).tolist() == [0.0, 0.0]


def test_one_block_is_one_observation() -> None:
    assert intra_block_correlation([[3]], [10]).tolist() == [1.0]


def test_blocks_without_rows_do_not_count() -> None:
    full = intra_block_correlation([[9], [1], [5]], [10, 10, 10])
    assert intra_block_correlation([[9], [0], [1], [5]], [10, 0, 10, 10]).tolist() == full.tolist()


def test_blocks_of_one_row_cannot_be_alike() -> None:
    assert intra_block_correlation([[1], [0], [1]], [1, 1, 1]).tolist() == [0.0]


def test_more_rows_a_block_are_worth_hardly_more_when_they_are_alike() -> None:
    worth = [rows / float(design_effect(rows, 0.5)) for rows in (1, 10, 1000)]
    assert worth == pytest.approx([1.0, 10 / 5.5, 1000 / 500.5])
    assert float(design_effect(0.2, 0.5)) == 1
