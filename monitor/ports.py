"""The ports of the monitor that works: those that another process still has are opened as soon as it lets go.

A monitor that was only stopped, as a debugger or a paused container does, keeps its ports and loses the lead. Whoever
takes over on the same host has to judge and to deliver, whether people can look at it by then or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from featurestore.errors import AddressInUseError

#: How often a port that is taken is tried again, in seconds.
_AGAIN_SECONDS = 2.0

_log = structlog.get_logger("monitor.ports")


class Served(Protocol):
    """What listens on a port."""

    def close(self) -> None:
        """Let go of the port."""
        ...


class Ports:
    """Opens ports, now and later; a context manager that closes them.

    Args:
        openers: by what a port is for; each returns what listens, or None where the settings name no port.
        clock: seconds that have passed.

    Raises:
        ConfigError: when it is entered, a port cannot be bound for another reason than that it is taken.
    """

    def __init__(
        self, openers: Mapping[str, Callable[[], Served | None]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._waiting = dict(openers)
        self._told: set[str] = set()
        self._served: list[Served] = []
        self._clock = clock
        self._next = 0.0

    def __enter__(self) -> Ports:
        try:
            self._try()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self._served:
            self._served.pop().close()

    def open(self) -> None:
        """Try again what is not open yet, if it is time.

        Raises:
            ConfigError: a port cannot be bound for another reason than that it is taken.
        """
        if self._waiting and self._clock() >= self._next:
            self._try()

    def _try(self) -> None:
        for what, opener in list(self._waiting.items()):
            try:
                found = opener()
            except AddressInUseError as error:
                if what not in self._told:
                    _log.warning(f"port for {what} is taken", error=error.message, then="it is served when it is free")
                self._told.add(what)
                continue
            del self._waiting[what]
            if found is not None:
                self._served.append(found)
            if what in self._told:
                _log.info(f"port for {what} is served now")
        self._next = self._clock() + _AGAIN_SECONDS
