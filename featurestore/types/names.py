"""The type that a name stands for."""

from __future__ import annotations

import re
from functools import lru_cache

from featurestore.errors import DefinitionError, closest
from featurestore.types.table import BY_NAME, MADE, MAX_DEPTH, Array, Decimal, DType, Embedding, Struct

_TOKEN = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*|[0-9]+|[(),])")


@lru_cache(maxsize=4096)
def by_name(name: str) -> DType:
    """Return the type of that name, the inverse of :attr:`DType.name`.

    >>> by_name("Struct(a Int64, b Array(String))").fields[1]
    ('b', Array(String))

    Raises:
        DefinitionError: no type has that name.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    tokens, end = [], 0
    while match := _TOKEN.match(name, end):
        tokens.append(match.group(1))
        end = match.end()
    dtype, rest = _parse(tokens, name, 0) if end == len(name) else (None, [])
    if dtype is None or rest:
        raise _unknown(name, tokens)
    return dtype


def _parse(tokens: list[str], name: str, depth: int) -> tuple[DType, list[str]]:
    """Return the type that tokens begin with, and the tokens after it."""
    if depth > MAX_DEPTH:
        raise DefinitionError(f"A type has {MAX_DEPTH} or more others within each other.", hint="Flatten it.")
    match tokens:
        case ["Decimal", "(", precision, ",", scale, ")", *rest] if precision.isdigit() and scale.isdigit():
            return Decimal(int(precision), int(scale)), rest
        case ["Embedding", "(", size, ")", *rest] if size.isdigit():
            return Embedding(int(size)), rest
        case ["Array", "(", *rest]:
            element, rest = _parse(rest, name, depth + 1)
            if rest[:1] == [")"]:
                return Array(element), rest[1:]
        case ["Struct", *rest]:
            fields: dict[str, DType] = {}
            while rest and rest[0] == ("," if fields else "(") and len(rest) > 2 and rest[1] not in fields:
                fields[rest[1]], rest = _parse(rest[2:], name, depth + 1)
            if fields and rest[:1] == [")"]:
                return Struct(fields), rest[1:]
        case [known, *rest] if known in BY_NAME:
            return BY_NAME[known], rest
    raise _unknown(name, tokens)


def _unknown(name: str, tokens: list[str]) -> DefinitionError:
    if tokens and (written := MADE.get(tokens[0])):
        return DefinitionError(f'There is no type "{name}".', hint=f"Its parameters are missing or wrong: {written}.")
    return DefinitionError(
        f'There is no type "{name}".', hint=closest(tokens[0] if tokens else name, [*BY_NAME, *MADE.values()])
    )
