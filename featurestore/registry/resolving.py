"""Views of other projects: which version is meant, and whether its owner lets us use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from sqlalchemy import Connection, select

from featurestore.definitions import (
    Definition,
    FeatureService,
    FeatureView,
    MonitorPolicy,
    OnDemandFeatureView,
    PromotionPolicy,
    SharedFeatureView,
    SharedView,
    ViewProjection,
    content_hash,
)
from featurestore.errors import DefinitionError, ObjectNotFoundError, about, closest
from featurestore.places import place_of, remember
from featurestore.registry import consents, schema
from featurestore.registry.graph import Wanted
from featurestore.registry.versions import Versions


def asks(definitions: Sequence[Definition]) -> bool:
    """Return whether the registry has to be asked what a view of another project is."""
    return any(_shared(one) for one in definitions)


def _shared(definition: object) -> tuple[SharedView, ...]:
    match definition:
        case OnDemandFeatureView() | FeatureService():
            return definition.shared
        case MonitorPolicy() | PromotionPolicy():
            return () if definition.service is None else definition.service.shared
    return ()


def resolve(definitions: Sequence[Definition], connection: Connection, project: str) -> list[Definition]:
    """Return the definitions with the views of other projects in them as their owners' registry has them.

    Args:
        definitions: what a user wrote.
        connection: of a transaction.
        project: the namespace of the definitions.

    Raises:
        DefinitionError: there is no such project, view, version or feature, or what it is does not fit.
    """
    return _Resolver(connection, project).all(definitions)


class _Resolver:
    """Puts registered views in place of the names of views; one object gives one object."""

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self._project = project
        self._views: dict[str, FeatureView] = {}
        self._made: dict[int, Definition] = {}

    def all(self, definitions: Sequence[Definition]) -> list[Definition]:
        return [self._definition(one) for one in definitions]

    def _definition(self, definition: Definition) -> Definition:
        if not _shared(definition):
            return definition
        if id(definition) not in self._made:
            with about(definition):
                made = self._replaced(definition)
            remember(made, place_of(definition))
            self._made[id(definition)] = made
        return self._made[id(definition)]

    def _replaced(self, definition: Definition) -> Definition:
        match definition:
            case OnDemandFeatureView():
                inputs = [self._used(one) if isinstance(one, SharedView) else one for one in definition.inputs]
                return replace(definition, inputs=inputs)
            case FeatureService():
                return replace(definition, features=[self._feature(one) for one in definition.features])
            case MonitorPolicy() | PromotionPolicy():
                assert definition.service is not None  # noqa: S101 - without one it shares nothing
                return replace(definition, service=cast("FeatureService", self._definition(definition.service)))
        return definition

    def _feature(
        self, feature: FeatureView | ViewProjection | OnDemandFeatureView | SharedView
    ) -> FeatureView | ViewProjection | OnDemandFeatureView:
        if isinstance(feature, OnDemandFeatureView):
            return cast("OnDemandFeatureView", self._definition(feature))
        return self._used(feature) if isinstance(feature, SharedView) else feature

    def _used(self, shared: SharedView) -> FeatureView | ViewProjection:
        view = self._view(shared)
        with about(shared):
            return shared.used(view)

    def _view(self, shared: SharedView) -> SharedFeatureView:
        with about(shared):
            _check_other(shared.project, shared.name, self._project)
            if shared.reference not in self._views:
                self._views[shared.reference] = _owned(shared, self._connection)
        view = SharedFeatureView.of(self._views[shared.reference], shared.project)
        remember(view, place_of(shared))
        return view


def _check_other(owner: str, name: str, project: str) -> None:
    if owner == project:
        raise DefinitionError(
            f'"{owner}/{name}" is a view of this very project.', hint="Use the FeatureView itself, not a SharedView."
        )


def _owned(shared: SharedView, connection: Connection) -> FeatureView:
    known = list(connection.execute(select(schema.projects.c.project)).scalars())
    if shared.project not in known:
        raise DefinitionError(
            f'There is no project "{shared.project}" in this registry, of which "{shared.reference}" would be a view.',
            hint=closest(shared.project, known),
        )
    versions = Versions(connection, shared.project)
    try:
        found = versions.find(shared.reference.partition("/")[2], "feature_view")
    except ObjectNotFoundError as error:
        # The owner's error, but for what only the owner can do.
        hint = "" if error.hint.startswith("Apply") else error.hint
        raise DefinitionError(f'"{shared.reference}": {error.message}', hint=hint) from error
    return cast("FeatureView", versions.definition(found))


def pins_of_shared(
    wanted: Mapping[str, Wanted], connection: Connection, project: str, *, hold: bool
) -> dict[str, dict[str, int]]:
    """Return the versions of the views of other projects that definitions refer to, by definition and reference.

    Args:
        wanted: the definitions.
        connection: of a transaction.
        project: the namespace of the definitions.
        hold: whether no owner may withdraw its consent before the transaction has ended.

    Raises:
        DefinitionError: an owner has no such view, or does not share it.
    """
    hashes: dict[tuple[str, str], dict[str, int]] = {}
    pins: dict[str, dict[str, int]] = {}
    for name, one in wanted.items():
        for view in one.shared:
            with about(one.definition), about(view):
                _check_other(view.project, view.name, project)
                key = (view.project, view.name)
                if key not in hashes:
                    hashes[key] = Versions(connection, view.project).hashes_of([view.name]).get(view.name, {})
                    consents.check(connection, view.project, view.name, project, hold=hold)
                version = hashes[key].get(content_hash(view.owned))
                if version is None:
                    raise DefinitionError(
                        f'Project "{view.project}" has no such version of view "{view.name}" in this registry.',
                        hint=f'Its owner applies or transfers it first; then write SharedView("{view.reference}").',
                    )
                pins.setdefault(name, {})[view.reference] = version
    return pins
