"""Schema: has a stream the columns that its definition gives it, and can they be read as their types?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.quality.finding import Finding, Rule, Verdict


@dataclass(frozen=True, kw_only=True)
class FoundColumn:
    """A column of a stream, over the files or batches of one window.

    Attributes:
        types: the types that it has in them, as texts; more than one where they differ.
        readable: whether every value can be read as the declared type.
        unreadable: values that cannot, of those that were looked at.
        rows: values that were looked at.
    """

    types: tuple[str, ...]
    readable: bool
    unreadable: int = 0
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a stream.

    Attributes:
        stream: a service version, or another stream's name.
        expected: the declared type of each column, as text.
        optional: columns that may be there or not.
        found: those that are there.
        views: the stored views that each column comes from.
    """

    stream: str
    expected: Mapping[str, str]
    optional: frozenset[str] = frozenset()
    found: Mapping[str, FoundColumn]
    views: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def schema_change(columns: Columns) -> tuple[Finding, ...]:
    """Return a finding for each column that is missing, and for each that nobody declared; one that is ok otherwise.

    A missing column is ``severe``: all that reads the stream takes its values for nulls.
    """
    if not columns.found:
        said = f"{columns.stream} has no file in this window, so its columns are not known."
        return (_of_stream(columns, "not enough data", said),)
    missing = [name for name in columns.expected if name not in columns.found and name not in columns.optional]
    extra = [name for name in columns.found if name not in columns.expected and name not in columns.optional]
    if not missing and not extra:
        said = f"{columns.stream} has the {len(columns.found)} columns of its definition."
        return (_of_stream(columns, "ok", said),)
    return (
        *(_column(columns, name, "severe", _missing(columns, name)) for name in missing),
        *(_column(columns, name, "drift", _extra(columns, name)) for name in extra),
    )


def _missing(columns: Columns, name: str) -> str:
    return (
        f'{columns.stream} has no column "{name}" any more; its definition declares it as {columns.expected[name]}. '
        "Its values count as nulls. Look which release writes the stream, and by which definition."
    )


def _extra(columns: Columns, name: str) -> str:
    return (
        f'{columns.stream} has a column "{name}", which its definition has not. It is not watched. Apply the '
        "definition that declares it, or look who writes it."
    )


def type_change(columns: Columns) -> tuple[Finding, ...]:
    """Return a finding for each column with another type than was declared; one that is ok where there is none.

    A column with values that cannot be read as the declared type is ``severe``; one that can be read is ``drift``.
    """
    if not columns.found:
        return ()
    changed = [
        (name, found)
        for name, found in columns.found.items()
        if name in columns.expected and (not found.readable or set(found.types) != {columns.expected[name]})
    ]
    if not changed:
        said = f"The columns of {columns.stream} have the types of its definition."
        return (_of_stream(columns, "ok", said, rule="type_change"),)
    return tuple(_changed(columns, name, found) for name, found in changed)


def _changed(columns: Columns, name: str, one: FoundColumn) -> Finding:
    types = " and ".join(one.types)
    if one.readable:
        said = f"All values that were looked at can be read as {columns.expected[name]}."
    else:
        said = f"{one.unreadable:,} of {one.rows:,} values cannot be read as {columns.expected[name]}."
    return _column(
        columns,
        name,
        "drift" if one.readable else "severe",
        f'Column "{name}" of {columns.stream} is {types} now, and {columns.expected[name]} in its definition. {said} '
        "Look which release writes the stream, and what has changed in the source.",
        rule="type_change",
    )


def _of_stream(columns: Columns, verdict: Verdict, said: str, *, rule: Rule = "schema_change") -> Finding:
    return Finding(
        rule=rule,
        kind="service",
        subject=columns.stream,
        verdict=verdict,
        sentence=said,
    )


def _column(columns: Columns, name: str, verdict: Verdict, said: str, *, rule: Rule = "schema_change") -> Finding:
    return Finding(
        rule=rule,
        kind="column",
        subject=name,
        verdict=verdict,
        sentence=said,
        views=columns.views.get(name, ()),
    )
