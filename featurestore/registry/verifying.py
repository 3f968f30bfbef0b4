"""Whether the audit log is what was written: by its own hashes, and by the signed heads that exist of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from featurestore import markup
from featurestore.errors import RegistryError
from featurestore.registry import schema, signing, tokens, values
from featurestore.registry.audit import GENESIS, seal
from featurestore.registry.heads import FoundHead, Head
from featurestore.registry.identities import registered_keys
from featurestore.registry.standing import contradictions

_SHOWN = 3  # places named in a sentence; a rebuilt log may contradict thousands of heads


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not as it was written.

    Attributes:
        what: a sentence that says what, and where.
        entry: the first entry that it touches; None for what stands outside of the log.
        since: it was done later than this; None if nothing tells.
    """

    what: str
    entry: int | None = None
    since: datetime | None = None

    def __str__(self) -> str:
        return (
            self.what if self.since is None else f"{self.what} That was done after {self.since:%Y-%m-%d %H:%M:%S} UTC."
        )


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What came of checking the log.

    Attributes:
        project: the namespace.
        entries: how many there are.
        heads: how many signed heads were compared with the log.
        vouched: the newest entry that a head by a trusted key vouches for, with all before it; 0 if there is none.
        vouched_at: when that head was signed.
        vouched_by: the public key that signed it; empty if there is none.
        problems: what is not as it was written; empty if the log is intact.
        warnings: what could not be judged.
    """

    project: str
    entries: int
    heads: int
    vouched: int
    vouched_at: datetime | None
    vouched_by: str
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    def _repr_html_(self) -> str:
        """What a notebook shows: whether the log is intact, and what is not."""
        state = "is intact" if self.is_intact else "is not as it was written"
        headline = f"The audit log of {self.project} {state}: {self.entries:,} entries, {self.heads:,} heads compared."
        found = (*(str(one) for one in self.problems), *self.warnings)
        return markup.text_of(markup.element("p", headline, dir="auto"), *([markup.listed(found)] if found else []))

    @property
    def is_intact(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


@dataclass(frozen=True)
class Chain:
    """The log as it stands: hash of each entry by number, the last number, and what its own hashes show."""

    hashes: Mapping[int, str]
    last: int
    problems: tuple[Problem, ...]


def read_chain(connection: Connection, project: str) -> Chain:
    """Check the log against itself and against the head in the project's row."""
    found: list[Problem] = []
    hashes: dict[int, str] = {}
    sequence, previous, at = 0, GENESIS, None
    for row in connection.execute(select(schema.audit).filter_by(project=project).order_by(schema.audit.c.sequence)):
        if row.sequence != sequence + 1:
            found.append(_missing(sequence + 1, row.sequence - 1, at))
        elif row.previous_hash != previous:
            what = f"Entry {row.sequence} does not follow entry {sequence}: one of them was replaced or moved."
            found.append(Problem(what=what, entry=max(sequence, 1), since=at))
        if _seal(row) != row.hash:
            found.append(Problem(what=f"Entry {row.sequence} was edited.", entry=row.sequence, since=at))
        sequence, previous, at = row.sequence, row.hash, _instant(row.at)
        hashes[sequence] = previous
    head = connection.execute(select(schema.projects).filter_by(project=project)).first()
    if head is None:
        if sequence:
            found.append(Problem(what="The head of the log is missing.", since=at))
    elif sequence < head.audit_sequence:
        found.append(_missing(sequence + 1, head.audit_sequence, at))
    elif (sequence, previous) != (head.audit_sequence, head.audit_hash):
        what = f"The log ends in entry {sequence}, which is not the head that was recorded."
        found.append(Problem(what=what, entry=sequence, since=at))
    return Chain(hashes, sequence, tuple(found))


