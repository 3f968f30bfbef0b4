"""Which alerts are one incident, by their cause; and which of them say nothing new. Pure: lineage comes as a mapping.

Forty features that come of one broken source are one incident, which names the source. What else goes wrong with one
model is one incident too: who gets up for it looks at the model once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.alerts.incident_state import Incident, Member

#: Rules whose cause may lie in a source: values are missing, impossible, too old, or of another form.
OF_SOURCES = frozenset(
    {
        "null spike",
        "unseen categories",
        "out of range",
        "constant",
        "constant_feature",
        "frozen_view",
        "stale_features",
        "stopped_ingestion",
        "stopped_materialization",
        "materialization_lag",
        "schema_change",
        "type_change",
    }
)

#: Rules that explain why a feature's distribution has moved: its values are missing, too old, or of another form.
INHIBITING = frozenset(
    {
        "null spike",
        "constant",
        "constant_feature",
        "frozen_view",
        "stale_features",
        "stopped_ingestion",
        "stopped_materialization",
        "materialization_lag",
        "schema_change",
        "type_change",
    }
)

#: Rules that say that a distribution has moved: of a feature with such a fault that is no news.
INHIBITED = frozenset({"drift", "launch mismatch", "unseen categories", "out of range"})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What an alert is about.

    Attributes:
        project: the namespace.
        replay: the name of the rehearsal, or "".
        service: the stream: ``flight_delay@1``.
        model: the model of the service; "" where none is recorded.
        rule: what was looked for.
        slice: which rows; "" for all.
        features: those that it is about; none where it is about no feature.
        sources: the names of what each feature is made from, by lineage.
    """

    project: str
    replay: str = ""
    service: str
    model: str = ""
    rule: str
    slice: str = ""
    features: Sequence[str] = ()
    sources: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Group:
    """What the alerts of an incident have in common.

    Attributes:
        key: as a hash; it depends on nothing that differs between them.
        cause: in words.
    """

    key: str
    cause: str


class Faults:
    """Features that have a fault which explains that they drift.

    A fault of all rows is one of every slice; that of a slice says nothing of other rows.

    Args:
        incidents: those that are open.
    """

    def __init__(self, incidents: Iterable[Incident] = ()) -> None:
        self._by_feature: dict[tuple[str, str, str], tuple[Incident, Member]] = {}
        for incident in incidents:
            for one in incident.members:
                if one.firing and one.rule in INHIBITING:
                    for feature in one.features:
                        self._by_feature.setdefault((one.service, one.slice, _feature(feature)), (incident, one))

    def behind(
        self, service: str, rule: str, slice_: str, features: Sequence[str]
    ) -> tuple[tuple[Incident, Member], ...]:
        """Return the faults behind an alert, with their incidents; none unless they are behind all of its features.

        Args:
            service: the alert's stream.
            rule: its rule.
            slice_: its slice.
            features: what it is about.
        """
        if rule not in INHIBITED:
            return ()
        found: dict[str, tuple[Incident, Member]] = {}
        for feature in map(_feature, features):
            fault = self._by_feature.get((service, "", feature)) or self._by_feature.get((service, slice_, feature))
            if fault is None:
                return ()
            found.setdefault(fault[1].id, fault)
        return tuple(found.values())

    def inhibits(self, member: Member) -> tuple[Member, ...]:
        """Return the faults that make an alert no news; none if it is one."""
        return tuple(fault for _, fault in self.behind(member.service, member.rule, member.slice, member.features))


def group_of(subject: Subject, open_: Collection[Incident]) -> Group:
    """Return the group that an alert belongs to.

    What drifts because of a fault belongs to the fault's incident. A fault of features that have one source in common
    belongs to the source: where they have several, as a feature that is computed from two, to one of which something is
    known to be wrong. All else belongs to the model, or to the service if it has none.

    Args:
        subject: what the alert is about.
        open_: incidents of the project that are open.
    """
    behind = Faults(open_).behind(subject.service, subject.rule, subject.slice, subject.features)
    if behind:
        return Group(key=behind[0][0].group, cause=behind[0][0].cause)
    if subject.rule in OF_SOURCES and subject.features:
        groups = [_group(subject, f"source {name}") for name in _in_common(subject)]
        known = {one.group for one in open_}
        chosen = groups if len(groups) == 1 else [one for one in groups if one.key in known]
        if chosen:
            return chosen[0]
    return _group(subject, f"model {subject.model}" if subject.model else f"service {subject.service}")


def affected(
    kind: str, subject: str, upstream: Collection[str], views: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    """Return the features of a service that a finding of data quality is about.

    Args:
        kind: what the finding's subject is: ``feature``, ``view``, ``column`` ...
        subject: its name.
        upstream: the stored views upstream of it.
        views: for each feature of the service, the views that it is made from.
    """
    if kind in ("feature", "column"):
        return (subject,) if subject in views else ()
    if kind == "view":
        of = {subject, *upstream}
        return tuple(feature for feature, made_from in views.items() if of & set(made_from))
    return ()


def _in_common(subject: Subject) -> list[str]:
    """Return the sources that all features of an alert are made from."""
    each = [set(subject.sources.get(_feature(one), ())) for one in subject.features]
    return sorted(set.intersection(*each))


def _feature(name: str) -> str:
    """Return the feature that a name is of: ``vector`` of its number ``vector.norm``."""
    return name.partition(".")[0]


def _group(subject: Subject, cause: str) -> Group:
    text = f"group/1\n{subject.project}\n{subject.replay}\n{cause}"
    return Group(key=hashlib.sha256(text.encode()).hexdigest()[:32], cause=cause)
