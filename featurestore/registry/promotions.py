"""Promotions that wait for somebody else's approval: the ledger of them, and who may decide."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.engine import Row

from featurestore.errors import ObjectNotFoundError, RegistryError
from featurestore.registry import schema, values
from featurestore.registry.identities import registered_keys
from featurestore.registry.identity import is_verified
from featurestore.registry.records import Promotion
from featurestore.registry.versions import Versions

#: What moved a definition from one registry to another, in the audit log of both.
TRANSFER = "transfer"


def approvals_needed(versions: Versions, service: str, alias: str) -> int:
    """Return how many people have to approve before an alias of a service moves; 0 if it moves at once."""
    needed = [
        int(policy.spec["approvals"])
        for policy in versions.current("promotion_policy")
        if policy.spec["service"] == service and alias in policy.spec["aliases"]
    ]
    return max(needed, default=0)


def request(
    connection: Connection, project: str, *, service: str, version: int, alias: str, share: float, who: str
) -> tuple[Promotion, bool]:
    """Enter a promotion that waits, and return it; the same one that waits already is returned as it is.

    Returns:
        The promotion, and whether it is new.
    """
    wanted: dict[str, Any] = {"service": service, "version": version, "alias": alias, "share": share}
    table = schema.promotions
    waiting = connection.execute(select(table).filter_by(project=project, state="pending", **wanted)).first()
    if waiting is not None:
        return _promotion(waiting), False
    last: int | None = connection.execute(select(func.max(table.c.number)).filter_by(project=project)).scalar()
    number = (last or 0) + 1
    connection.execute(
        insert(table).values(
            project=project, number=number, **wanted, state="pending", requested_at=values.now(), requested_by=who
        )
    )
    return find(connection, project, number), True


def find(connection: Connection, project: str, number: int) -> Promotion:
    """Return a promotion by its number.

    Raises:
        ObjectNotFoundError: none was asked for under it.
    """
    row = connection.execute(select(schema.promotions).filter_by(project=project, number=number)).first()
    if row is None:
        raise ObjectNotFoundError(
            f'There is no promotion {number} in project "{project}".', hint="List them: featurestore promotions"
        )
    return _promotion(row)


def listed(connection: Connection, project: str, service: str | None) -> list[Promotion]:
    """Return the promotions of one service, or of all, by number."""
    query = select(schema.promotions).filter_by(project=project).order_by(schema.promotions.c.number)
    if service is not None:
        query = query.filter_by(service=service)
    return [_promotion(row) for row in connection.execute(query)]


def pending(connection: Connection, project: str, number: int) -> Promotion:
    """Return a promotion that waits.

    Raises:
        ObjectNotFoundError: there is none of that number.
        RegistryError: it was decided.
    """
    found = find(connection, project, number)
    if found.state != "pending":
        raise RegistryError(
            f"Promotion {number} of {found.id} to {found.alias} was {found.state} by {', '.join(found.decided_by)}.",
            hint=f"Ask again: featurestore promote {found.id} --to {found.alias}",
        )
    return found


def decide(
    connection: Connection, project: str, number: int, state: str, by: tuple[str, ...], *, decided_at: int | None
) -> Promotion:
    """Enter who has approved so far, or what was decided."""
    decided = {"state": state, "decided_at": decided_at, "decided_by": json.dumps(by)}
    connection.execute(update(schema.promotions).filter_by(project=project, number=number).values(**decided))
    return find(connection, project, number)


def check_approver(connection: Connection, project: str, promotion: Promotion, who: str) -> None:
    """Raise RegistryError unless somebody may approve: one who is verified, and is not judging their own work."""
    what = f"{who} cannot approve promotion {promotion.number} of {promotion.id}"
    if not is_verified(who) or registered_keys(connection).get(who) is None:
        raise RegistryError(
            f"{what}: who that is has not been verified.",
            hint="featurestore identity create NAME, have its key added (featurestore identity add), "
            "then export FEATURESTORE_IDENTITY=NAME.",
        )
    roles = [(promotion.requested_by, "they asked for it")]
    made_by = authors(connection, project, promotion.service, promotion.version)
    roles += [(author, "the version is theirs") for author in made_by]
    roles += [(one, "they have approved it already") for one in promotion.decided_by]
    for other, reason in roles:
        if _same_person(who, other):
            raise RegistryError(f"{what}: {reason}.", hint="Somebody else has to.")


def in_standing(connection: Connection, names: Collection[str]) -> tuple[str, ...]:
    """Return those of some identities that were not revoked: a key that was stolen may have approved as well."""
    known = registered_keys(connection)
    return tuple(name for name in names if known.get(name) is not None)


def authors(connection: Connection, project: str, service: str, version: int) -> tuple[str, ...]:
    """Return who applied a version here, and who did where it was transferred from."""
    key = {"project": project, "name": service, "version": version}
    found = [connection.execute(select(schema.versions.c.applied_by).filter_by(**key)).scalar_one()]
    query = select(schema.audit.c.details).filter_by(project=project, action=TRANSFER, object=f"{service}@{version}")
    for details in connection.execute(query).scalars():
        found += json.loads(details).get("authors", [])
    return tuple(dict.fromkeys(found))


def _same_person(one: str, other: str) -> bool:
    # "ada@laptop (unverified)" may well be ada, or Ada: somebody who applies without a key and approves with it is one.
    name = other if is_verified(other) else other.partition("@")[0]
    return one.casefold() == name.casefold()


def _promotion(row: Row[Any]) -> Promotion:
    return Promotion(
        number=row.number,
        service=row.service,
        version=row.version,
        alias=row.alias,
        share=row.share,
        state=row.state,
        requested_at=values.instant(row.requested_at),
        requested_by=row.requested_by,
        decided_at=None if row.decided_at is None else values.instant(row.decided_at),
        decided_by=tuple(json.loads(row.decided_by or "[]")),
    )
