"""Volume: are there as many rows as usual at this hour of the week?

Two rules over the rows of every closed window, those without rows included. *Silence* is a fact: no row at all in a
window all of whose comparable windows had plenty. A *drop* is statistical. A window's rank among its comparable
windows, all earlier ones of the same hour of the week, is uniform on 1 to D + 1 while they are exchangeable, and ranks
that follow each other are independent (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005,
chapter 2). So a bet on low ranks is fair: "the lowest" pays D + 1. Bets are compounded over blocks of a day and
started anew at each, as in a Shiryaev-Roberts detector (Volkhonskiy et al. 2017, "Inductive conformal martingales for
change-point detection"), and a mean of several is one too.

Windows of one day are not independent: a slow day is slow in each of its hours. So a day's factor is the mean of its
windows' factors, which is fair however they depend on each other, and at most D + 1: among D + 1 days that differ by
chance alone one is the lowest. All factors are positive, so the day's need not be over before its evidence counts.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import median

from featurestore.errors import DataError
from monitor.quality.finding import Finding, Verdict

#: Comparable windows before a window can be judged: with fewer nothing is known of the rhythm.
LEAST_COMPARABLE = 3
#: Rows that each comparable window has where silence is no chance: e^-20 is 2e-9.
SILENCE_ROWS = 20
#: A drop is over when so many windows together have enough rows.
_RECOVERED_WINDOWS = 3

_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: (share of the value that is bet, lowest share of the ranks that it is bet on; 0: on the lowest rank alone).
_BETS = ((0.9, 0.0), (0.5, 0.0), (0.9, 0.25))


def filled_counts(
    windows: Iterable[tuple[datetime, int]], *, length: timedelta, end: datetime
) -> tuple[tuple[datetime, int], ...]:
    """Return every window from the first that has rows to the last closed one, those without rows as 0.

    Args:
        windows: start and rows of those that have some, ascending.
        length: of a window.
        end: of the last closed window, whether it has rows or not.
    """
    known = dict(windows)
    if not known:
        return ()
    found = []
    start = min(known)
    while start + length <= end:
        found.append((start, known.get(start, 0)))
        start += length
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class VolumeStep:
    """What one window said.

    Attributes:
        start: of the window.
        rows: how many it has.
        expected: the median of its comparable windows; None while there are too few.
        comparable: how many there are.
        least: the fewest rows that one of them has.
        log_evidence: of a drop, after this window.
        alarm: whether the evidence has reached the limit in this window; it begins anew then.
        dropping: whether a drop has been alarmed of and is not over.
        onset: start of the first window of the present run of evidence.
    """

    start: datetime
    rows: int
    expected: float | None
    comparable: int
    least: int
    log_evidence: float
    alarm: bool
    dropping: bool
    onset: datetime | None

    @property
    def silent(self) -> bool:
        """Whether nothing came where plenty was sure to come."""
        return not self.rows and self.comparable >= LEAST_COMPARABLE and self.least >= SILENCE_ROWS


def volume_limit(length: timedelta, average_run_length: float) -> float:
    """Return the limit of the evidence, as a natural logarithm: the run length in blocks of at least a day."""
    return math.log(max(1.0, average_run_length * (length / max(length, _DAY))))


def volume_steps(
    counts: Sequence[tuple[datetime, int]],
    *,
    length: timedelta,
    average_run_length: float,
    drop: float = 0.5,
    judged_from: datetime | None = None,
) -> list[VolumeStep]:
    """Return what each window said, in order.

    Args:
        counts: start and rows of every closed window, those without rows as 0; ascending.
        length: of a window.
        average_run_length: windows between two false alarms of a drop, on average, at least.
        drop: the share of the expected rows that must be missing, over the run of evidence, before it is a drop.
        judged_from: windows before it are only compared with; None judges all that have enough to compare with.

    Raises:
        DataError: windows are not in order.
    """
    limit = volume_limit(length, average_run_length)
    known: dict[int, list[int]] = {}
    detector = _Detector(length)
    steps: list[VolumeStep] = []
    firing = False
    for start, rows in counts:
        if steps and start <= steps[-1].start:
            raise DataError(f"The window of {start.isoformat()} comes twice, or too late.", hint="Sort the windows.")
        comparable = known.setdefault(_place(start, length), [])
        count = len(comparable)
        judged = count >= LEAST_COMPARABLE and (judged_from is None or start >= judged_from)
        expected = float(median(comparable)) if count >= LEAST_COMPARABLE else None
        if judged:
            # Ties count against a drop.
            detector.add(start, bisect_right(comparable, rows) + 1, count + 1)
        least = comparable[0] if comparable else 0
        step = VolumeStep(
            start=start,
            rows=rows,
            expected=expected,
            comparable=count,
            least=least,
            log_evidence=detector.log_evidence,
            alarm=False,
            dropping=firing,
            onset=detector.onset,
        )
        alarm = judged and detector.log_evidence >= limit and _missing(_since([*steps, step], detector.onset)) >= drop
        if alarm:
            firing = True
            detector.restart()
        elif firing and _missing([*steps[1 - _RECOVERED_WINDOWS :], step]) < drop:
            firing = False
        steps.append(replace(step, alarm=alarm, dropping=firing))
        insort(comparable, rows)
    return steps


def volume_findings(
    counts: Sequence[tuple[datetime, int]],
    service: str,
    *,
    length: timedelta,
    average_run_length: float,
    drop: float = 0.5,
    judged_from: datetime | None = None,
) -> tuple[Finding, ...]:
    """Return a finding for silence, and one for a drop, as of the last window; see :func:`volume_steps`."""
    steps = volume_steps(
        counts, length=length, average_run_length=average_run_length, drop=drop, judged_from=judged_from
    )
    if not steps:
        return ()
    return (_silence(steps, service), _drop(steps, service, volume_limit(length, average_run_length), drop))


class _Detector:
    """The compounded bets, each with the share of the present block in it."""

    def __init__(self, length: timedelta) -> None:
        self._block = max(length, _DAY)
        self._windows = math.ceil(self._block / length)
        self.restart()

    def restart(self) -> None:
        """Begin anew: as if nothing had been seen."""
        self._number: int | None = None
        self._before = [0.0] * len(_BETS)  # each value when the block began
        self._sum = [0.0] * len(_BETS)  # of the block's factors
        self._taken = 0
        self._rises = [0.0] * len(_BETS)
        self._onsets: list[datetime | None] = [None] * len(_BETS)

    def add(self, start: datetime, rank: int, ranks: int) -> None:
        """Take a window whose rank, from 1, is one of so many."""
        number = (start - _EPOCH) // self._block
        if number != self._number:
            if self._number is not None:
                # Windows that the block has not count as ones that say nothing.
                self._before = [self._value(bet, missing=1.0) for bet in range(len(_BETS))]
            self._number, self._taken = number, 0
            self._sum = [0.0] * len(_BETS)
        self._taken += 1
        for at, (stake, share) in enumerate(_BETS):
            favoured = max(1, math.floor(share * ranks))
            factor = 1 - stake + (stake * ranks / favoured if rank <= favoured else 0.0)
            self._sum[at] += factor
            self._rises[at] = max(0.0, self._rises[at] + math.log(factor))
            self._onsets[at] = (self._onsets[at] or start) if self._rises[at] > 0 else None

    @property
    def onset(self) -> datetime | None:
        """Where the sum of the strongest bet's log factors began to rise (Page's CUSUM); None while none has."""
        return self._onsets[max(range(len(_BETS)), key=self._rises.__getitem__)]

    def _value(self, bet: int, missing: float) -> float:
        left = max(0, self._windows - self._taken)
        # A bet begins with each block, hence the 1. Factors are capped by D + 1 and their mean is, so nothing overflows
        # before an alarm has begun it anew, unless the effect is small: then the value is as good as infinite.
        return min(1e300, (self._before[bet] + 1) * (self._sum[bet] + left * missing) / self._windows)

    @property
    def log_evidence(self) -> float:
        """The logarithm of the mean over the bets, at least what it will be at the end of the block."""
        values = [self._value(bet, missing=1 - stake) for bet, (stake, _) in enumerate(_BETS)]
        return math.log(sum(values) / len(values))


def _place(start: datetime, length: timedelta) -> int:
    """Return where in the week a window lies: those of one place are comparable; of windows of a week there is one."""
    if length >= _WEEK:
        return 0
    # Windows whose length does not go into a week begin elsewhere each week: the same hour must do.
    step = length if not _WEEK % length or length < _HOUR else _HOUR
    return ((start - _EPOCH) % _WEEK) // step


def _since(steps: Sequence[VolumeStep], onset: datetime | None) -> Sequence[VolumeStep]:
    """Return the last steps, from an onset on; the last one where there is no onset."""
    first = len(steps) - 1
    while first > 0 and onset is not None and steps[first - 1].start >= onset:
        first -= 1
    return steps[first:]


def _missing(run: Sequence[VolumeStep]) -> float:
    """Return the share of the expected rows of windows that is missing; negative where there are more."""
    known = [one for one in run if one.expected is not None]
    expected = sum(one.expected or 0.0 for one in known)
    return 1 - sum(one.rows for one in known) / expected if expected else 0.0


def _silence(steps: Sequence[VolumeStep], service: str) -> Finding:
    last = steps[-1]
    run: list[VolumeStep] = []
    for step in reversed(steps):
        if not step.silent:
            break
        run.append(step)
    judged = last.comparable >= LEAST_COMPARABLE
    verdict: Verdict = "severe" if run else "ok" if judged else "not enough data"
    if run:
        said = (
            f"{service} has served no row since {run[-1].start.isoformat()}: {len(run):,} windows without one, where "
            f"each of the {last.comparable} comparable windows had {last.least:,} or more. Look whether servers are "
            "reachable, and whether callers still call."
        )
    elif judged:
        said = f"{service} is asked: {last.rows:,} rows in the last window."
    else:
        said = _too_few(last, service)
    return Finding(
        rule="silent_service",
        kind="service",
        subject=service,
        verdict=verdict,
        value=float(last.rows),
        threshold=1.0 if judged and last.least >= SILENCE_ROWS else None,
        unit="rows",
        onset=run[-1].start if run else None,
        sentence=said,
    )


def _drop(steps: Sequence[VolumeStep], service: str, limit: float, drop: float) -> Finding:
    last = steps[-1]
    firing: list[VolumeStep] = []
    for step in reversed(steps):
        if not step.dropping:
            break
        firing.append(step)
    onset = firing[-1].onset if firing else last.onset
    run = _since(steps, onset)
    missing = _missing(run)
    judged = last.comparable >= LEAST_COMPARABLE
    verdict: Verdict = "drift" if firing else "ok" if judged else "not enough data"
    if firing and onset is not None:
        expected = sum(one.expected or 0.0 for one in run)
        said = (
            f"{service} has served {sum(one.rows for one in run):,} rows since {onset.isoformat()}, where the same "
            f"hours of earlier weeks make {expected:,.0f} likely. Look for callers that have gone, a balancer that "
            "sends them elsewhere, and requests that are refused."
        )
    elif judged:
        said = f"{service} is asked about as often as in the same hours of earlier weeks."
    else:
        said = _too_few(last, service)
    return Finding(
        rule="volume_drop",
        kind="service",
        subject=service,
        verdict=verdict,
        value=missing if judged else None,
        threshold=drop,
        unit="share",
        # Of the window that raised it: the evidence itself begins anew after its alarm.
        log_evidence=max((one.log_evidence for one in firing), default=last.log_evidence) if judged else None,
        log_limit=limit,
        onset=onset if firing else None,
        sentence=said,
        statistical=True,
    )


def _too_few(last: VolumeStep, service: str) -> str:
    return (
        f"{service} cannot be compared with the same hour of earlier weeks yet: {last.comparable} of "
        f"{LEAST_COMPARABLE} are known."
    )