def check(
    connection: Connection,
    project: str,
    heads: Sequence[FoundHead],
    *,
    known: Collection[str],
    only_known: bool,
) -> AuditReport:
    """Check the log by its hashes and by heads, and what it vouches for: identities and datasets' manifests.

    Args:
        connection: of a transaction that reads.
        project: the namespace.
        heads: those that were found elsewhere, in any order; those in datasets' manifests come to them. Those of
            other projects are only counted.
        known: the public keys whose heads are trusted.
        only_known: whether a head by another key is a problem, and not only a warning.
    """
    chain = read_chain(connection, project)
    in_manifests, unreadable = _heads_in_manifests(connection, project)
    heads = [*heads, *in_manifests]
    problems, warnings = list(chain.problems), unreadable
    ours = [one for one in heads if one.head.project == project]
    if strangers := [one for one in heads if one.head.project != project]:
        names = ", ".join(sorted({one.head.project for one in strangers}))
        warnings.append(f"{_count(strangers)} of another project ({names}): not compared. {_places(strangers)}")
    problems += [
        Problem(what=f"The head in {one.where} was edited: its signature does not fit.")
        for one in ours
        if not one.head.is_authentic
    ]
    ours = [one for one in ours if one.head.is_authentic]
    for key in sorted({one.head.key for one in ours} - set(known)):
        theirs = [one for one in ours if one.head.key == key]
        said = f"{_count(theirs)} signed by {signing.fingerprint(key)}, which is not a known key. {_places(theirs)}"
        if only_known:
            problems.append(Problem(what=said))
        else:
            warnings.append(said)
    agreeing = [one for one in ours if _agrees(one, chain)]
    problems += _contradictions([one for one in ours if not _agrees(one, chain)], agreeing, chain)
    problems += _changed_identities(connection) + _changed_manifests(connection, project)
    if not problems:  # what a log that was edited says of the tables is worth nothing
        problems += [Problem(what=what) for what in contradictions(connection, project)]
        problems += [Problem(what=what) for what in tokens.contradictions(connection, project)]
    broken_from = min((one.entry for one in problems if one.entry is not None), default=chain.last + 1)
    vouching = [one.head for one in agreeing if one.head.key in known and 0 < one.head.sequence < broken_from]
    newest = max(vouching, key=lambda head: (head.sequence, head.at), default=None)
    return AuditReport(
        project=project,
        entries=len(chain.hashes),
        heads=len(ours),
        vouched=0 if newest is None else newest.sequence,
        vouched_at=None if newest is None else newest.at,
        vouched_by="" if newest is None else newest.key,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _agrees(found: FoundHead, chain: Chain) -> bool:
    head = found.head
    return head.hash == (chain.hashes.get(head.sequence) if head.sequence else GENESIS)


def _contradictions(against: list[FoundHead], agreeing: list[FoundHead], chain: Chain) -> list[Problem]:
    found = []
    beyond = [one for one in against if one.head.sequence > chain.last]
    within = [one for one in against if one.head.sequence <= chain.last]
    if within:
        first, last = (pick(one.head.sequence for one in within) for pick in (min, max))
        kept = max((one.head.sequence for one in agreeing if one.head.sequence < first), default=0)
        entries = (
            f"Entry {last} is not what was" if kept + 1 >= last else f"Entries {kept + 1} to {last} are not what was"
        )
        how = "" if chain.problems else " The hashes fit each other, so the log was rebuilt."
        what = f"{entries} signed.{how} {_places(within)}"
        found.append(Problem(what=what, entry=kept + 1, since=max(one.head.at for one in within)))
    if beyond:
        signed = max(one.head.sequence for one in beyond)
        what = f"The log ends in entry {chain.last}, and entry {signed} was signed: its tail was cut off."
        since = max(one.head.at for one in beyond)
        found.append(Problem(what=f"{what} {_places(beyond)}", entry=chain.last + 1, since=since))
    return found


def _changed_identities(connection: Connection) -> list[Problem]:
    """Compare the keys that prove who acts with what the logs of all projects say of them."""
    log = schema.audit.c
    query = select(schema.audit).where(log.action == "identity").order_by(log.at, log.project, log.sequence)
    said: dict[str, str | None] = {}
    for row in connection.execute(query):
        details = _json(row.details)
        said[row.object] = details.get("public_key") if details.get("change") == "add" else None
    kept = registered_keys(connection)
    return [
        Problem(what=f'The identity "{name}" is not what the log says of it: its row was changed.')
        for name in sorted(said.keys() | kept.keys())
        if said.get(name, "") != kept.get(name, "")
    ]


def _heads_in_manifests(connection: Connection, project: str) -> tuple[list[FoundHead], list[str]]:
    found: list[FoundHead] = []
    unreadable: list[str] = []
    for row in connection.execute(select(schema.datasets).filter_by(project=project)):
        where = f"dataset {row.name}@{row.version}"
        stored = _json(row.manifest).get("audit_head")
        if stored is None:  # a release that signed none made the dataset
            continue
        try:
            found.append(FoundHead(Head.from_json(stored, where), where))
        except RegistryError as error:
            unreadable.append(error.message)
    return found, unreadable


def _changed_manifests(connection: Connection, project: str) -> list[Problem]:
    """Compare the manifests of training datasets with the hashes that the log holds of them."""
    table = schema.datasets
    stored = {
        f"{row.name}@{row.version}": hashlib.sha256(row.manifest.encode()).hexdigest()
        for row in connection.execute(select(table).filter_by(project=project))
    }
    query = select(schema.audit).filter_by(project=project, action="dataset").order_by(schema.audit.c.sequence)
    found = []
    for row in connection.execute(query):
        said = _json(row.details).get("manifest_hash")
        if said is not None and stored.get(row.object) != said:
            what = f"The manifest of dataset {row.object} is not the one that was recorded."
            found.append(Problem(what=what, since=_instant(row.at)))
    return found


def _seal(row: Row[Any]) -> str:
    try:
        return seal(row._mapping)
    except TypeError:  # SQLite keeps bytes in a column of texts, if that is what somebody writes there
        return ""


def _missing(first: int, last: int, since: datetime | None) -> Problem:
    what = f"Entry {first} is missing." if first == last else f"Entries {first} to {last} are missing."
    return Problem(what=what, entry=first, since=since)


def _count(heads: Sequence[FoundHead]) -> str:
    return "One head is" if len(heads) == 1 else f"{len(heads)} heads are"


def _places(heads: Sequence[FoundHead]) -> str:
    shown = ", ".join(one.where for one in heads[:_SHOWN])
    return f"See {shown}." if len(heads) <= _SHOWN else f"See {shown} and {len(heads) - _SHOWN} more."


def _instant(stored: int) -> datetime | None:
    try:
        return values.instant(stored)
    except (OverflowError, TypeError):  # whoever edits an entry may have written anything
        return None


def _json(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:  # then the entry was edited, which its hash has shown
        return {}
    return found if isinstance(found, dict) else {}
