"""A small model of arrival delays: ridge regression on standardized features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.linalg


@dataclass(frozen=True)
class DelayModel:
    """Weights over standardized features and their "is missing" flags.

    Attributes:
        mean: of each feature; also stands in for a missing value.
        scale: standard deviation of each feature.
        weights: intercept, features, flags.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, features: pl.DataFrame, delay: pl.Series, *, penalty: float) -> DelayModel:
        """Return the model that minimizes squared error plus ``penalty`` times the squared weights."""
        values = _matrix(features)
        mean = np.nanmean(values, axis=0)
        scale = np.nanstd(values, axis=0)
        scale[scale == 0] = 1.0
        design = _design(values, mean, scale)
        gram = design.T @ design + penalty * np.eye(design.shape[1])
        weights = scipy.linalg.solve(gram, design.T @ delay.to_numpy().astype(float), assume_a="pos")
        return cls(mean, scale, weights)

    def predict(self, features: pl.DataFrame) -> np.ndarray:
        """Return minutes of delay."""
        return _design(_matrix(features), self.mean, self.scale) @ self.weights


def _matrix(features: pl.DataFrame) -> np.ndarray:
    return features.select(pl.all().cast(pl.Float64).fill_null(float("nan"))).to_numpy()


def _design(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    missing = np.isnan(values)
    standardized = np.where(missing, 0.0, (values - mean) / scale)
    return np.hstack([np.ones((len(values), 1)), standardized, missing])


def fit_and_score(
    rows: pl.DataFrame, names: list[str], *, penalty: float = 10.0
) -> tuple[DelayModel, dict[str, float]]:
    """Fit on the first four fifths of the days and score on the last: a model is used on days it has not seen.

    Args:
        rows: features, ``time_hour`` and ``arr_delay``; flights that never arrived teach nothing and are left out.
        names: the features.
        penalty: of the ridge.

    Returns:
        The model, and root mean squared errors in minutes: its own, and that of always saying the mean.
    """
    arrived = rows.filter(pl.col("arr_delay").is_not_null()).sort("time_hour")
    days = arrived["time_hour"].dt.date()
    cut = sorted(set(days))[int(len(set(days)) * 0.8)]
    train, test = arrived.filter(days < cut), arrived.filter(days >= cut)
    model = DelayModel.fit(train.select(names), train["arr_delay"], penalty=penalty)
    truth = test["arr_delay"].to_numpy().astype(float)
    error = model.predict(test.select(names)) - truth
    spread = float(train["arr_delay"].mean()) - truth
    return model, {"rmse": float(np.sqrt(np.mean(error**2))), "rmse_of_mean": float(np.sqrt(np.mean(spread**2)))}
