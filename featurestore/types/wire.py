"""Values of Array, Embedding and Struct <-> the ``Values`` messages that carry them.

``Values`` is laid out as ``FeatureRow`` is: the elements of an array, or the fields of a struct, stand in the list of
their type, in order, zeros or empty ones in the place of nulls. How a scalar becomes a value of its list, and back, is
the caller's: the server keeps days and microseconds, the client dates and instants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

from featurestore.types.table import DType
from featurestore.v1 import serving_pb2 as pb

#: Turns a scalar that is not None: ``convert(value, dtype)``.
Convert = Callable[[Any, DType], Any]

#: What stands for a null in each list.
_PLACEHOLDERS: Mapping[str, Any] = {
    "bools": False,
    "int32s": 0,
    "int64s": 0,
    "floats": 0.0,
    "doubles": 0.0,
    "strings": "",
    "blobs": b"",
}
_LISTS = (*_PLACEHOLDERS, "nested")


def to_values(value: Any, dtype: DType, convert: Convert) -> pb.Values:
    """Return the message of a value that is not None.

    Args:
        value: a sequence for an Array or an Embedding, a mapping for a Struct; a field that it lacks is null.
        dtype: its type, which is not scalar.
        convert: gives what a list of the message holds for a scalar.

    Raises:
        ValueError: an embedding has another length or a null, or a struct a field that its type has not.
        TypeError: the value is neither a sequence nor a mapping, as it should be.
    """
    message = pb.Values()
    if dtype.fields:
        if not isinstance(value, Mapping):
            raise TypeError(f"{value!r} is no mapping")
        if not value.keys() <= dict(dtype.fields).keys():
            raise ValueError(f"{dtype} has no such field")
        members = [(value.get(name), inner) for name, inner in dtype.fields]
    else:
        assert dtype.element is not None  # noqa: S101 - it is an Array or an Embedding
        elements = _elements(value)
        if dtype.size and (len(elements) != dtype.size or any(one is None for one in elements)):
            raise ValueError(f"{dtype} has {dtype.size} numbers")
        members = list(zip(elements, repeat(dtype.element)))
    for one, inner in members:
        target = getattr(message, inner.wire)
        if inner.wire == "nested":
            target.append(pb.Values() if one is None else to_values(one, inner, convert))
        elif inner.size:
            target.extend([0.0] * inner.size if one is None else to_values(one, inner, convert).floats)
        else:
            target.append(_PLACEHOLDERS[inner.wire] if one is None else convert(one, inner))
    nulls = [place for place, (one, _) in enumerate(members) if one is None]
    if nulls:
        mask = bytearray((len(members) + 7) // 8)
        for place in nulls:
            mask[place // 8] |= 1 << place % 8
        message.nulls = bytes(mask)
    return message


def from_values(message: pb.Values, dtype: DType, convert: Convert) -> Any:
    """Return the value of a message: a list, or a dict for a Struct.

    Args:
        message: made by :func:`to_values`, here or in another language.
        dtype: the type, which is not scalar.
        convert: the inverse of that given there.

    Raises:
        ValueError: the message is not laid out as the type is.
    """
    counts = dict.fromkeys(_LISTS, 0)
    if dtype.fields:
        inners = [inner for _, inner in dtype.fields]
        for inner in inners:
            counts[inner.wire] += inner.size or 1
    else:
        assert dtype.element is not None  # noqa: S101 - it is an Array or an Embedding
        width = dtype.element.size or 1
        length = len(getattr(message, dtype.element.wire))
        if length % width or (dtype.size and (length != dtype.size or message.nulls)):
            raise ValueError(f"{dtype} has {dtype.size or width} numbers")
        inners = [dtype.element] * (length // width)
        counts[dtype.element.wire] = length
    if any(len(getattr(message, name)) != count for name, count in counts.items()):
        raise ValueError(f"the values are not laid out as {dtype}")
    if dtype.element is not None and dtype.element.scalar and not message.nulls:
        return [convert(one, dtype.element) for one in getattr(message, dtype.element.wire)]
    found = read_members(message, inners, convert)
    return dict(zip((name for name, _ in dtype.fields), found, strict=True)) if dtype.fields else found


def read_members(message: pb.Values | pb.FeatureRow, dtypes: Sequence[DType], convert: Convert) -> list[Any]:
    """Return the values of a message that has one of each of these types, in order; None where it says null.

    Raises:
        ValueError: a nested message is not laid out as its type is.
    """
    nulls = message.nulls
    taken: dict[str, int] = {}
    found: list[Any] = []
    for place, dtype in enumerate(dtypes):
        first = taken.get(dtype.wire, 0)
        taken[dtype.wire] = first + (dtype.size or 1)
        if place // 8 < len(nulls) and nulls[place // 8] >> place % 8 & 1:
            found.append(None)
        elif dtype.size:
            found.append(list(message.floats[first : first + dtype.size]))
        elif dtype.wire == "nested":
            found.append(from_values(message.nested[first], dtype, convert))
        else:
            found.append(convert(getattr(message, dtype.wire)[first], dtype))
    return found


def _elements(value: Any) -> Sequence[Any]:
    """Return the elements of a list, a tuple or an array of NumPy's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (str, bytes, bytearray)) or not isinstance(value, Sequence):
        raise TypeError(f"{value!r} is no list")
    return value
