"""The client of the monitor's port: retraining signals as they come, and what becomes of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from featurestore.client.faults import GONE, Fault, closed, error_of
from featurestore.client.target import Target, TokenSource
from featurestore.errors import InvalidRequestError, ServerUnavailableError
from featurestore.v1 import signals_pb2 as pb

_WATCH = "/featurestore.v1.RetrainingService/WatchSignals"
_ACKNOWLEDGE = "/featurestore.v1.RetrainingService/AcknowledgeSignal"
#: The first pause before a stream that broke is begun anew, doubled each time, and the longest: in seconds.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
#: What a receiver may say.
_STATES = ("ACCEPTED", "RUNNING", "DONE", "FAILED")


class SignalClient:
    """Watches retraining signals, and says what became of them; for any number of threads.

    Args:
        addresses: ``host:port`` of the monitor, or of several of which one leads.
        timeout: seconds that an acknowledgement may take, with all of its attempts.
        tls: whether calls are encrypted; by default if ``ca`` or ``certificate`` is given.
        ca: a PEM file of who may have signed the monitor's certificate.
        certificate: a PEM file of this client's certificate, for monitors that ask for one.
        key: a PEM file of its private key.
        token: sent with each call: the token, a :class:`~pathlib.Path` of its file, or a function that returns it.

    Raises:
        ConfigError: an address is none, a file cannot be read, or a token would cross the network unencrypted.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout: float = 30.0,
        tls: bool | None = None,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        token: TokenSource | None = None,
    ) -> None:
        self._target = Target(addresses, connections=1, tls=tls, ca=ca, certificate=certificate, key=key, token=token)
        self._channels = [channel for _, channel in self._target.open(grpc)]
        self._timeout = timeout
        self._closed = threading.Event()

    def close(self) -> None:
        """Close the connections; those who watch are told so."""
        self._closed.set()
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> SignalClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def watch(self, *, after: int = 0, services: Sequence[str] = ()) -> Iterator[pb.WatchSignalsResponse]:
        """Yield every event after a cursor, and then each new one, for ever.

        While the monitor is away, it is waited for: then the stream goes on where it broke off, without a loss and
        without a repetition. What was yielded last is only known to the caller: keep its ``cursor`` when the event is
        dealt with, and begin there the next time.

        Args:
            after: the cursor of the last event that was dealt with; 0 for all that are kept.
            services: only signals of these: ``flight_delay``, or ``flight_delay@2``; none for all.

        Raises:
            InvalidRequestError: the cursor is of another database of the monitor.
            UnauthenticatedError: the monitor does not know the token; PermissionDeniedError: it may not do this.
            LimitExceededError: too many watch already.
            ServingError: the client was closed.
        """
        pause = _FIRST_PAUSE
        for channel in cycle(self._channels):
            asked = pb.WatchSignalsRequest(after=after, services=services)
            try:
                method = channel.unary_stream(_WATCH, response_deserializer=pb.WatchSignalsResponse.FromString)
                for event in method(asked.SerializeToString(), metadata=self._target.metadata()):
                    after, pause = event.cursor, _FIRST_PAUSE
                    yield event
            except grpc.RpcError as error:
                self._check(Fault.of(error), "WatchSignals")
            except ValueError:  # all that gRPC says of a channel that was closed
                raise closed(str(self._target)) from None
            if self._closed.wait(_by_chance(pause)):
                raise closed(str(self._target))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def acknowledge(
        self, signal: str, state: str, *, reason: str = "", dataset: str = "", model: str = ""
    ) -> pb.AcknowledgeSignalResponse:
        """Say what became of a signal; saying the same twice is saying it once.

        Args:
            signal: its id.
            state: ``ACCEPTED``, ``RUNNING``, ``DONE`` or ``FAILED``.
            reason: why, in a sentence.
            dataset: what was made for it: ``delays@2``.
            model: what was trained: ``flight_delay_ridge@2``.

        Raises:
            InvalidRequestError: the state is none of these, or there is no such dataset or model.
            ObjectNotFoundError: there is no such signal.
            SignalStateError: it cannot go there from where it is: it was rejected, or is done.
            ServerUnavailableError: no monitor answers in time.
            UnauthenticatedError: the monitor does not know the token; PermissionDeniedError: it may not do this.
        """
        if state not in _STATES:
            raise InvalidRequestError(f'"{state}" is no state.', hint=f"Say {', '.join(_STATES)}.", field="state")
        said = pb.AcknowledgeSignalRequest(
            id=signal, state=f"SIGNAL_STATE_{state}", reason=reason, dataset=dataset, model=model
        )
        ends, pause = time.monotonic() + self._timeout, _FIRST_PAUSE
        for channel in cycle(self._channels):
            try:
                method = channel.unary_unary(
                    _ACKNOWLEDGE, response_deserializer=pb.AcknowledgeSignalResponse.FromString
                )
                left = max(0.0, ends - time.monotonic())
                answer: pb.AcknowledgeSignalResponse = method(
                    said.SerializeToString(), metadata=self._target.metadata(), timeout=left
                )
                return answer
            except grpc.RpcError as error:
                fault = Fault.of(error)
                self._check(fault, "AcknowledgeSignal")
                if time.monotonic() + pause > ends:
                    raise self._away(fault) from None
            except ValueError:
                raise closed(str(self._target)) from None
            if self._closed.wait(_by_chance(pause)):
                break
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise closed(str(self._target))

    def _check(self, fault: Fault, method: str) -> None:
        """Return if it may help to try again; raise what is to be said otherwise."""
        if self._closed.is_set():
            raise closed(str(self._target)) from None
        if fault.code not in GONE:
            raise self._error(fault, method) from None

    def _error(self, fault: Fault, method: str) -> Any:
        return error_of(
            fault, method=method, where=str(self._target), seconds=self._timeout, secured=self._target.secured
        )

    def _away(self, fault: Fault) -> ServerUnavailableError:
        if fault.hint:  # it answers, and cannot do what was asked
            return ServerUnavailableError(fault.message, hint=fault.hint)
        return ServerUnavailableError(
            f"No monitor answers at {self._target}{' over TLS' if self._target.secured else ''}.",
            hint="Start one: featurestore monitor start. Its port is that of [signals] in featurestore.toml.",
        )


def _by_chance(pause: float) -> float:
    """Return a pause of which half is by chance: those who watch do not all come back at once."""
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
