"""What a decision says: of each feature, and of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from featurestore import markup
from featurestore.statistics.estimate import Estimate
from monitor.detector import Evidence

Verdict = Literal["ok", "not enough data", "drift", "severe"]
#: What a difference looks like, from which follows who should act: only the last two may be the world's doing.
Kind = Literal[
    "launch mismatch",
    "null spike",
    "constant",
    "unseen categories",
    "out of range",
    "prediction drift",
    "drift",
]
Statistic = Literal[
    "kolmogorov_smirnov",
    "total_variation",
    "null_rate",
    "nan_rate",
    "unseen_rate",
    "out_of_range_rate",
    "wasserstein",
]
Direction = Literal["up", "down", "wider", "narrower", ""]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One bin or category whose share of the rows has changed.

    Attributes:
        label: what people read for it.
        baseline: its share there.
        current: its share now.
    """

    label: str
    baseline: float
    current: float

    def __str__(self) -> str:
        return f"{self.label}: {self.baseline:.1%} -> {self.current:.1%}"


@dataclass(frozen=True, kw_only=True)
class FeatureFinding:
    """What became of one feature.

    Attributes:
        feature: its name.
        statistic: the effect that is shown: of those over their threshold the one that says most about the cause (see
            :attr:`kind`), else the surest of those that suit the feature: the Kolmogorov-Smirnov distance of numbers,
            the total variation distance of categories, the change of the rate of nulls, of NaN, of unseen categories,
            or of numbers out of the baseline's range. All lie between 0 and 1 and read alike: the share of rows that
            are not where they were. A policy may choose the Wasserstein distance of numbers instead, in standard
            deviations of the baseline, which has no upper limit.
        effect: its value.
        effect_low: lower end of its 95 % interval, by effective sizes.
        effect_high: upper end.
        threshold: the policy's, for this effect of this feature.
        baseline_null_rate: between 0 and 1.
        current_null_rate: between 0 and 1.
        baseline_mean: of finite numbers; None when there are none or the field is tagged ``pii``.
        current_mean: the same of the current rows.
        baseline_rows: rows of the baseline.
        current_rows: rows that were judged.
        log_evidence: natural logarithm of the feature's detector; None when it can give no evidence.
        moved: the bins or categories that moved most, as text; empty for fields tagged ``pii``.
        verdict: of this feature alone; ``not enough data`` when the interval reaches from under the threshold to 1, or
            the baseline is too small for any evidence.
        kind: what the difference looks like. A more particular one leads as long as it explains half of the largest
            effect: where a third of the rows are null, that the others have moved a little is no second piece of news.
        kinds: all kinds whose effect is surely over its threshold, the leading one first; empty where there is none.
        direction: where numbers have gone, or their spread; or whether the rate that is shown has grown or fallen.
            Empty for categories, and where nothing differs.
        onset: start of the first window that is likely different, where the verdict is ``drift`` or ``severe``.
        importance: the feature's weight among all, 1 on average.
        rank: ``effect_low * importance``: findings come in this order.
        named: whether the feature's own evidence stands when false discoveries among all features are controlled.
        effective_rows: what the current rows are worth in independent ones.
        effects: every effect that suits the feature, with its interval; the Wasserstein distance of numbers only where
            it is what the feature is judged by.
        moves: as ``moved``, as numbers; empty for fields tagged ``pii``.
        certain: whether it is a fact about these rows, which needs no evidence: see :mod:`monitor.decisions.missing`.
    """

    feature: str
    statistic: Statistic
    effect: float
    effect_low: float
    effect_high: float
    threshold: float
    baseline_null_rate: float
    current_null_rate: float
    baseline_mean: float | None
    current_mean: float | None
    baseline_rows: int
    current_rows: int
    log_evidence: float | None
    moved: tuple[str, ...]
    verdict: Verdict
    kind: Kind = "drift"
    kinds: tuple[Kind, ...] = ()
    direction: Direction = ""
    onset: datetime | None = None
    importance: float = 1.0
    rank: float = 0.0
    named: bool = False
    effective_rows: float = 0.0
    effects: Mapping[Statistic, Estimate] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    certain: bool = False


