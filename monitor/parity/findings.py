"""A comparison of served rows with the join as findings, so that skew can page: as a bug, not as the world."""

from __future__ import annotations

from featurestore.errors import DataError
from featurestore.statistics.estimate import Estimate
from monitor.parity.report import ADVICE, BUGS, FeatureSkew, ParityReport, ViewLag
from monitor.quality.finding import Finding, Verdict

#: The rules of its findings.
SKEW_RULES = frozenset({"training_serving_skew", "materialization_lag"})


def skew_findings(report: ParityReport, threshold: float = 0.01, *, lag_threshold: float = 0.1) -> tuple[Finding, ...]:
    """Return a finding for each feature that was served wrongly, and for each use of a view that lagged.

    Of each rule that finds nothing there is one that is ok, by which an alert of it ends.

    A difference of exact values is a fact and no matter of chance, so the rules are not statistical; but the report is
    of a sample, so the interval of the share decides: over the threshold as a whole is ``drift``, over the middle
    between it and 1 ``severe``, and one that holds the threshold is ``not enough data``. Late, corrected and erased
    rows are nobody's fault, and never a finding.

    Args:
        report: of one service version.
        threshold: the share of requests whose values may be wrong.
        lag_threshold: the share of requests that may be served a row of which a newer one was known.

    Raises:
        DataError: a threshold is not between 0 and 1.
    """
    for one in (threshold, lag_threshold):
        if not 0 < one < 1:
            raise DataError(f"{one!r} is no threshold of a share.", hint="It is a number between 0 and 1.")
    if not report.requests:
        said = f"No row of {report.service} was compared with the join: the log has none of these instants."
        return (_of_service(report, "not enough data", said),)
    wrong = [_skew(report, one, threshold) for one in report.features if one.wrong]
    lag = [_lag(report, one, lag_threshold) for one in report.lag] or [_no_lag(report)]
    if not wrong:
        said = f"{report.checked:,} served rows of {report.service} agree with the join, but for lag and late data."
        return (_of_service(report, "ok", said), *lag)
    return (*wrong, *lag)


def _of_service(report: ParityReport, verdict: Verdict, said: str) -> Finding:
    return Finding(rule="training_serving_skew", kind="service", subject=report.service, verdict=verdict, sentence=said)


def _skew(report: ParityReport, one: FeatureSkew, threshold: float) -> Finding:
    cause = next(cause for cause in one.rows if cause in BUGS)
    detail = f" ({one.details[cause]})" if cause in one.details else ""
    return Finding(
        rule="training_serving_skew",
        kind="feature",
        subject=one.feature,
        verdict=_verdict(one.share, threshold),
        value=one.share.value,
        threshold=threshold,
        unit="share",
        onset=report.since,
        sentence=(
            f'"{one.feature}" of {report.service} was served with another value than the join gives at the same '
            f"instant in {one.wrong_requests:,} of {report.requests:,} requests. Likely cause: {cause}{detail}. "
            f"{ADVICE[cause][0].upper()}{ADVICE[cause][1:]}."
        ),
        views=one.views,
    )


def _lag(report: ParityReport, one: ViewLag, threshold: float) -> Finding:
    return Finding(
        rule="materialization_lag",
        kind="view",
        subject=one.view,
        verdict=_verdict(one.share, threshold),
        value=one.share.value,
        threshold=threshold,
        unit="share",
        onset=report.since,
        sentence=(
            f'{one.rows:,} of {report.checked:,} rows of {report.service} were served an older row of "{one.view}" '
            f"than was known; the newer had waited {one.waited.median:,.0f} s in the median, "
            f"{one.waited.greatest:,.0f} s at most. {_lag_advice(one)}"
        ),
        views=(one.view,),
    )


def _lag_advice(one: ViewLag) -> str:
    usual = f"{ADVICE['lag'][0].upper()}{ADVICE['lag'][1:]}."
    if not one.stale:
        return usual
    said = f"{one.stale:,} of these rows came from a local copy, as the online store was away: look why it was."
    return said if one.stale == one.rows else f"{said} {usual}"


def _no_lag(report: ParityReport) -> Finding:
    said = f"No row of {report.service} was served of which a newer one was known."
    return Finding(rule="materialization_lag", kind="service", subject=report.service, verdict="ok", sentence=said)


def _verdict(share: Estimate, threshold: float) -> Verdict:
    if share.low > (1 + threshold) / 2:
        return "severe"
    if share.low > threshold:
        return "drift"
    return "not enough data" if share.high > threshold else "ok"
