"""The uses that a service, or an on-demand view, makes of stored views: one view may be used several times."""

from __future__ import annotations

from collections.abc import Iterable

from featurestore.definitions.views import FeatureView, ViewProjection
from featurestore.errors import DefinitionError


def use_of(one: FeatureView | ViewProjection) -> ViewProjection:
    """Return what a service or an on-demand view lists as a use; a view stands for all of itself."""
    return one if isinstance(one, ViewProjection) else ViewProjection(view=one)


def distinct(uses: Iterable[ViewProjection], what: str) -> dict[str, ViewProjection]:
    """Return uses by name, in order of first use; one that comes again is one, of all its features if one of them is.

    Args:
        uses: the uses.
        what: what makes them, to begin the message: ``Feature service "flight_delay"``.

    Raises:
        DefinitionError: one name stands for two uses, or there are two definitions of a view.
    """
    found: dict[str, ViewProjection] = {}
    views: dict[str, FeatureView] = {}
    for use in uses:
        view = views.setdefault(use.view.name, use.view)
        if view != use.view:
            raise DefinitionError(
                f'{what} reaches two different definitions of view "{view.name}".', hint="Use one object for both."
            )
        other = found.setdefault(use.name, use)
        if other.view.name != view.name:
            raise DefinitionError(
                f'{what} uses view "{other.view.name}" and view "{view.name}" both as "{use.name}".',
                hint=f'Give one another name: {view.name}.with_name("...").',
            )
        if other.join_key_map != use.join_key_map:
            shown = dict(use.join_key_map or other.join_key_map)
            raise DefinitionError(
                f'{what} uses view "{view.name}" by different join keys, both times as "{use.name}".',
                hint=f'Give one a name of its own: {view.name}.with_join_key_map({shown}, name="...").',
            )
        if use.features is None:
            found[use.name] = use
    return found
