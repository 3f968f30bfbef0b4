"""A feature service: what one model is trained on and served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from featurestore import types
from featurestore.definitions.arguments import check_list, check_mapping, check_text
from featurestore.definitions.field import Field
from featurestore.definitions.names import SEPARATOR, check_name, check_unique
from featurestore.definitions.on_demand import OnDemandFeatureView
from featurestore.definitions.shared import SharedView, view_from_spec
from featurestore.definitions.uses import distinct, use_of
from featurestore.definitions.views import FeatureView, ViewProjection
from featurestore.errors import DefinitionError
from featurestore.places import remember

_TWICE = (
    "Remove one, or give one a name of its own: "
    'view.with_join_key_map({"key": "column"}, name="..."), or view.with_name("...").'
)


@dataclass(frozen=True, kw_only=True)
class FeatureService:
    """The features of one model, from several views.

    Attributes:
        name: its name in the project.
        features: views, choices ``view[["a", "b"]]`` of some features of a view, on-demand views, and views of other
            projects. One view may be used several times, under other join keys and another name each time:
            ``weather.with_join_key_map({"origin": "dest"}, name="dest_weather")``.
        description: for people.
        owner: for people.
        tags: for people.

    Raises:
        DefinitionError: no view, a view twice under one name, a feature name that two views share, or two definitions
            of one view.
    """

    name: str
    features: Sequence[FeatureView | ViewProjection | OnDemandFeatureView | SharedView]
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remember(self)
        check_name(self.name, "a feature service")
        what = f'Feature service "{self.name}"'
        features = check_list(self.features, what, "features")
        if not features:
            raise DefinitionError(f"{what} has no features.", hint="Give features=[view, ...].")
        for one in features:
            if not isinstance(one, (FeatureView, ViewProjection, OnDemandFeatureView, SharedView)):
                raise DefinitionError(f"{what} has {one!r} among its features, which is not a feature view.")
        object.__setattr__(self, "features", features)
        for name in ("description", "owner"):
            check_text(getattr(self, name), what, name)
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))
        check_unique([_called(one) for one in features], what, hint=_TWICE)
        if not self.shared:  # else the rest can be checked once the registry has been asked what these are
            self._check_names(what)

    def _check_names(self, what: str) -> None:
        check_unique([use.name for use in self.uses] + [view.name for view in self.on_demand_views], what)
        outputs = [(one.name, owner) for owner, fields in self.outputs.items() for one in fields]
        seen: dict[str, str] = {}
        for feature, owner in outputs:
            if feature in seen:
                use = next((one for one in (owner, seen[feature]) if one in self._uses), None)
                remedy = (
                    f'leave one out, {use}[[...]], or take one under its full name: {use}.with_name("...") gives '
                    f"...{SEPARATOR}{feature}"
                )
                raise DefinitionError(
                    f'{what} gets a feature "{feature}" from "{seen[feature]}" and from "{owner}".',
                    hint=f"Rename one, {remedy}." if use else "Rename one.",
                )
            seen[feature] = owner
        inputs = [*self.keys, *(one.name for one in self.request)]
        for name in inputs:
            if name in seen:
                raise DefinitionError(
                    f'{what} both needs "{name}" with each request and gives a feature of that name ("{seen[name]}").',
                    hint="Rename the feature or the request field.",
                )
        check_unique(inputs, what)

    @cached_property
    def _uses(self) -> dict[str, ViewProjection]:
        found: list[ViewProjection] = []
        for one in self.features:
            if isinstance(one, SharedView):
                one.unknown()
            elif isinstance(one, OnDemandFeatureView):
                found += one.uses
            else:
                found.append(use_of(one))
        return distinct(found, f'Feature service "{self.name}"')

    @property
    def uses(self) -> tuple[ViewProjection, ...]:
        """Every use of a stored view, on-demand inputs included, in order of first use; no two have one name.

        A use has the features that are read. Which of them the service gives, :attr:`outputs` says under its name.

        Raises:
            DefinitionError: a view is of another project, and the registry has not been asked for it yet.
        """
        return tuple(self._uses.values())

    @property
    def shared(self) -> tuple[SharedView, ...]:
        """The views of other projects that it reaches and that the registry has not been asked for yet."""
        found: list[SharedView] = []
        for one in self.features:
            if isinstance(one, OnDemandFeatureView):
                found += one.shared
            elif isinstance(one, SharedView):
                found.append(one)
        return tuple(found)

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """Every stored view that it reads, on-demand inputs included, once, in order of first use.

        Raises:
            DefinitionError: one is of another project, and the registry has not been asked for it yet.
        """
        return tuple({use.view.name: use.view for use in self.uses}.values())

    @property
    def on_demand_views(self) -> tuple[OnDemandFeatureView, ...]:
        """The on-demand views, in order."""
        return tuple(one for one in self.features if isinstance(one, OnDemandFeatureView))

    @property
    def outputs(self) -> dict[str, tuple[Field, ...]]:
        """The features that it gives, by the name of their use or on-demand view, in order.

        Those of a use with a name of its own have their full names.
        """
        found: dict[str, tuple[Field, ...]] = {}
        for one in self.features:
            if isinstance(one, SharedView):
                one.unknown()
            found[one.name] = one.outputs if isinstance(one, ViewProjection) else tuple(one.schema)
        return found

    @property
    def keys(self) -> dict[str, types.DType]:
        """Each join key that a request must carry, with its type, in order; under the columns' names of the uses.

        Raises:
            DefinitionError: two views give one key different types.
        """
        found: dict[str, types.DType] = {}
        for use in self.uses:
            for key, dtype in use.keys.items():
                if found.setdefault(key, dtype) != dtype:
                    raise DefinitionError(
                        f'Feature service "{self.name}" has join key "{key}" as {found[key]} and as {dtype}.',
                        hint="Use one entity for both views.",
                    )
        return found

    @property
    def request(self) -> tuple[Field, ...]:
        """The request fields that its on-demand views need, in order of first use."""
        found: dict[str, Field] = {}
        for view in self.on_demand_views:
            for one in view.request:
                known = found.setdefault(one.name, one)
                if known.dtype != one.dtype:
                    raise DefinitionError(
                        f'Feature service "{self.name}" has request field "{one.name}" '
                        f"as {known.dtype} and as {one.dtype}.",
                        hint="Give it one type, or two names.",
                    )
                # The canonical forms, in which NaN equals itself.
                defaults = [each.spec().get("default") for each in (known, one)]
                if defaults[0] != defaults[1]:
                    raise DefinitionError(
                        f'Feature service "{self.name}" has request field "{one.name}" '
                        f"with default {known.default!r} and with default {one.default!r}.",
                        hint="Give it one default, or two names.",
                    )
        return tuple(found.values())

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values; views count in full."""
        parts: list[dict[str, Any]] = []
        for one in self.features:
            if isinstance(one, SharedView):
                one.unknown()
            elif isinstance(one, OnDemandFeatureView):
                parts.append({"kind": "on_demand_feature_view", "view": one.spec()})
            else:
                use = use_of(one)
                chosen = None if use.features is None else list(use.features)
                parts.append({"kind": "feature_view", "view": use.view.spec(), "features": chosen} | use.spec())
        return {"name": self.name, "features": parts}

    def notes(self) -> dict[str, Any]:
        """Return what only people read."""
        views = [
            one.unknown() if isinstance(one, SharedView) else one.view if isinstance(one, ViewProjection) else one
            for one in self.features
        ]
        return {
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags),
            "features": [view.notes() for view in views],
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> FeatureService:
        """Return the service that :meth:`spec` and :meth:`notes` came from."""
        features: list[FeatureView | ViewProjection | OnDemandFeatureView] = []
        for part, about in zip(spec["features"], notes["features"], strict=True):
            if part["kind"] == "on_demand_feature_view":
                features.append(OnDemandFeatureView.from_spec(part["view"], about))
                continue
            view = view_from_spec(part["view"], about)
            chosen = None if part["features"] is None else tuple(part["features"])
            use = {key: part[key] for key in ("name", "join_key_map") if key in part}
            features.append(view if chosen is None and not use else ViewProjection(view=view, features=chosen, **use))
        rest = {key: value for key, value in notes.items() if key != "features"}
        return cls(name=spec["name"], features=features, **rest)


def _called(one: FeatureView | ViewProjection | OnDemandFeatureView | SharedView) -> str:
    return one.use_name or one.name if isinstance(one, SharedView) else one.name
