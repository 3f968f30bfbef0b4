"""What a load test found, and whether that is good enough, or worth anything at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from featurestore.loadtest.histogram import Counts, percentile
from featurestore.loadtest.schedule import Schedule
from featurestore.loadtest.tally import STEPS, Tally
from featurestore.loadtest.targets import Target

#: A server keeps up while it answers so large a share of what is asked.
_KEEPS_UP = 0.99
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
#: A sender that is later than this, and than this share of what it measures, measures itself.
_LATE_SECONDS = 0.002
_LATE_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stretch of the test.

    Attributes:
        second: where it ends.
        asked: requests a second that were to be sent.
        achieved: responses a second.
        latency: seconds by percentile; None where nothing was answered.
        errors: the share of requests without a response.
        targets: by target what was measured; without ``rate``.
        holds: whether the server kept up and each of these was reached.
    """

    second: float
    asked: float
    achieved: float
    latency: Mapping[float, float | None]
    errors: float
    targets: Mapping[str, float | None]
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Check:
    """A target, and what was measured: seconds, a share or requests a second; None where nothing was."""

    target: str
    value: float | None
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a load test found.

    Attributes:
        service: as it was asked for.
        server: the address.
        run: names the test: request ids in the serving log begin with ``loadtest-<run>``.
        asked: the schedule, as a sentence.
        rows: where entity rows came from, and how many a request had.
        seconds: that were tested.
        requests: that were to be sent.
        answered: with a response.
        codes: by gRPC status how many; NOT_SENT are those whose turn never came.
        latency: seconds by percentile, from the scheduled instant; and the longest as 100.
        asked_rate: requests a second.
        achieved_rate: responses a second while the test ran.
        row_statuses: shares, of the responses that were looked into.
        services: what answered, as shares of these.
        lag: the 99th percentile of the seconds by which senders were late by their own fault; of a ramp, up to where
            it was decided.
        longest_lag: the longest.
        held: requests that waited for room, because too many had no response.
        steps: the test in stretches; for a plot, and for a ramp's saturation.
        saturation: of a ramp, the highest rate at which the server kept up and every target was reached; None if it
            never did, or there was no ramp.
        saturated: whether a higher rate was asked for than that.
        checks: the targets.
        invalid: why the figures are not the server's; empty if they are.
        interrupted: whether somebody stopped the test.
    """

    service: str
    server: str
    run: str
    asked: str
    rows: str
    seconds: float
    requests: int
    answered: int
    codes: Mapping[str, int]
    latency: Mapping[float, float | None]
    asked_rate: float
    achieved_rate: float
    row_statuses: Mapping[str, float]
    services: Mapping[str, float]
    lag: float
    longest_lag: float
    held: int
    steps: tuple[Step, ...]
    saturation: float | None
    saturated: bool
    checks: tuple[Check, ...]
    invalid: str
    interrupted: bool

    @property
    def errors(self) -> float:
        """The share of requests without a response."""
        return 1 - self.answered / self.requests if self.requests else 0.0

    @property
    def passed(self) -> bool:
        """Whether the figures are the server's, and every target is reached."""
        return not self.invalid and all(one.holds for one in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; durations in seconds."""
        found = asdict(self) | {"errors": self.errors, "passed": self.passed}
        found["latency"] = _named(self.latency)
        for step, named in zip(found["steps"], self.steps, strict=True):
            step["latency"] = _named(named.latency)
        return found


def _named(latency: Mapping[float, float | None]) -> dict[str, float | None]:
    return {"max" if percent == 100 else f"p{percent:g}": seconds for percent, seconds in latency.items()}


@dataclass(frozen=True, kw_only=True)
class About:
    """What a result says of the test itself; see :class:`Result`."""

    service: str
    server: str
    run: str
    rows: str


def judged(
    tally: Tally, schedule: Schedule, targets: Sequence[Target], about: About, *, seconds: float, interrupted: bool
) -> Result:
    """Return the result of a test.

    Args:
        tally: of all senders.
        schedule: what was asked for.
        targets: what has to be reached: on a ramp at every rate, but for ``rate``, which is that of the saturation.
        about: the test.
        seconds: that it took: fewer than the schedule has if it was interrupted.
        interrupted: whether it was.
    """
    used = min(len(tally.scheduled), tally.slice_at(max(seconds - 1e-9, 0.0)) + 1)
    counts: Counts = tally.latencies.sum(axis=0)
    requests, answered = int(tally.scheduled.sum()), int(tally.codes["OK"])
    latency = {one: percentile(counts, one, longest=tally.longest) for one in PERCENTILES}
    latency[100.0] = tally.longest if counts.any() else None
    in_time = int(tally.answered[:-1].sum())
    steps = _steps(tally, targets, used)
    saturation, saturated, decisive = _saturation(steps) if schedule.is_ramp else (None, False, STEPS)
    # What senders do beyond the saturation of a server says nothing about it.
    part = slice(0, decisive * (len(tally.scheduled) // STEPS))
    lag = percentile(tally.lag[part].sum(axis=0), 99, longest=tally.longest_lag) or 0.0
    beside = percentile(tally.latencies[part].sum(axis=0), 99)
    errors = 1 - answered / requests if requests else 0.0
    achieved = in_time / seconds if seconds else 0.0
    if schedule.is_ramp:
        up_to = any(one.name == "rate" for one in targets)
        checks = [_check_ramp(one, steps, saturation, up_to=up_to) for one in targets]
    else:
        values = [achieved if one.name == "rate" else _value(one, counts, tally.longest, errors) for one in targets]
        checks = [
            Check(target=one.text, value=value, holds=one.holds(value))
            for one, value in zip(targets, values, strict=True)
        ]
    return Result(
        **vars(about),
        asked=str(schedule),
        seconds=seconds,
        requests=requests,
        answered=answered,
        codes=dict(tally.codes.most_common()),
        latency=latency,
        asked_rate=requests / seconds if seconds else 0.0,
        achieved_rate=achieved,
        row_statuses=_shares(tally.row_statuses),
        services=_shares(tally.services),
        lag=lag,
        longest_lag=tally.longest_lag,
        held=tally.held,
        steps=steps,
        saturation=saturation,
        saturated=saturated,
        checks=tuple(checks),
        invalid=_invalid(lag, beside, requests),
        interrupted=interrupted,
    )


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: counts[name] / total for name in sorted(counts, key=lambda one: -counts[one])}


def _invalid(lag: float, latency: float | None, requests: int) -> str:
    if not requests:
        return "no request was sent"
    if lag > max(_LATE_SECONDS, _LATE_SHARE * (latency or 0.0)):
        late = f"{lag * 1000:.1f} ms after their instant or later"
        return f"the senders could not keep up: 1 % of the requests went out {late}"
    return ""


def _steps(tally: Tally, targets: Sequence[Target], used: int) -> tuple[Step, ...]:
    """Return the test in stretches of as many slices; of an interrupted one those that are whole."""
    width = len(tally.scheduled) // STEPS
    seconds = tally.seconds / STEPS
    found = []
    for number in range(used // width):
        part = slice(number * width, (number + 1) * width)
        scheduled, failed = int(tally.scheduled[part].sum()), int(tally.failed[part].sum())
        counts = tally.latencies[part].sum(axis=0)
        asked, achieved = scheduled / seconds, int(tally.answered[part].sum()) / seconds
        errors = failed / scheduled if scheduled else 0.0
        measured = [(one, _value(one, counts, float("inf"), errors)) for one in targets if one.name != "rate"]
        found.append(
            Step(
                second=(number + 1) * seconds,
                asked=asked,
                achieved=achieved,
                latency={one: percentile(counts, one) for one in (50.0, 99.0)},
                errors=errors,
                targets={one.text: value for one, value in measured},
                holds=achieved >= _KEEPS_UP * asked and all(one.holds(value) for one, value in measured),
            )
        )
    return tuple(found)


def _saturation(steps: Sequence[Step]) -> tuple[float | None, bool, int]:
    """Return the highest rate that holds, whether it was exceeded, and after how many steps that was known.

    One step that fails between two that hold is chance.
    """
    reached, failed, known = None, 0, 0
    for step in steps:
        known += 1
        failed = 0 if step.holds else failed + 1
        if failed == 2:
            break
        if step.holds:
            reached = step.asked if reached is None else max(reached, step.asked)
    return reached, failed > 0, known


def _value(target: Target, counts: Counts, longest: float, errors: float) -> float | None:
    if target.name == "errors":
        return errors
    return percentile(counts, target.percent or 0.0, longest=longest)


def _check_ramp(target: Target, steps: Sequence[Step], saturation: float | None, *, up_to: bool) -> Check:
    """Judge a target of a ramp: ``rate`` by the saturation, another by the worst of its steps.

    Args:
        target: the target.
        steps: of the ramp.
        saturation: the highest rate that holds.
        up_to: whether steps beyond it do not count, because the target says which rate is enough.
    """
    if target.name == "rate":
        return Check(target=target.text, value=saturation, holds=target.holds(saturation))
    within = [one for one in steps if one.holds and one.asked <= (saturation or 0.0)] if up_to else list(steps)
    values = [one.targets[target.text] for one in within]
    known = [one for one in values if one is not None]
    worst = max(known) if known and len(known) == len(values) else None
    return Check(target=target.text, value=worst, holds=target.holds(worst))
