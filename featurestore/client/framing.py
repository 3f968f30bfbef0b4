"""Protobuf's framing, read by hand: where the fields of a message lie in its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Place(NamedTuple):
    """One field of a message.

    Attributes:
        number: the field's.
        start: where its tag begins.
        content: where its value begins, after a length if it has one.
        end: where the value ends.
    """

    number: int
    start: int
    content: int
    end: int


def places(data: bytes, start: int = 0) -> Iterator[Place]:
    """Yield where each field of a message lies, in the order of the bytes.

    Raises:
        ValueError: the bytes are no message, or end within one.
    """
    at = start
    while at < len(data):
        tag, content = varint(data, at)
        match tag & 7:
            case 0:  # a varint
                _, end = varint(data, content)
            case 1:  # eight bytes
                end = content + 8
            case 2:  # as many bytes as are said
                length, content = varint(data, content)
                end = content + length
            case 5:  # four bytes
                end = content + 4
            case kind:
                raise ValueError(f"no field is of wire type {kind}")
        if end > len(data):
            raise ValueError("the message ends within a field")
        yield Place(tag >> 3, at, content, end)
        at = end


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number as protobuf writes lengths and tags, and where it ends.

    Raises:
        ValueError: the bytes end within it, or it has over 64 bits.
    """
    try:
        byte = data[at]
        if byte < 0x80:  # nearly all of them
            return byte, at + 1
        value = byte & 0x7F
        for place in range(1, 10):
            byte = data[at + place]
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value, at + place + 1
    except IndexError:
        raise ValueError("the message ends within a number") from None
    raise ValueError("a number has over 64 bits")
