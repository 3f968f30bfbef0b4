"""The running risk against the risk that the model was released with: a bound that holds at every time.

A loss of each prediction lies from 0 to 1. Of the source (validation predictions, or a first serving period) its mean
has an upper bound ``b``; the risk of what is served may be ``b + tolerance``. Under "every prediction's expected loss
is at most that, whatever came before" the capital of a gambler who bets on larger losses,

    K = product of 1 + lambda * (loss - limit),    0 <= lambda <= 1 / limit,

does not grow in expectation, so it seldom gets large: it exceeds 1/delta at any time with a probability of at most
delta (Ville). That it does is the same as that the lower end of a confidence sequence for the risk exceeds the limit
(Podkopaev and Ramdas, arXiv 2110.06177; bets: Waudby-Smith and Ramdas, arXiv 2010.09686). With a new gambler entering
before each window the sum of their capitals is a Shiryaev-Roberts e-detector: at a limit of A there are at least A
windows between false alarms, on average (Shin, Ramdas and Rinaldo, arXiv 2203.03532).

Several lambdas are bet at once, and their mean capital counts: it needs no luck in choosing, and depends on nothing
that the losses say. Rows of one day resemble each other, so the logarithm of a window's factor is divided by the design
effect of the loss, and one block counts for at most one odd block among the source's, as in ``monitor.detector``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit, logit

from featurestore.errors import MonitorError
from featurestore.statistics.design_effect import design_effect
from featurestore.types import microseconds
from monitor.performance.intervals import block_correlation

#: By how much the odds of a loss are higher under each bet, as logarithms; of a loss of 0 or 1 the bets are likelihood
#: ratios of just these.
ALTERNATIVES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class RiskLimit:
    """What the risk may be.

    Attributes:
        loss: ``error`` (0 or 1), or ``absolute error``.
        unit: the absolute error that counts as a loss of 1, as all larger ones do; 1 for an ``error``.
        source: the mean loss of the source.
        upper: the upper bound of the source's risk.
        tolerance: by how much more is accepted.
        rows: of the source.
        blocks: of the source, such as days; 0 where they are not known, and rows count as independent.
        rho: how alike the losses of one block are.
    """

    loss: str
    unit: float
    source: float
    upper: float
    tolerance: float
    rows: int
    blocks: int
    rho: float

    @property
    def limit(self) -> float:
        """The most that the risk may be; 1 where nothing can be said."""
        return min(1.0, self.upper + self.tolerance)

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits: a state belongs to the limit with this id."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()[:16]


def fit_risk_limit(
    losses: NDArray[np.float64],
    blocks: NDArray[np.int64] | None = None,
    *,
    loss: str = "error",
    unit: float = 1.0,
    tolerance: float = 0.02,
    delta: float = 0.05,
) -> RiskLimit:
    """Return the limit that a source's losses allow.

    The upper bound holds with probability 1 - delta: Clopper and Pearson's where losses are 0 or 1, else the lesser of
    Hoeffding's and the empirical Bernstein bound of Maurer and Pontil (2009), which hold together.

    Args:
        losses: from 0 to 1, shape (rows,), one or more.
        blocks: the block of each, such as its day.
        loss: what it is.
        unit: see :class:`RiskLimit`.
        tolerance: how much more risk is accepted.
        delta: the chance that the bound lies under the source's risk.
    """
    count = len(losses)
    mean = float(losses.mean())
    known = 0 if blocks is None else len(np.unique(blocks))
    rho = 0.0 if blocks is None else block_correlation(losses - mean, blocks)
    size = count / float(design_effect(count / known, rho)) if known else float(count)
    if np.isin(losses, (0.0, 1.0)).all():
        hits = mean * size
        upper = 1.0 if hits >= size else float(betaincinv(hits + 1, max(size - hits, 1e-12), 1 - delta))
    else:
        variance = float(losses.var()) * size / max(1.0, size - 1)
        each = math.log(4 / delta)
        hoeffding = math.sqrt(math.log(2 / delta) / (2 * size))
        bernstein = math.sqrt(2 * variance * each / size) + 7 * each / (3 * max(1e-12, size - 1))
        upper = mean + min(hoeffding, bernstein)
    return RiskLimit(
        loss=loss,
        unit=unit,
        source=mean,
        upper=min(1.0, upper),
        tolerance=tolerance,
        rows=count,
        blocks=known,
        rho=rho,
    )


@dataclass(frozen=True, kw_only=True)
class RiskState:
    """What is remembered between windows: plain, small, and enough to go on after a restart.

    Attributes:
        limit_id: the limit it belongs to.
        windows: that had rows, since the start or the last alarm.
        rows: in them.
        total: the sum of their losses.
        log_values: the logarithm of each bet's capital; minus infinity before a detector's first window.
        sums: the largest sum of each bet's latest log factors, over where to begin (Page's CUSUM).
        starts: the window where that sum begins, in microseconds since 1970.
    """

    limit_id: str
    windows: int = 0
    rows: int = 0
    total: float = 0.0
    log_values: tuple[float, ...] = ()
    sums: tuple[float, ...] = (0.0,) * len(ALTERNATIVES)
    starts: tuple[int, ...] = (0,) * len(ALTERNATIVES)

    @classmethod
    def start(cls, limit: RiskLimit) -> RiskState:
        """Return the state before the first window."""
        return cls(limit_id=limit.id)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; :meth:`from_dict` reads them back exactly."""
        return {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RiskState:
        """Return the state that :meth:`to_dict` came from."""
        return cls(**{**values, **{name: tuple(values[name]) for name in ("log_values", "sums", "starts")}})


@dataclass(frozen=True, kw_only=True)
class RiskEvidence:
    """What speaks against "the risk is within its limit" after a window.

    Attributes:
        log_value: natural logarithm of the mean capital; 0 as long as no window has been judged.
        log_limit: natural logarithm of what raises the alarm: the average run length, or 1/delta.
        windows: that had rows, since the start or the last alarm, this one included.
        rows: in them.
        risk: their mean loss; NaN before the first.
        limit: the most that it may be.
        alarm: whether the value has reached its limit.
        onset: start of the first window that likely is too bad; None when nothing leans that way.
    """

    log_value: float
    log_limit: float
    windows: int
    rows: int
    risk: float
    limit: float
    alarm: bool
    onset: datetime | None


def step_risk(
    limit: RiskLimit,
    state: RiskState,
    losses: NDArray[np.float64],
    *,
    window_start: datetime,
    rows_per_block: float = 0.0,
    average_run_length: float | None = None,
    false_alarm_probability: float | None = None,
) -> tuple[RiskState, RiskEvidence]:
    """Return the state and the evidence after one more window; after an alarm the state is a fresh one.

    Args:
        limit: of the risk.
        state: after the window before.
        losses: from 0 to 1, shape (rows,). A window without rows adds nothing and does not count.
        window_start: its start.
        rows_per_block: rows that one block of the source's length, such as a day, brings in serving; the window's own
            where it is longer.
        average_run_length: windows between false alarms, on average, at least; or
        false_alarm_probability: of one false alarm ever. A state that began again after an alarm has it anew.

    Raises:
        MonitorError: the state is of another limit, losses do not lie from 0 to 1, or one budget is not
            given alone.
    """
    if state.limit_id != limit.id:
        raise MonitorError(
            "The state and the limit of the risk are not of one reference.",
            hint="Start a new state for a new reference: RiskState.start(limit).",
        )
    if (average_run_length is None) == (false_alarm_probability is None):
        raise MonitorError(
            "The bound on the running risk has two budgets or none.",
            hint="Give average_run_length= or false_alarm_probability=.",
        )
    if not ((losses >= 0) & (losses <= 1)).all():
        raise MonitorError("A loss does not lie between 0 and 1.", hint="Divide by the largest loss that counts.")
    most = average_run_length if false_alarm_probability is None else 1 / false_alarm_probability
    assert most is not None  # noqa: S101 - one of the two is given
    if len(losses) and limit.limit < 1:
        restarts = false_alarm_probability is None
        state = _advance(limit, state, losses, microseconds(window_start), rows_per_block, restarts=restarts)
    evidence = _evidence(limit, state, math.log(most))
    return (RiskState.start(limit) if evidence.alarm else state), evidence


def _advance(
    limit: RiskLimit,
    state: RiskState,
    losses: NDArray[np.float64],
    start: int,
    rows_per_block: float,
    *,
    restarts: bool,
) -> RiskState:
    rows = len(losses)
    block = max(rows_per_block, 1.0) if rows_per_block else float(rows)
    factors = _log_factors(limit.limit, losses) / float(design_effect(block, limit.rho))
    if limit.blocks > 1:
        # However odd a day is, among D + 1 days that differ by chance alone one is the oddest.
        factors = np.minimum(factors, math.log(limit.blocks + 1) * rows / block)
    before = np.array(state.log_values or (-math.inf if restarts else 0.0,) * len(ALTERNATIVES))
    values = (np.logaddexp(0.0, before) if restarts else before) + factors
    sums = np.maximum(0.0, state.sums) + factors
    starts = np.where(np.asarray(state.sums) <= 0, start, state.starts)
    return RiskState(
        limit_id=state.limit_id,
        windows=state.windows + 1,
        rows=state.rows + rows,
        total=state.total + float(losses.sum()),
        log_values=tuple(values.tolist()),
        sums=tuple(sums.tolist()),
        starts=tuple(starts.tolist()),
    )


def _log_factors(limit: float, losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of what a window's losses multiply each bet by, shape (alternatives,)."""
    raised = expit(logit(limit) + np.asarray(ALTERNATIVES))
    bets = (raised - limit) / (limit * (1 - limit))
    # Most losses are 0 or 1, so each value is taken once.
    values, counts = np.unique(losses, return_counts=True)
    factors: NDArray[np.float64] = np.array([counts @ np.log1p(bet * (values - limit)) for bet in bets])
    return factors


def _evidence(limit: RiskLimit, state: RiskState, log_limit: float) -> RiskEvidence:
    if not state.windows:
        return RiskEvidence(
            log_value=0.0,
            log_limit=log_limit,
            windows=0,
            rows=0,
            risk=math.nan,
            limit=limit.limit,
            alarm=False,
            onset=None,
        )
    value = float(np.logaddexp.reduce(state.log_values)) - math.log(len(ALTERNATIVES))
    strongest = int(np.argmax(state.sums))
    onset = None
    if state.sums[strongest] > 0:
        onset = _EPOCH + timedelta(microseconds=state.starts[strongest])
    return RiskEvidence(
        log_value=value,
        log_limit=log_limit,
        windows=state.windows,
        rows=state.rows,
        risk=state.total / state.rows,
        limit=limit.limit,
        alarm=value >= log_limit,
        onset=onset,
    )
