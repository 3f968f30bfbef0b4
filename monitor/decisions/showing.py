"""Which of a feature's effects a finding shows, and what kind of difference that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurestore.statistics.estimate import Estimate
from monitor.decisions.effects import Measured
from monitor.decisions.finding import Kind, Statistic

#: A more particular kind leads when its effect is so much of the largest one.
EXPLAINS = 0.5

_SPIKES: tuple[Statistic, ...] = ("null_rate", "nan_rate")
#: Kinds that one rate shows, when it has risen.
_RATES: tuple[tuple[Kind, Statistic], ...] = (
    ("unseen categories", "unseen_rate"),
    ("out of range", "out_of_range_rate"),
)


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The least effects that matter.

    Attributes:
        usual: where no other is set.
        others: by ``"feature:statistic"``, ``"*:statistic"`` or ``"feature"``; the first of these that is there counts.
    """

    usual: float
    others: Mapping[str, float]

    def of(self, feature: str, statistic: Statistic) -> float:
        """Return the one for an effect of a feature; of a number taken from a vector, its own or the vector's."""
        if not self.others:
            return self.usual
        column = feature.partition(".")[0]
        for key in (f"{feature}:{statistic}", f"{column}:{statistic}", f"*:{statistic}", feature, column):
            if key in self.others:
                return self.others[key]
        return self.usual


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The effect that a finding shows.

    Attributes:
        statistic: which.
        effect: its value and interval.
        threshold: the policy's for it.
        kind: what the difference looks like.
        kinds: all kinds whose effect is surely over its threshold, the leading one first.
    """

    statistic: Statistic
    effect: Estimate
    threshold: float
    kind: Kind
    kinds: tuple[Kind, ...]


def shown(
    feature: str,
    measured: Measured,
    effects: Mapping[Statistic, Estimate],
    thresholds: Thresholds,
    *,
    plain: Kind,
) -> Shown:
    """Return what a finding shows.

    Args:
        feature: its name.
        measured: how far it is from where it was.
        effects: those of them that it is judged by.
        thresholds: the policy's.
        plain: the kind of a difference that nothing more particular explains.
    """
    limits = {statistic: thresholds.of(feature, statistic) for statistic in effects}

    def surest(among: Mapping[Statistic, Estimate]) -> Statistic:
        return max(among, key=lambda name: (among[name].low - limits[name], among[name].value))

    sure = {name: effect for name, effect in effects.items() if effect.low > limits[name]}
    # A rate that has fallen is a difference, and no news of nulls, unseen categories or the range.
    risen = {name: effect for name, effect in sure.items() if measured.grown.get(name, 0) > 0}
    plainly = {name: effect for name, effect in sure.items() if name not in risen}
    found: dict[Kind, Statistic] = {}
    spikes = {name: risen[name] for name in _SPIKES if name in risen}
    if spikes:
        found["null spike"] = surest(spikes)
    if plainly and measured.constant:
        found["constant"] = surest(plainly)
    found |= {kind: name for kind, name in _RATES if name in risen}
    if plainly:
        found[plain] = surest(plainly)
    if not found:
        name = surest(effects)
        return Shown(statistic=name, effect=effects[name], threshold=limits[name], kind=plain, kinds=())
    largest = max(effect.value for effect in sure.values())
    kind = next(kind for kind, name in found.items() if sure[name].value >= EXPLAINS * largest)
    name = found[kind]
    kinds = (kind, *(other for other in found if other != kind))
    return Shown(statistic=name, effect=sure[name], threshold=limits[name], kind=kind, kinds=kinds)
