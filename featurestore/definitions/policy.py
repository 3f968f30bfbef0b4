"""A monitor policy: what is watched, by which rules, how often it may be wrong, and who hears of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, get_args

from featurestore.definitions.arguments import (
    check_duration,
    check_flag,
    check_list,
    check_mapping,
    check_text,
    is_number,
)
from featurestore.definitions.baseline_source import BaselineSource
from featurestore.definitions.field import Field
from featurestore.definitions.names import check_name, check_unique
from featurestore.definitions.retraining import RetrainingPolicy
from featurestore.definitions.service import FeatureService
from featurestore.definitions.shared import SharedView
from featurestore.definitions.sources import Source, source_from_spec
from featurestore.errors import DefinitionError, closest
from featurestore.places import remember

Severity = Literal["page", "ticket", "info"]

#: What a threshold may be set for by itself.
EFFECTS = ("kolmogorov_smirnov", "total_variation", "null_rate", "nan_rate", "unseen_rate", "out_of_range_rate")

#: What a monitor may do by itself where a policy allows it.
ACTIONS = ("restore_load", "stop_canary", "roll_back_alias")

#: Lists of names, and what one of them is.
_LISTS = {
    "routes": "a route",
    "features": "a feature",
    "slices": "a slice",
    "escalate_to": "a channel of escalate_to",
    "actions": "an action",
}

#: Fields that came after the first release: they are in a policy's spec only where they say something, so that a
#: policy which does not use them has the hash it always had.
_LATER = (
    "minimum_rows",
    "features",
    "thresholds",
    "slices",
    "quality",
    "prediction_drift",
    "skew",
    "performance",
    "hold_for",
    "keep_firing_for",
    "severity",
    "share",
    "escalate_to",
    "actions",
    "actions_per_day",
)


@dataclass(frozen=True, kw_only=True)
class MonitorPolicy:
    """How one service, or another stream of rows, is watched.

    A name, a service and a route are enough: how sure an alarm must be follows from the budget of the route.

    Attributes:
        name: its name in the project.
        service: the service whose serving log is watched.
        source: in place of a service, where the rows of another stream are; one that can be read.
        fields: of a source, the columns to watch.
        window: the length of one window, which starts at multiples of it since 1970, UTC; or how many rows it has.
        minimum_rows: a window with fewer rows is not judged by itself but together with the next one.
        features: the features to watch, by the names they have in the service; none for all.
        slices: rows to judge apart as well, beside all rows together: ``"carrier"`` for each of the most frequent
            values of a feature, ``"carrier=AA"`` for one value of any column but a join key.
        baseline: what is compared with; None for the training data of the newest model, else of the newest dataset.
        smallest_change: the smallest change of a probability that matters, between 0 and 1.
        effect_threshold: the least effect (0 to 1; see docs/glossary.md) of which anyone is told.
        thresholds: the same for single features, ``"temp"``; for one effect of them, ``"temp:null_rate"``; or for one
            effect of all features, ``"*:null_rate"``. The effects are :data:`EFFECTS`.
        quality: whether null spikes, unseen values, ranges, volume, freshness and the like are watched.
        prediction_drift: whether what models predict is watched as features are, where predictions are logged.
        skew: whether logged rows are compared with the point-in-time join.
        performance: how far a metric may fall below its value on the training data: ``{"accuracy": 0.02}``.
        average_run_length: windows between false alarms of each rule, on average, at least; None to let it follow
            from the budgets of the routes and this policy's share.
        share: the weight of this policy among those that share a route's budget.
        hold_for: windows over which an alarm's effect must last, after the first, before anyone is told.
        keep_firing_for: windows in a row without effect after which an incident is resolved.
        severity: how urgent an alert of this policy is.
        routes: names of channels in ``featurestore.toml``.
        retrain: whether it sends retraining signals: when, how many, and what to train on.
        escalate_after: how long after people were told nobody may say that they work on it before others hear of it;
            None for ever.
        escalate_to: names of the channels that hear of it then.
        runbook: where it is written what to do, for people: a URL, or a file's name.
        actions: what the monitor may do by itself, of :data:`ACTIONS`, where ``[actions]`` of ``featurestore.toml``
            lets it act at all: take a bad load back, stop a canary that is worse, point an alias back.
        actions_per_day: how often in 24 hours; beyond that it says what it would do.
        description: for people.
        owner: for people.
        tags: for people.

    Raises:
        DefinitionError: a number is outside its range, or there is not exactly one of a service and a source.
    """

    name: str
    service: FeatureService | None = None
    source: Source | None = None
    fields: Sequence[Field] = ()
    window: timedelta | int = timedelta(hours=1)
    minimum_rows: int = 0
    features: Sequence[str] = ()
    slices: Sequence[str] = ()
    baseline: BaselineSource | None = None
    smallest_change: float = 0.02
    effect_threshold: float = 0.1
    thresholds: Mapping[str, float] = field(default_factory=dict)
    quality: bool = True
    prediction_drift: bool = True
    skew: bool = True
    performance: Mapping[str, float] = field(default_factory=dict)
    average_run_length: float | None = None
    share: float = 1.0
    hold_for: int = 0
    keep_firing_for: int = 3
    severity: Severity = "page"
    routes: Sequence[str] = ()
    retrain: bool | RetrainingPolicy = True
    escalate_after: timedelta | None = None
    escalate_to: Sequence[str] = ()
    runbook: str = ""
    actions: Sequence[str] = ()
    actions_per_day: int = 1
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remember(self)
        check_name(self.name, "a monitor policy")
        what = f'Monitor policy "{self.name}"'
        self._check_stream(what)
        self._check_window(what)
        self._check_numbers(what)
        for names, single in _LISTS.items():
            listed = check_list(getattr(self, names), what, names)
            for one in listed:
                check_text(one, what, single)
            check_unique(listed, what)
            object.__setattr__(self, names, listed)
        for one in self.features:
            self._check_feature(one, what, "features")
        self._check_actions(what)
        for flag in ("quality", "prediction_drift", "skew"):
            check_flag(getattr(self, flag), what, flag)
        self._check_retraining(what)
        if self.severity not in get_args(Severity):
            raise DefinitionError(
                f"{what} has severity={self.severity!r}.",
                hint=closest(str(self.severity), get_args(Severity))
                or f"It is one of {', '.join(get_args(Severity))}.",
            )
        self._check_escalation(what)
        for name in ("runbook", "description", "owner"):
            check_text(getattr(self, name), what, name)
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))

    def spec(self) -> dict[str, Any]:
        """Return what can change a decision, as JSON values; the service, which has versions itself, counts by name."""
        spec: dict[str, Any] = {
            "name": self.name,
            "smallest_change": self.smallest_change,
            "effect_threshold": self.effect_threshold,
            "routes": list(self.routes),
            "retrain": self.retrain.spec() or True if isinstance(self.retrain, RetrainingPolicy) else self.retrain,
        }
        if self.service is not None:
            spec["service"] = self.service.name
        if self.baseline is not None:
            spec["baseline"] = self.baseline.spec()
        if self.source is not None:
            spec["source"] = self.source.spec()
            spec["fields"] = [one.spec() for one in self.fields]
        if isinstance(self.window, timedelta):
            spec["window_us"] = self.window // timedelta(microseconds=1)
        else:
            spec["window_rows"] = self.window
        if self.average_run_length is not None:
            spec["average_run_length"] = self.average_run_length
        if self.escalate_after is not None:
            spec["escalate_after_us"] = self.escalate_after // timedelta(microseconds=1)
        for name in _LATER:
            value = getattr(self, name)
            if value != _DEFAULTS[name]:
                spec[name] = list(value) if isinstance(value, tuple) else value
        return spec

    def notes(self) -> dict[str, Any]:
        """Return what only people read."""
        notes: dict[str, Any] = {"description": self.description, "owner": self.owner, "tags": dict(self.tags)}
        if self.runbook:
            notes["runbook"] = self.runbook
        return notes | ({"fields": [one.notes() for one in self.fields]} if self.fields else {})

    @classmethod
    def from_spec(
        cls, spec: Mapping[str, Any], notes: Mapping[str, Any], service: FeatureService | None = None
    ) -> MonitorPolicy:
        """Return the policy that :meth:`spec` and :meth:`notes` came from, of this release or an earlier one."""
        values, rest = dict(spec), dict(notes)
        values.pop("service", None)
        if "window_us" in values:
            values["window"] = timedelta(microseconds=values.pop("window_us"))
        else:
            values["window"] = values.pop("window_rows")
        if "escalate_after_us" in values:
            values["escalate_after"] = timedelta(microseconds=values.pop("escalate_after_us"))
        if isinstance(values["retrain"], Mapping):
            values["retrain"] = RetrainingPolicy.from_spec(values["retrain"])
        if "baseline" in values:
            values["baseline"] = BaselineSource.from_spec(values["baseline"])
        if "source" in values:
            values["source"] = source_from_spec(values["source"])
            told = rest.pop("fields")
            values["fields"] = [Field.from_spec(*pair) for pair in zip(values["fields"], told, strict=True)]
        return cls(service=service, **values, **rest)

    @property
    def offered(self) -> tuple[Field, ...]:
        """What could be watched: the features of the service, or the fields of the source, in order."""
        if self.service is None:
            return tuple(self.fields)
        return tuple(one for outputs in self.service.outputs.values() for one in outputs)

    @property
    def channels(self) -> dict[str, Sequence[str]]:
        """The channels that it names, by how it ``routes`` and ``escalates`` to them, and ``sends signals`` there."""
        retrain = self.retrain
        signals = (*retrain.routes, *retrain.approval_routes) if isinstance(retrain, RetrainingPolicy) else ()
        return {"routes": self.routes, "escalates": self.escalate_to, "sends signals": signals}

    @property
    def signalled(self) -> Sequence[str]:
        """The channels that get its retraining signals; none where it sends none."""
        if isinstance(self.retrain, RetrainingPolicy):
            return self.retrain.routes or self.routes
        return self.routes if self.retrain else ()

    @property
    def asked(self) -> Sequence[str]:
        """The channels that are asked to agree to its retraining signals; none where nobody has to."""
        if isinstance(self.retrain, RetrainingPolicy) and self.retrain.approval:
            return self.retrain.approval_routes or self.signalled
        return ()

    def watches(self, feature: str) -> bool:
        """Return whether a feature is watched."""
        return not self.features or feature in self.features

    def _check_stream(self, what: str) -> None:
        if self.service is not None and not isinstance(self.service, FeatureService):
            raise DefinitionError(f"{what} watches {self.service!r}, which is not a FeatureService.")
        if (self.service is None) == (self.source is None):
            named = "neither a service nor a source" if self.service is None else "a service and a source"
            raise DefinitionError(
                f"{what} names {named}.", hint="Give service=..., or source=... with fields=[...], and not both."
            )
        listed = check_list(self.fields, what, "fields")
        for one in listed:
            if not isinstance(one, Field):
                raise DefinitionError(f"{what} has {one!r} in its fields, which is not a Field.")
        check_unique([one.name for one in listed], what)
        object.__setattr__(self, "fields", listed)
        if self.source is None and listed:
            raise DefinitionError(
                f"{what} has fields, which a service says itself.", hint="Name those to watch in features=[...]."
            )
        if self.source is not None:
            if not hasattr(self.source, "timestamp_field") or not callable(getattr(self.source, "spec", None)):
                raise DefinitionError(f"{what} watches {self.source!r}, which is not a source.")
            if not listed:
                raise DefinitionError(
                    f"{what} has a source and no fields.",
                    hint='Name its columns: fields=[Field(name="x", dtype=Int64)].',
                )

        if self.baseline is not None and not isinstance(self.baseline, BaselineSource):
            raise DefinitionError(
                f"{what} has baseline={self.baseline!r}, which is not a BaselineSource.",
                hint='Write baseline=BaselineSource(dataset="delays@1"), or leave it out.',
            )

    def _check_actions(self, what: str) -> None:
        for one in self.actions:
            if one not in ACTIONS:
                raise DefinitionError(
                    f'{what} allows the action "{one}", which there is not.',
                    hint=closest(one, ACTIONS) or f"It is one of {', '.join(ACTIONS)}.",
                )
        if self.actions and self.service is None:
            raise DefinitionError(
                f"{what} allows actions, and watches no service.",
                hint="Actions take back loads of a service's views, and move its aliases; leave them out.",
            )

    def _check_window(self, what: str) -> None:
        if isinstance(self.window, int) and not isinstance(self.window, bool):
            if not 1 <= self.window <= 2**31:
                raise DefinitionError(f"{what} has window={self.window}.", hint="A window has a row to 2^31 rows.")
            return
        check_duration(
            self.window, what, "window", least=timedelta(seconds=1), hint="A window lasts a second to 100 years."
        )

    def _check_escalation(self, what: str) -> None:
        if self.escalate_after is not None:
            hint = "It lasts a second to 100 years; leave it out to escalate nothing."
            check_duration(self.escalate_after, what, "escalate_after", least=timedelta(seconds=1), hint=hint)
        if (self.escalate_after is None) != (not self.escalate_to):
            given, missing = "escalate_after", "escalate_to"
            if self.escalate_after is None:
                given, missing = missing, given
            raise DefinitionError(
                f"{what} has {given} and no {missing}.",
                hint='Write escalate_after=timedelta(minutes=30), escalate_to=["pager"].',
            )

    def _check_numbers(self, what: str) -> None:
        length = self.average_run_length
        if length is not None and (not is_number(length) or not 1 < length < math.inf):
            raise DefinitionError(
                f"{what} has average_run_length={length!r}.",
                hint="It is a number of windows, over 1; leave it out to let it follow from the routes' budgets.",
            )
        for name in ("smallest_change", "effect_threshold"):
            _check_between(getattr(self, name), 0, 1, f"{what} has {name}={getattr(self, name)!r}.")
        if not is_number(self.share) or not 0 < self.share < math.inf:
            raise DefinitionError(
                f"{what} has share={self.share!r}.", hint="It is a weight, over 0; 1 is the usual one."
            )
        for name, least, unit in (
            ("minimum_rows", 0, "rows"),
            ("hold_for", 0, "windows"),
            ("keep_firing_for", 1, "windows"),
            ("actions_per_day", 1, "actions"),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 2**31:
                raise DefinitionError(
                    f"{what} has {name}={value!r}.", hint=f"It is a number of {unit}, {least} or more."
                )
        for name in ("thresholds", "performance"):
            given = getattr(self, name)
            if not isinstance(given, Mapping) or not all(isinstance(one, str) for one in given):
                raise DefinitionError(
                    f"{what} has {name}={given!r}, which is not a dict by name.", hint=f'Write {name}={{"NAME": 0.1}}.'
                )
            object.__setattr__(self, name, dict(given))
        for key, number in self.thresholds.items():
            feature, one_effect, effect = key.partition(":")
            if one_effect and effect not in EFFECTS:
                raise DefinitionError(
                    f'{what} has a threshold for "{key}", and "{effect}" is no effect.',
                    hint=closest(effect, EFFECTS) or f"It is one of {', '.join(EFFECTS)}.",
                )
            if not (one_effect and feature == "*"):
                self._check_feature(feature, what, "thresholds")
            _check_between(number, 0, 1, f'{what} has the threshold {number!r} for "{key}".')
        for metric, number in self.performance.items():
            if not is_number(number) or not 0 < number < math.inf:
                raise DefinitionError(
                    f'{what} lets "{metric}" get worse by {number!r}.',
                    hint="It is a number over 0, in the metric's unit.",
                )

    def _check_retraining(self, what: str) -> None:
        if not isinstance(self.retrain, RetrainingPolicy):
            if not isinstance(self.retrain, bool):
                raise DefinitionError(
                    f"{what} has retrain={self.retrain!r}, which is neither True nor False nor a RetrainingPolicy.",
                    hint="Write retrain=True, or retrain=RetrainingPolicy(approval=True).",
                )
            return
        for one in self.retrain.features:
            self._check_feature(one, what, "features of retrain")

    def _check_feature(self, name: str, what: str, where: str) -> None:
        if self.service is not None and any(isinstance(one, SharedView) for one in self.service.features):
            return  # what the view of another project has is known once the registry was asked
        offered = [one.name for one in self.offered]
        if name not in offered:
            raise DefinitionError(
                f'{what} names "{name}" in its {where}, which is no feature of what it watches.',
                hint=closest(name, offered) or f"It has {', '.join(offered[:10])}.",
            )


def _check_between(value: object, low: float, high: float, message: str) -> None:
    if not is_number(value) or not low < value < high:  # type: ignore[operator]
        raise DefinitionError(message, hint=f"It is a number between {low} and {high}.")


_DEFAULTS: dict[str, Any] = {
    one.name: one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default
    for one in dataclasses.fields(MonitorPolicy)
}
