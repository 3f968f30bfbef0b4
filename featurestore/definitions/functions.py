"""The Python function of an on-demand view: its text, its packages, and examples of what it gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featurestore import types
from featurestore.definitions.arguments import check_list
from featurestore.definitions.field import Field
from featurestore.definitions.function_source import function_source, normalised
from featurestore.definitions.literals import check_literal, from_json, to_json
from featurestore.errors import DefinitionError, closest

_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class PythonFunction:
    """A function over a batch of rows, kept as text.

    Attributes:
        source: one ``def``, from its first column. It is part of the hash, comments and all.
        packages: names of the distributions that it imports, in order; part of the hash.
        examples: rows, each with values of inputs and request fields (null where one is left out) and the value of
            each feature that the function gives for them. They prove the function and change no value, so they are
            no part of the hash.
    """

    source: str
    packages: tuple[str, ...]
    examples: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        packages: Sequence[str],
        examples: Sequence[Mapping[str, Any]],
        what: str,
    ) -> PythonFunction:
        """Return a function as it is kept.

        Raises:
            DefinitionError: it cannot run, or not repeatably, by its text alone (see :mod:`.function_source`); or a
                package is no plain name.
        """
        names = tuple(sorted({_distribution(one, what) for one in check_list(packages, what, "packages")}))
        return cls(
            source=function_source(function, names, what),
            packages=names,
            examples=tuple(check_list(examples, what, "examples")),
        )

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        return {"source": self.source, "packages": list(self.packages)}


def checked_examples(
    examples: Iterable[Any], given: Sequence[Field], results: Sequence[Field], what: str
) -> tuple[dict[str, Any], ...]:
    """Return examples with each value in the form of its type (:mod:`featurestore.definitions.literals`).

    Raises:
        DefinitionError: there is none, or one is no dict, names an unknown column, lacks a result, or has a value
            that is not of its column's type.
    """
    columns = _dtypes([*given, *results])
    checked = []
    for number, example in enumerate(examples, 1):
        which = f"Example {number} of {_lower(what)}"
        if not isinstance(example, Mapping):
            raise DefinitionError(f"{which} is {example!r}, not a dict.", hint="Give column and value pairs.")
        for name in example:
            if name not in columns:
                raise DefinitionError(
                    f'{which} has "{name}", which is neither an input, a request field nor a feature of it.',
                    hint=closest(str(name), columns),
                )
        for one in results:
            if one.name not in example:
                raise DefinitionError(
                    f'{which} does not say which "{one.name}" is right.', hint=f'Add "{one.name}": ... to it.'
                )
        checked.append(
            {
                name: None if value is None else check_literal(value, columns[name], f'"{name}" in {_lower(which)}')
                for name, value in example.items()
            }
        )
    if not checked:
        example = ", ".join(f'"{name}": ...' for name in columns)
        raise DefinitionError(
            f"{what} has no example of what its function gives.", hint=f"Add examples=[{{{example}}}]."
        )
    return tuple(checked)


def examples_to_json(examples: Iterable[Mapping[str, Any]], fields: Iterable[Field]) -> list[dict[str, Any]]:
    """Return examples as JSON values."""
    columns = _dtypes(fields)
    return [
        {name: None if value is None else to_json(value, columns[name]) for name, value in example.items()}
        for example in examples
    ]


def examples_from_json(examples: Iterable[Mapping[str, Any]], fields: Iterable[Field]) -> tuple[dict[str, Any], ...]:
    """Return the examples that :func:`examples_to_json` came from."""
    columns = _dtypes(fields)
    return tuple(
        {name: None if value is None else from_json(value, columns[name]) for name, value in example.items()}
        for example in examples
    )


def _dtypes(fields: Iterable[Field]) -> dict[str, types.DType]:
    """Return the type of each field by its name."""
    return {one.name: one.dtype for one in fields}


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _distribution(name: Any, what: str) -> str:
    if not isinstance(name, str) or not _DISTRIBUTION.fullmatch(name):
        raise DefinitionError(
            f"{what} has {name!r} among its packages, which is no name of one.",
            hint="Give plain names, without versions: the examples tell where a version computes something else.",
        )
    return normalised(name)
