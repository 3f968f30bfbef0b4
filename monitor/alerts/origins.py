"""What the features of a service are made from: views and sources, as its definition says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from featurestore.definitions import FeatureService, FeatureView
from featurestore.lineage.sources import label, read_sources


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What one feature is made from.

    Attributes:
        views: names of the stored views; of a feature that is computed on demand, of all that are computed from.
        sources: names of their sources, as lineage has them.
    """

    views: tuple[str, ...]
    sources: tuple[str, ...]


def origins(service: FeatureService) -> dict[str, Origin]:
    """Return the origin of each feature that a service gives, by its name there.

    Args:
        service: as the registry gives it, views of other projects included.
    """
    stored = {use.name: (use.view,) for use in service.uses}
    computed = {one.name: tuple(use.view for use in one.uses) for one in service.on_demand_views}
    by_name = {**stored, **computed}
    return {one.name: _origin(by_name[name]) for name, group in service.outputs.items() for one in group}


def _origin(views: Iterable[FeatureView]) -> Origin:
    each = {view.name: view for view in views}
    named = {label(source, view.name): None for view in each.values() for source in read_sources(view.source)}
    return Origin(views=tuple(each), sources=tuple(named))
