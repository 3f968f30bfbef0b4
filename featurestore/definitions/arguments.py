"""What may be given as an argument of a definition: a list where a list is meant, a text where a text is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from featurestore.errors import DefinitionError

#: The longest time that a definition may name. Sums of it and an instant stay what every reader can hold.
LONGEST = timedelta(days=36_525)


def check_list(value: object, what: str, argument: str) -> tuple[Any, ...]:
    """Return the members of a list, tuple or other ordered collection.

    Args:
        value: what was given.
        what: the object, to begin the message: ``Feature view "weather"``.
        argument: the argument's name.

    Raises:
        DefinitionError: it is one object, a text (which Python would take apart), a set (which has no order) or None.
    """
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, bytearray, Mapping, set, frozenset)):
        return tuple(value)
    if value is None or isinstance(value, (Mapping, set, frozenset)):
        shown = "..."
    elif isinstance(value, str):
        shown = f'"{value}"'
    else:
        shown = str(getattr(value, "name", None) or repr(value))
    given = "None" if value is None else f"one {'text' if isinstance(value, str) else type(value).__name__}"
    raise DefinitionError(f"{what} has {given} as its {argument}, not a list.", hint=f"Write {argument}=[{shown}].")


def check_mapping(value: object, what: str, argument: str) -> dict[str, str]:
    """Return a copy of a mapping of texts to texts.

    Raises:
        DefinitionError: it is something else, or a name or a value in it is no text.
    """
    if not isinstance(value, Mapping):
        raise DefinitionError(
            f"{what} has {argument}={value!r}, which is not a dict.", hint=f'Write {argument}={{"name": "..."}}.'
        )
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise DefinitionError(
                f"{what} has {name!r}: {text!r} in its {argument}; both are texts.",
                hint=f'Write {argument}={{"{name}": "{str(text).lower()}"}}.',
            )
    return dict(value)


def check_text(value: object, what: str, argument: str) -> None:
    """Raise :class:`DefinitionError` if a value is not a text."""
    if not isinstance(value, str):
        raise DefinitionError(
            f"{what} has {argument}={value!r}, which is not a text.", hint=f'Write {argument}="...", or leave it out.'
        )


def check_flag(value: object, what: str, argument: str) -> None:
    """Raise :class:`DefinitionError` if a value is neither True nor False."""
    if not isinstance(value, bool):
        raise DefinitionError(
            f"{what} has {argument}={value!r}, which is neither True nor False.", hint=f"Write {argument}=True."
        )


def is_number(value: object) -> bool:
    """Return whether a value is an integer or a float; a truth value is neither."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_duration(value: object, what: str, argument: str, *, least: timedelta, hint: str) -> None:
    """Raise :class:`DefinitionError` if a value is not a timedelta between ``least`` and :data:`LONGEST`.

    Args:
        value: what was given.
        what: the object, to begin the message.
        argument: the argument's name.
        least: the shortest that is allowed.
        hint: what to do about one that is too short or too long.
    """
    if not isinstance(value, timedelta):
        example = value if is_number(value) else 3600
        raise DefinitionError(
            f"{what} has {argument}={value!r}, which is not a timedelta.",
            hint=f"Write a timedelta: {argument}=timedelta(seconds={example}).",
        )
    if not least <= value <= LONGEST:
        raise DefinitionError(f"{what} has {argument}={value!r}.", hint=hint)
