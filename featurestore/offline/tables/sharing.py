"""Rows of another project: read where its owner keeps them, and never written."""

from __future__ import annotations

from featurestore.definitions import FeatureView, SharedFeatureView, storage_id
from featurestore.errors import NotOwnerError, ObjectNotFoundError, OfflineStoreError
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import Registry, live_views, stored_once
from featurestore.registry.records import Registered


def check_ours(view: FeatureView) -> None:
    """Check that a view's rows may be written by this project.

    Raises:
        NotOwnerError: they are another project's.
    """
    if isinstance(view, SharedFeatureView):
        raise not_ours(view.project, view.name)


def not_ours(owner: str, name: str) -> NotOwnerError:
    """Return the error for a view that only another project loads and materializes."""
    return NotOwnerError(
        f'View "{owner}/{name}" belongs to project "{owner}", which loads and materializes it.',
        hint=f'Its owner runs, in the folder of "{owner}": featurestore ingest {name}; featurestore materialize {name}',
    )


def own_view(registry: Registry, view: str) -> Registered[FeatureView]:
    """Return a view of a project, which may be loaded and materialized there.

    Raises:
        ObjectNotFoundError: there is none.
        NotOwnerError: it is another project's.
    """
    owner, _, rest = view.rpartition("/")
    name = rest.partition("@")[0]
    if owner and owner != registry.project:
        raise not_ours(owner, name)
    try:
        return registry.feature_view(rest)
    except ObjectNotFoundError:
        for one in registry.consents():
            if one.consumer == registry.project and one.view == name:
                raise not_ours(one.owner, name) from None
        raise


def fed_versions(registry: Registry, view: str) -> list[Registered[FeatureView]]:
    """Return the version that a reference names, and for a bare name the other live ones with rows of their own.

    Raises:
        ObjectNotFoundError: there is none.
        NotOwnerError: it is another project's.
    """
    try:
        named = own_view(registry, view)
    except ObjectNotFoundError:
        # A view that was removed is fed as long as a rollback may lead to it.
        live = stored_once(live_views(registry, view))
        if not live:
            raise
        return live
    return [named] if "@" in view else stored_once(live_views(registry, named.name))


def check_whose(view: FeatureView, writer: str, project: str) -> None:
    """Check that a load in the table of a project's own view is that project's.

    Two projects that define a view alike give its table one name. In one folder each would read, and overwrite, what
    the other has, without anybody's leave.

    Args:
        view: the view.
        writer: the project that made the load; empty if an earlier release did.
        project: whose view it is.

    Raises:
        OfflineStoreError: it is another project's.
    """
    if writer not in ("", project):
        raise OfflineStoreError(
            f'The table {storage_id(view)} of feature view "{view.name}" has rows of project "{writer}", and this is '
            f'"{project}".',
            hint='Give each project its own path in "[offline]" and its own "online". To read those rows, use '
            f'SharedView("{writer}/{view.name}").',
        )


def check_here(view: FeatureView, table: OfflineTable, registry: Registry) -> None:
    """Check that the table of another project's view is where this project looks for it.

    Raises:
        OfflineStoreError: its owner has loaded it, elsewhere.
    """
    if isinstance(view, SharedFeatureView) and not table.exists() and registry.owner(view).loads(storage_id(view)):
        raise OfflineStoreError(
            f'Project "{view.project}" has loaded view "{view.name}", and its table is not in {table.path.parent}.',
            hint='Both projects have to keep their rows in one place: the same path in "[offline]" of both.',
        )
