"""Which of several connections a call takes."""

from __future__ import annotations

import threading
from collections.abc import Container, Sequence
from typing import Any

#: How long an address is avoided, in seconds, after a call there failed; the others take over.
REST_SECONDS = 1.0


class Member:
    """One connection.

    Attributes:
        address: where it leads.
        channel: gRPC's.
        methods: of the channel, by path, as they are used.
        under_way: calls that it carries now.
        turn: when it was last taken.
    """

    __slots__ = ("address", "channel", "methods", "turn", "under_way")

    def __init__(self, address: str, channel: Any) -> None:
        self.address = address
        self.channel = channel
        self.methods: dict[str, Any] = {}
        self.under_way = 0
        self.turn = 0

    def unary(self, path: str) -> Any:
        """Return a method that takes one request and gives one answer, both as bytes."""
        found = self.methods.get(path)
        if found is None:
            found = self.methods[path] = self.channel.unary_unary(path)
        return found


class Pool:
    """Connections to servers that are one to their clients.

    Workers behind one port are spread by connection, so several connections reach several workers.

    Args:
        channels: with their addresses.

    Attributes:
        members: the connections.
    """

    def __init__(self, channels: Sequence[tuple[str, Any]]) -> None:
        self.members = [Member(address, channel) for address, channel in channels]
        self._rests: dict[str, float] = {}
        self._turns = 0
        self._lock = threading.Lock()

    def take(self, now: float, avoid: Container[Member] = ()) -> Member:
        """Return the connection for a call: the least busy, and of several the one that was taken longest ago.

        Args:
            now: a monotonic time in seconds.
            avoid: connections that failed this call already; one of them is taken if there is no other.
        """
        with self._lock:
            best = min(
                self.members,
                key=lambda one: (self._rests.get(one.address, now) > now, one in avoid, one.under_way, one.turn),
            )
            best.under_way += 1
            self._turns += 1
            best.turn = self._turns
            return best

    def one_each(self) -> list[Member]:
        """Return a connection to each address."""
        return list({one.address: one for one in self.members}.values())

    def give_back(self, member: Member) -> None:
        """A call of this connection has ended."""
        with self._lock:
            member.under_way -= 1

    def failed(self, member: Member, now: float) -> None:
        """The address of a connection does not answer: let it rest while others do."""
        self._rests[member.address] = now + REST_SECONDS

    def has_other(self, now: float) -> bool:
        """Return whether an address has not failed lately."""
        return any(self._rests.get(one.address, now) <= now for one in self.members)
