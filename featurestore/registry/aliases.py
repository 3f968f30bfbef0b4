"""Aliases: which version of a service ``production`` means, and what it meant before."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select

from featurestore.errors import ObjectNotFoundError
from featurestore.registry import schema

PRODUCTION = "production"


def history(connection: Connection, project: str, service: str, alias: str) -> list[int]:
    """Return the versions that a rollback would go through, the present one last; empty if the alias is not set."""
    query = select(schema.aliases.c.version).filter_by(project=project, service=service, alias=alias)
    return list(connection.execute(query.order_by(schema.aliases.c.position)).scalars())


def of_service(connection: Connection, project: str, service: str) -> dict[str, int]:
    """Return each alias of a service with the version that it points to."""
    table = schema.aliases.c
    top = (
        select(table.alias, func.max(table.position).label("position"))
        .filter_by(project=project, service=service)
        .group_by(table.alias)
        .subquery()
    )
    query = (
        select(table.alias, table.version)
        .filter_by(project=project, service=service)
        .join(top, (table.alias == top.c.alias) & (table.position == top.c.position))
        .order_by(table.alias)
    )
    return {row.alias: row.version for row in connection.execute(query)}


def push(connection: Connection, project: str, service: str, alias: str, version: int) -> None:
    """Point an alias to a version, and remember where it pointed."""
    position = len(history(connection, project, service, alias))
    connection.execute(
        insert(schema.aliases).values(project=project, service=service, alias=alias, position=position, version=version)
    )


def pop(connection: Connection, project: str, service: str, alias: str) -> int:
    """Point an alias back to where it pointed before, and return that version.

    Raises:
        ObjectNotFoundError: it points nowhere, or never pointed elsewhere.
    """
    versions = history(connection, project, service, alias)
    if len(versions) < 2:
        at = f"has only ever been {service}@{versions[0]}" if versions else "is not set"
        raise ObjectNotFoundError(
            f'The alias "{alias}" of service "{service}" {at}: there is nothing to roll back to.',
            hint=f"Promote a version instead: featurestore promote {service}@VERSION",
        )
    connection.execute(
        delete(schema.aliases).filter_by(project=project, service=service, alias=alias, position=len(versions) - 1)
    )
    return versions[-2]