@dataclass(frozen=True, kw_only=True)
class Association:
    """How two numbers go together.

    Attributes:
        features: their names.
        baseline: their rank correlation there.
        current: the same now.
    """

    features: tuple[str, str]
    baseline: float
    current: float

    def __str__(self) -> str:
        return f"{self.features[0]} and {self.features[1]}: correlation {self.baseline:.2f} -> {self.current:.2f}"


@dataclass(frozen=True, kw_only=True)
class SecondOpinion:
    """What all features together say, which none of them may say alone: that a correlation has changed, for one.

    Attributes:
        area: the area under the ROC curve of a classifier that tells current rows from the reference's: 0.5 is no
            change, 1 is no overlap. Twice its distance from 0.5 is at most the share of rows that are not where they
            were, so it is held against the same threshold as other effects.
        discrepancy: the maximum mean discrepancy: 0 is no change.
        threshold: the least area that matters.
        reference_rows: rows of the sample.
        current_rows: rows of the sample.
        associations: the pairs of numbers whose rank correlation has changed most, if it has.
        verdict: ``drift`` when the area's interval lies over the threshold, ``severe`` when it lies over the middle
            between threshold and 1, ``not enough data`` when it reaches from under the threshold to over the middle.
    """

    area: Estimate
    discrepancy: Estimate
    threshold: float
    reference_rows: int
    current_rows: int
    associations: tuple[Association, ...]
    verdict: Verdict

    def _repr_html_(self) -> str:
        """What a notebook shows: the area with its interval, and which pairs go together otherwise than before."""
        area = f"{self.area.value:.2f} [{self.area.low:.2f}, {self.area.high:.2f}]"
        sizes = f"{self.reference_rows:,} and {self.current_rows:,} rows"
        said = f"{self.verdict}: area under the curve {area}, over {sizes}"
        listed = [markup.listed(str(one) for one in self.associations)] if self.associations else []
        return markup.text_of(markup.element("p", said, dir="auto"), *listed)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the monitor makes of the rows since the onset.

    Attributes:
        verdict: ``drift`` or ``severe`` when both keys turn, or a finding is certain; ``not enough data`` when no
            verdict could be given, or when the evidence is there and the effect cannot yet be told from one under the
            threshold; else ``ok``.
        evidence: the detector's.
        findings: one for each feature, the highest :attr:`~FeatureFinding.rank` first.
        onset: start of the first window that is likely different, when there is an alarm.
        kind: of the model's drift: ``launch mismatch`` when it was there from the first window on, else that of the
            first finding that drifted; None when nothing did.
        named: the features whose own evidence stands when false discoveries are controlled, strongest first. They are
            named whether or not there is an alarm, and raise none.
        second_opinion: when one was asked for.
    """

    verdict: Verdict
    evidence: Evidence
    findings: tuple[FeatureFinding, ...]
    onset: datetime | None
    kind: Kind | None = None
    named: tuple[str, ...] = ()
    second_opinion: SecondOpinion | None = None

    def _repr_html_(self) -> str:
        """What a notebook shows: effects beside their thresholds, and no value of a feature."""
        said = f"ln {self.evidence.log_value:.2f} against a limit of ln {self.evidence.log_limit:.2f}"
        since = f", since {self.onset:%Y-%m-%d %H:%M}" if self.onset is not None else ""
        rows = [
            (
                one.feature,
                one.verdict,
                f"{one.effect:.2f} [{one.effect_low:.2f}, {one.effect_high:.2f}] {one.statistic.replace('_', ' ')}",
                f"{one.threshold:.2g}",
                f"{one.baseline_null_rate:.1%} → {one.current_null_rate:.1%}",
                f"{one.baseline_rows:,} → {one.current_rows:,}",
            )
            for one in self.findings
        ]
        titles = ("feature", "verdict", "effect", "threshold", "nulls", "rows")
        return markup.text_of(markup.table(titles, rows, caption=f"{self.verdict}: evidence {said}{since}"))
