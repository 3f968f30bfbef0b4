"""What changed between two versions of a definition, as its author would name it, and what of that breaks users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from featurestore.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandFeatureView,
)
from featurestore.definitions.shared import reference_in


@dataclass(frozen=True)
class Difference:
    """One value that changed.

    Attributes:
        path: where, in the words of the definition: ``schema.temp.dtype``.
        old: the value before; None when there was none.
        new: the value after; None when there is none any more.
    """

    path: str
    old: Any
    new: Any


def describe(spec: Mapping[str, Any], notes: Mapping[str, Any], pins: Mapping[str, int]) -> dict[str, Any]:
    """Return a definition as a tree for people.

    Lists of named things become mappings by name, other definitions become references such as ``weather@2``, durations
    become text, and empty notes are left out.
    """
    shape: dict[str, Any] = {}
    for key, value in spec.items():
        if key == "name":
            continue
        if key.endswith("_us"):
            shape[key.removesuffix("_us")] = _duration(value)
        elif key == "source" and value is not None:
            shape[key] = {
                name.removesuffix("_us"): _duration(inner) if name.endswith("_us") else inner
                for name, inner in value.items()
            }
        elif key == "join_keys":
            shape[key] = dict(value)
        elif key in ("entities", "inputs"):
            shape[key] = dict(_use(one, None, one.get("use", {}), pins) for one in value)
        elif key == "features" and not all(isinstance(part, str) for part in value):
            shape[key] = dict(_use(part["view"], part.get("features"), part, pins) for part in value)
        elif key in ("schema", "request"):
            shape[key] = {
                one["name"]: {name: inner for name, inner in one.items() if name != "name"} | _present(about)
                for one, about in zip(value, notes[key], strict=True)
            }
        else:
            shape[key] = value
    return shape | _present({key: value for key, value in notes.items() if key not in shape})


def _duration(microseconds: int | None) -> str | None:
    return None if microseconds is None else str(timedelta(microseconds=microseconds))


def _use(
    spec: Mapping[str, Any], chosen: Sequence[str] | None, use: Mapping[str, Any], pins: Mapping[str, int]
) -> tuple[str, str]:
    """Return what one definition calls another, and how it uses it: ``weather@2[temp] (origin from dest)``."""
    reference = reference_in(spec)
    text = f"{reference}@{pins[reference]}" + ("" if chosen is None else f"[{', '.join(chosen)}]")
    mapped = ", ".join(f"{key} from {column}" for key, column in use.get("join_key_map", {}).items())
    return use.get("name", spec["name"]), text + (f" ({mapped})" if mapped else "")


def _present(notes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in notes.items() if value}


#: Parts that are lists in a definition, so that their order counts.
_ORDERED = ("join_keys", "entities", "inputs", "features", "schema", "request")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[Difference]:
    """Yield what differs between two trees of :func:`describe`, down to single values."""
    for key in dict.fromkeys([*old, *new]):
        where = f"{path}{key}"
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, f"{where}.")
            kept = [name for name in before if name in after]
            if where in _ORDERED and kept != [name for name in after if name in before]:
                yield Difference(f"{where} (order)", list(before), list(after))
        elif before != after:
            yield Difference(where, before, after)


def breaking(old: Definition, new: Definition) -> tuple[str, ...]:
    """Return a reason for each change that those who rely on ``old`` would not survive.

    That is a feature that goes (a new name is a feature that goes), a type that changes, and a key, entity or request
    field that comes or goes, because every caller has to send another set of columns. A request field with a default
    may be left out, so it may come; and the default may not go.
    """
    before, after = _interface(old), _interface(new)
    optional = [{one.name for one in _request(each) if one.default is not None} for each in (old, new)]
    reasons = []
    for (role, name), dtype in before.items():
        if (role, name) not in after:
            reasons.append(f'{role} "{name}" is removed')
        elif after[role, name] != dtype:
            reasons.append(f'{role} "{name}" changes from {dtype} to {after[role, name]}')
        elif role == "request field" and name in optional[0] - optional[1]:
            reasons.append(f'{role} "{name}" has no default any more')
    for role, name in after:
        may_be_left_out = role == "feature" or (role == "request field" and name in optional[1])
        if (role, name) not in before and not may_be_left_out:
            reasons.append(f'{role} "{name}" is added')
    return tuple(reasons)


def _request(definition: Definition) -> Sequence[Field]:
    return definition.request if isinstance(definition, (OnDemandFeatureView, FeatureService)) else ()


def _interface(definition: Definition) -> dict[tuple[str, str], str]:
    keys, features, request, entities = {}, [], [], []
    match definition:
        case Entity():
            keys = definition.keys
        case FeatureView():
            keys, features = definition.keys, list(definition.schema)
            entities = [entity.name for entity in definition.entities]
        case OnDemandFeatureView():
            features, request = list(definition.schema), list(definition.request)
        case FeatureService():
            keys, request = definition.keys, list(definition.request)
            features = [one for fields in definition.outputs.values() for one in fields]
    return (
        {("entity", name): "" for name in entities}
        | {("join key", name): dtype.name for name, dtype in keys.items()}
        | {("request field", one.name): one.dtype.name for one in request}
        | {("feature", one.name): one.dtype.name for one in features}
    )
