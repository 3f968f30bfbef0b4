"""Accuracy, precision, recall, F1, ROC AUC, log loss, Brier score, calibration error: each with rows' influences.

Definitions are those of scikit-learn, with two exceptions: what is not defined (the precision of no positive
prediction) is said to be so, and is not 0; and of several classes the Brier score is not halved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.performance.sample import Sample
from monitor.performance.scored import Scored

#: Of the calibration error: bins of equal width.
CALIBRATION_BINS = 15
#: Probabilities are kept this far from 0 and 1 in the log loss, as in scikit-learn.
_EPSILON = float(np.finfo(np.float64).eps)

Floats = NDArray[np.float64]


def classification(sample: Sample) -> dict[str, Scored | str]:
    """Return by name each metric of a binary or multiclass sample with rows, or why it is not defined."""
    right = (sample.truth == sample.predicted).astype(np.float64)
    found: dict[str, Scored | str] = {"accuracy": _share("accuracy", right, np.ones(sample.rows))}
    if sample.task == "binary":
        found |= _decisions(sample.truth, sample.predicted)
    else:
        found |= _macro(sample)
    found |= _of_scores(sample)
    return found


def _share(name: str, inside: Floats, of: Floats) -> Scored:
    """Return the share of rows ``of`` that are ``inside``, both 0 or 1."""
    size = float(of.sum())
    value = float(inside.sum()) / size
    return Scored(
        name=name,
        value=value,
        influence=(inside - value * of) * (len(of) / size),
        form="share",
        size=size,
        low=0.0,
        high=1.0,
    )


def _decisions(truth: Floats, predicted: Floats) -> dict[str, Scored | str]:
    both = truth * predicted
    found: dict[str, Scored | str] = {
        "precision": _share("precision", both, predicted) if predicted.any() else "nothing was predicted positive",
        "recall": _share("recall", both, truth) if truth.any() else "no outcome is positive",
    }
    either = truth + predicted - both
    if not either.any():
        return found | {"f1": "nothing is positive, neither predicted nor true"}
    # F1 = 2J / (1 + J), with J = both / either the Jaccard index: a share.
    total = truth + predicted
    value = float(2 * both.sum() / total.sum())
    f1 = Scored(
        name="f1",
        value=value,
        influence=(2 * both - value * total) * (len(truth) / total.sum()),
        form="dice",
        size=float(either.sum()),
        low=0.0,
        high=1.0,
    )
    return found | {"f1": f1}


def _macro(sample: Sample) -> dict[str, Scored | str]:
    """Return the means of precision, recall and F1 over the classes where each is defined."""
    parts: dict[str, list[Scored]] = {"precision": [], "recall": [], "f1": []}
    for place in range(len(sample.classes)):
        one = _decisions((sample.truth == place).astype(np.float64), (sample.predicted == place).astype(np.float64))
        for name, scored in one.items():
            if isinstance(scored, Scored):
                parts[name].append(scored)
    return {name: _mean_of(name, found) for name, found in parts.items()}


def _mean_of(name: str, parts: list[Scored]) -> Scored:
    return Scored(
        name=name,
        value=float(np.mean([one.value for one in parts])),
        influence=np.mean([one.influence for one in parts], axis=0),
        low=0.0,
        high=1.0,
    )


def _of_scores(sample: Sample) -> dict[str, Scored | str]:
    if sample.scores is None:
        reason = sample.scores_missing
        return dict.fromkeys(("roc_auc", "log_loss", "brier", "calibration_error"), reason)
    found: dict[str, Scored | str] = {"roc_auc": _areas(sample)}
    if sample.scores_missing:
        return found | dict.fromkeys(("log_loss", "brier", "calibration_error"), sample.scores_missing)
    if sample.task == "binary":
        of_truth = np.where(sample.truth == 1, sample.scores, 1 - sample.scores)
        brier, worst = np.square(sample.scores - sample.truth), 1.0
        confidence, hit = sample.scores, sample.truth
    else:
        rows = np.arange(sample.rows)
        of_truth = sample.scores[rows, sample.truth.astype(np.int64)]
        brier = np.square(sample.scores).sum(axis=1) - 2 * of_truth + 1
        worst = 2.0
        top = sample.scores.argmax(axis=1)
        confidence, hit = sample.scores[rows, top], (top == sample.truth).astype(np.float64)
    losses = -np.log(np.clip(of_truth, _EPSILON, 1 - _EPSILON))
    return found | {
        "log_loss": mean("log_loss", losses, low=0.0),
        "brier": mean("brier", brier, low=0.0, high=worst),
        "calibration_error": _calibration_error(confidence, hit),
    }


def mean(name: str, values: Floats, *, low: float = -np.inf, high: float = np.inf) -> Scored:
    """Return the mean of a number of each row."""
    value = float(values.mean())
    return Scored(name=name, value=value, influence=values - value, low=low, high=high)


def _areas(sample: Sample) -> Scored | str:
    assert sample.scores is not None  # noqa: S101 - asked only then
    if sample.task == "binary":
        return area(sample.truth, sample.scores)
    parts = [
        area((sample.truth == place).astype(np.float64), sample.scores[:, place])
        for place in range(len(sample.classes))
        if (sample.truth == place).any()
    ]
    areas = [one for one in parts if isinstance(one, Scored)]
    return _mean_of("roc_auc", areas) if areas else "all outcomes are of one class"


def area(truth: Floats, scores: Floats) -> Scored | str:
    """Return the area under the ROC curve: how often a positive has the higher score; a tie is half.

    Influences are those of DeLong, DeLong and Clarke-Pearson (1988), found by midranks (Sun and Xu 2014).
    """
    positive = truth == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return "all outcomes are of one class"
    # Here, because scipy.stats takes half a second to import, and most monitors and commands need none of it.
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    won = np.empty(len(scores))
    won[positive] = (ranks[positive] - rankdata(scores[positive])) / others
    won[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / count
    value = float(won[positive].mean())
    weight = np.where(positive, len(scores) / count, len(scores) / others)
    return Scored(
        name="roc_auc",
        value=value,
        influence=(won - value) * weight,
        form="area",
        size=float(min(count, others)),
        low=0.0,
        high=1.0,
    )


def _calibration_error(confidence: Floats, hit: Floats) -> Scored:
    """Return the expected calibration error (Naeini, Cooper and Hauskrecht 2015) over bins of equal width.

    Chance alone makes it larger than it is: in a bin the share of hits misses the confidence by its own error. That,
    at most, is ``chance``.
    """
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=hit - confidence, minlength=CALIBRATION_BINS)
    value = float(np.abs(gaps).sum()) / len(hit)
    expected = np.bincount(bins, weights=confidence * (1 - confidence), minlength=CALIBRATION_BINS)
    chance = float(np.sqrt(2 / np.pi * expected).sum()) / len(hit)
    within = (hit - confidence) * np.sign(gaps)[bins]
    return Scored(
        name="calibration_error",
        value=value,
        influence=within - value,
        form="distance",
        chance=min(value, chance),
        low=0.0,
        high=1.0,
    )
