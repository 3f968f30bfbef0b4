"""Whose features are asked for: a service that is registered, or definitions that never were applied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from featurestore.definitions import (
    FeatureService,
    FeatureView,
    SharedFeatureView,
    content_hash,
    storage_id,
)
from featurestore.errors import ObjectNotFoundError
from featurestore.offline.join.drafts import DraftStore
from featurestore.registry import Registry
from featurestore.registry.records import Registered
from featurestore.store.opened import Opened
from featurestore.store.references import PARTS, service_name

_DRAFT = "draft"


@dataclass(frozen=True, kw_only=True)
class Draft(Registered[FeatureService]):
    """A service that nobody has applied: it has no version, and no row of the registry."""

    @property
    def id(self) -> str:
        """``draft``; of a service with a name, ``flight_delay (draft)``."""
        return _DRAFT if self.name == _DRAFT else f"{self.name} ({_DRAFT})"


def asked_for(registry: Registry, features: object) -> tuple[Registered[FeatureService], tuple[str, ...]]:
    """Return the service that is meant, and what the user should know of it.

    A text is the name of a registered service. A FeatureService stands for the registered version that it equals, first
    of all for the one that its name stands for; if it equals none, it is a draft, as a list of views is.

    Raises:
        ObjectNotFoundError: there is no service of that name.
        DefinitionError: it is nothing of that, the views do not fit together, or one of another project is not there.
    """
    if isinstance(features, PARTS):
        features = [features]
    if isinstance(features, (list, tuple)) and features and not all(isinstance(one, str) for one in features):
        return _draft(registry, FeatureService(name=_DRAFT, features=features)), (
            "the features are a draft: nothing was registered, and they have no version",
        )
    if not isinstance(features, FeatureService):
        return registry.resolve_service(service_name(features, views=True)), ()
    draft = _draft(registry, features)
    named = _resolved(registry, features.name)
    if named is not None and named.content_hash == draft.content_hash:
        return named, ()
    for one in reversed(_versions(registry, features.name)):
        if one.content_hash == draft.content_hash:
            other = "" if named is None else f", not {named.id}, for which its name stands"
            return one, (f"the FeatureService is {one.id}{other}",)
    why = "is not registered" if named is None else f"differs from {named.id}"
    return draft, (f'feature service "{features.name}" {why}: it was joined as a draft, and has no version',)


def _draft(registry: Registry, service: FeatureService) -> Draft:
    resolved = registry.resolved(service) if service.shared else service
    return Draft(
        project=registry.project,
        kind="feature_service",
        name=resolved.name,
        version=0,
        content_hash=content_hash(resolved),
        decode=lambda: resolved,
        applied_at=datetime.now(UTC),
        applied_by="",
    )


def _resolved(registry: Registry, name: str) -> Registered[FeatureService] | None:
    try:
        return registry.resolve_service(name)
    except ObjectNotFoundError:
        return None


def _versions(registry: Registry, name: str) -> list[Registered[FeatureService]]:
    try:
        found = registry.versions(name)
    except ObjectNotFoundError:
        return []
    return [cast("Registered[FeatureService]", one) for one in found if one.kind == "feature_service"]


class Drafting(Opened):
    """The rows of definitions that were never applied."""

    def _draft_rows(self, service: FeatureService) -> tuple[DraftStore | None, list[str]]:
        """Read the rows of a draft's views that have no table yet, and say where each view's come from.

        Returns:
            The store that has them, to be discarded; None if all views have tables, or no rows for certain.

        Raises:
            DefinitionError: an expression or a query cannot be evaluated.
            DataError: a source cannot be read, or its rows are refused.
            OfflineStoreError: the disk refuses.
        """
        new = [one for one in service.views if not isinstance(one, SharedFeatureView) and not self._is_applied(one)]
        # What an apply would refuse is refused here.
        self.registry.plan([*new, *service.on_demand_views])
        drafts: DraftStore | None = None
        notes = []
        try:
            for view in new:
                if self.offline.table(view).exists():
                    notes.append(f'feature view "{view.name}" is a draft, whose rows are in {storage_id(view)} already')
                    continue
                drafts = drafts or DraftStore(self.offline, self.config, self.registry)
                notes.append(drafts.load(view, self._current(view), who=self.who()))
        except BaseException:
            if drafts is not None:
                drafts.discard()
            raise
        return drafts, notes

    def _is_applied(self, view: FeatureView) -> bool:
        try:
            versions = self.registry.versions(view.name)
        except ObjectNotFoundError:
            return False
        return any(one.content_hash == content_hash(view) for one in versions)

    def _current(self, view: FeatureView) -> FeatureView | None:
        try:
            return self.registry.feature_view(view.name).definition
        except ObjectNotFoundError:
            return None
