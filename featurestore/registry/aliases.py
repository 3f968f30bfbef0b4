"""Aliases: which version of a service ``production`` means, what it meant before, and the canary beside it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import Row

from featurestore.errors import ObjectNotFoundError
from featurestore.registry import schema, values
from featurestore.registry.records import Alias

PRODUCTION = "production"
#: The alias that takes a share of the requests for a service's bare name.
CANARY = "canary"

_TABLE = schema.aliases.c


def stack(connection: Connection, project: str, service: str, alias: str) -> list[Row[Any]]:
    """Return the places that a rollback would go through, the present one last; none if the alias is not set."""
    query = select(schema.aliases).filter_by(project=project, service=service, alias=alias)
    return list(connection.execute(query.order_by(_TABLE.position)))


def find(connection: Connection, project: str, service: str, alias: str) -> Alias | None:
    """Return an alias, or None if it is not set."""
    rows = stack(connection, project, service, alias)
    return _alias(rows) if rows else None


def listed(connection: Connection, project: str, service: str | None) -> list[Alias]:
    """Return the aliases of one service, or of all, by service and name."""
    query = select(schema.aliases).filter_by(project=project)
    if service is not None:
        query = query.filter_by(service=service)
    stacks: dict[tuple[str, str], list[Row[Any]]] = {}
    # Not by the database: PostgreSQL's idea of an order depends on its language.
    for row in sorted(connection.execute(query), key=lambda row: (row.service, row.alias, row.position)):
        stacks.setdefault((row.service, row.alias), []).append(row)
    return [_alias(rows) for rows in stacks.values()]


def of_service(connection: Connection, project: str, service: str) -> dict[str, int]:
    """Return each alias of a service with the version that it points to."""
    return {one.alias: one.version for one in listed(connection, project, service)}


def named(connection: Connection, project: str, alias: str) -> dict[str, tuple[int, float]]:
    """Return, for each service that has the alias, the version that it points to and its share."""
    top = (
        select(_TABLE.service, func.max(_TABLE.position).label("position"))
        .filter_by(project=project, alias=alias)
        .group_by(_TABLE.service)
        .subquery()
    )
    query = (
        select(_TABLE.service, _TABLE.version, _TABLE.share)
        .filter_by(project=project, alias=alias)
        .join(top, (_TABLE.service == top.c.service) & (_TABLE.position == top.c.position))
    )
    return {row.service: (row.version, row.share) for row in connection.execute(query)}


def push(
    connection: Connection, project: str, service: str, alias: str, *, version: int, share: float, at: int, who: str
) -> None:
    """Point an alias to a version, and remember where it pointed."""
    position = len(stack(connection, project, service, alias))
    connection.execute(
        insert(schema.aliases).values(
            project=project,
            service=service,
            alias=alias,
            position=position,
            version=version,
            share=share,
            moved_at=at,
            moved_by=who,
        )
    )


def set_share(
    connection: Connection, project: str, service: str, alias: str, *, share: float, at: int, who: str
) -> None:
    """Give an alias that stays where it is another share."""
    position = len(stack(connection, project, service, alias)) - 1
    connection.execute(
        update(schema.aliases)
        .filter_by(project=project, service=service, alias=alias, position=position)
        .values(share=share, moved_at=at, moved_by=who)
    )


def target(connection: Connection, project: str, service: str, alias: str, to: int | None) -> int:
    """Return the version to which a rollback leads.

    Args:
        connection: of a transaction.
        project: the namespace.
        service: the service's name.
        alias: the alias.
        to: a version to which the alias pointed before; None is the last one.

    Raises:
        ObjectNotFoundError: it points nowhere, or never pointed there.
    """
    versions = [row.version for row in stack(connection, project, service, alias)]
    if len(versions) < 2:
        at = f"is {service}@{versions[0]}, with no version before that" if versions else "is not set"
        raise ObjectNotFoundError(
            f'The alias "{alias}" of service "{service}" {at}: there is nothing to roll back to.',
            hint=f"Promote a version instead: featurestore promote {service}@VERSION",
        )
    if to is None:
        return int(versions[-2])
    if to == versions[-1]:
        raise ObjectNotFoundError(f'The alias "{alias}" of service "{service}" points to {service}@{to} already.')
    if to not in versions:
        before = ", ".join(f"{service}@{one}" for one in dict.fromkeys(versions[-2::-1]))
        raise ObjectNotFoundError(
            f'The alias "{alias}" of service "{service}" did not point to {service}@{to} '
            f"on its way to {service}@{versions[-1]}.",
            hint=f"A rollback leads to: {before}. Elsewhere leads: featurestore promote {service}@{to}",
        )
    return to


def pop(connection: Connection, project: str, service: str, alias: str, *, version: int, at: int, who: str) -> None:
    """Point an alias back to a version of :func:`target`, and forget where it pointed since."""
    rows = stack(connection, project, service, alias)
    position = max(row.position for row in rows[:-1] if row.version == version)
    mine = {"project": project, "service": service, "alias": alias}
    connection.execute(delete(schema.aliases).filter_by(**mine).where(_TABLE.position > position))
    connection.execute(update(schema.aliases).filter_by(**mine, position=position).values(moved_at=at, moved_by=who))


def remove(connection: Connection, project: str, service: str, alias: str) -> None:
    """Take an alias away, with all that it remembers."""
    connection.execute(delete(schema.aliases).filter_by(project=project, service=service, alias=alias))


def _alias(rows: list[Row[Any]]) -> Alias:
    top = rows[-1]
    return Alias(
        service=top.service,
        alias=top.alias,
        version=top.version,
        share=top.share,
        moved_at=values.instant(top.moved_at) if top.moved_at else None,
        moved_by=top.moved_by,
        before=tuple(row.version for row in rows[-2::-1]),
    )
