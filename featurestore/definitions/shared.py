"""Views of another project: what a user writes, and what stands in its place once the registry has been asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NoReturn

from featurestore.definitions.arguments import check_list, check_mapping
from featurestore.definitions.names import check_name, check_unique
from featurestore.definitions.views import FeatureView, ViewProjection
from featurestore.errors import DefinitionError
from featurestore.places import place_of, remember

_REFERENCE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})/([A-Za-z][A-Za-z0-9_]{0,99})(?:@([1-9][0-9]{0,8}))?")


@dataclass(frozen=True)
class SharedView:
    """A view of another project, for a service or an on-demand view: ``SharedView("sales/weather")``.

    Its owner decides what it is, and feeds it. ``plan`` and ``apply`` look up the version that is meant, and the
    service keeps it until it is applied again.

    Attributes:
        reference: ``project/view``, the current version of it; or ``project/view@2``, that one.
        features: those to take, in order; None for all. ``SharedView("sales/weather")[["temp"]]`` sets it.
        use_name: the name of this use of it, where it has one of its own; :meth:`with_name` sets it.
        join_key_map: by join key of the view, the column that holds it; :meth:`with_join_key_map` sets it.

    Raises:
        DefinitionError: the reference has another form, a feature is named twice, or the name cannot be one.
    """

    reference: str
    features: tuple[str, ...] | None = None
    use_name: str = ""
    join_key_map: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        remember(self)
        if not isinstance(self.reference, str) or _REFERENCE.fullmatch(self.reference) is None:
            raise DefinitionError(
                f"{self.reference!r} names no view of another project.",
                hint='Write the project, a slash and the view: SharedView("sales/weather"), or "sales/weather@2".',
            )
        if self.features is not None:
            what = f'The choice from view "{self.reference}"'
            features = check_list(self.features, what, "features")
            if not features:
                raise DefinitionError(f"{what} takes no feature.")
            check_unique(features, what)
            object.__setattr__(self, "features", features)
        what = f'The use of view "{self.reference}"'
        if self.use_name:
            check_name(self.use_name, f'a use of view "{self.reference}"')
        object.__setattr__(self, "join_key_map", check_mapping(self.join_key_map, what, "join_key_map"))

    def __getitem__(self, features: Sequence[str]) -> SharedView:
        what = f'The choice from view "{self.reference}"'
        return replace(self, features=check_list(features, what, "features"))

    def with_join_key_map(self, join_key_map: Mapping[str, str], *, name: str = "") -> SharedView:
        """Return a use of the view whose join keys stand in other columns.

        See :meth:`FeatureView.with_join_key_map`; the registry tells whether the view has such keys.
        """
        return replace(self, join_key_map=join_key_map, use_name=name or self.use_name)

    def with_name(self, name: str) -> SharedView:
        """Return a use of the view under a name of its own; see :meth:`FeatureView.with_name`."""
        return replace(self, use_name=name)

    def used(self, view: SharedFeatureView) -> FeatureView | ViewProjection:
        """Return what it stands for, once the registry has said what the view is.

        Raises:
            DefinitionError: the view has no such feature or join key.
        """
        if self.features is None and not self.use_name and not self.join_key_map:
            return view
        return ViewProjection(view=view, features=self.features, name=self.use_name, join_key_map=self.join_key_map)

    @property
    def project(self) -> str:
        """The owner: ``sales``."""
        return self.reference.partition("/")[0]

    @property
    def name(self) -> str:
        """The view's name at its owner's: ``weather``."""
        return self.reference.partition("/")[2].partition("@")[0]

    def unknown(self) -> NoReturn:
        """Say that what is asked for only the registry can tell.

        Raises:
            DefinitionError: always.
        """
        raise DefinitionError(
            f'What "{self.reference}" is, only the registry knows.',
            hint="Plan or apply what refers to it; the registry then has it: store.get(NAME).definition",
            where=place_of(self),
        )


@dataclass(frozen=True, kw_only=True)
class SharedFeatureView(FeatureView):
    """One version of a view of another project, as a service that was applied holds it.

    Its rows are the owner's: they have the same storage id.

    Attributes:
        project: the owner.
    """

    project: str

    @classmethod
    def of(cls, view: FeatureView, project: str) -> SharedFeatureView:
        """Return a view of a project as other projects hold it."""
        return cls(project=project, **_parts(view))

    @property
    def owned(self) -> FeatureView:
        """The view as its owner's registry has it."""
        return FeatureView(**_parts(self))

    @property
    def reference(self) -> str:
        """What it is called in this project: ``sales/weather``."""
        return f"{self.project}/{self.name}"

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values; whose view it is counts too."""
        return {**super().spec(), "project": self.project}

    def storage_spec(self) -> dict[str, Any]:
        """Return what determines the stored rows: what does at the owner's."""
        spec = super().storage_spec()
        del spec["project"]
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> SharedFeatureView:
        """Return the view that :meth:`spec` and :meth:`notes` came from."""
        return cls.of(FeatureView.from_spec(spec, notes), spec["project"])


def view_from_spec(spec: Mapping[str, Any], notes: Mapping[str, Any]) -> FeatureView:
    """Return the view, of this project or another, that a service or an on-demand view has in its spec."""
    return SharedFeatureView.from_spec(spec, notes) if "project" in spec else FeatureView.from_spec(spec, notes)


def reference_in(spec: Mapping[str, Any]) -> str:
    """Return what a definition that refers to others calls one of them: ``weather``, ``sales/weather``."""
    return f"{spec['project']}/{spec['name']}" if "project" in spec else str(spec["name"])


def _parts(view: FeatureView) -> dict[str, Any]:
    return {one.name: getattr(view, one.name) for one in fields(FeatureView)}
