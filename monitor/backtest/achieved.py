"""False pages that were counted -> how often they come, with a bound."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import gammaincinv


@dataclass(frozen=True, kw_only=True)
class Achieved:
    """How often chance raises a page.

    Attributes:
        windows: null windows that were replayed.
        pages: that these raised.
        windows_per_quarter: how many a quarter has.
        confidence: of the bound.
    """

    windows: int
    pages: int
    windows_per_quarter: float
    confidence: float = 0.95

    @property
    def per_quarter(self) -> float:
        """Pages a quarter, as counted."""
        return self.pages / self.windows * self.windows_per_quarter if self.windows else 0.0

    @property
    def most_per_quarter(self) -> float:
        """Pages a quarter, at most, with the confidence: Garwood's bound (1936) on the mean of a Poisson count."""
        if not self.windows:
            return float("inf")
        return float(gammaincinv(self.pages + 1, self.confidence)) / self.windows * self.windows_per_quarter

    @property
    def least_run_length(self) -> float:
        """Windows between two of them, at least, with the confidence."""
        return self.windows_per_quarter / self.most_per_quarter
