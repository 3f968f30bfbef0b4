"""A load test from its first process to its result."""

from __future__ import annotations

import ipaddress
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from featurestore.errors import (
    ConfigError,
    FeatureStoreError,
    InvalidRequestError,
    ObjectNotFoundError,
    ServerUnavailableError,
    ServingError,
)
from featurestore.loadtest.result import About, Result, judged
from featurestore.loadtest.sending import Endpoint, Failure, Job, Progress, work
from featurestore.loadtest.tally import Tally
from featurestore.loadtest.targets import Target

#: From the last sender that is ready to the first request.
_LEAD_SECONDS = 0.1
#: What a sender may take beyond its schedule and its timeout.
_EXIT_SECONDS = 10.0

#: Is told a few times a second: the seconds since the first request, and how far all senders together are.
Watch = Callable[[float, Progress], None]


def check_address(address: str, *, allow_remote: bool) -> str:
    """Return the address of a server that may be put under load.

    Args:
        address: ``host:port``.
        allow_remote: whether it may be another machine's.

    Raises:
        ConfigError: it is no address, or another machine's and that is not allowed.
    """
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigError(f'--server "{address}" is no address.', hint="Write it as 127.0.0.1:6566.")
    if allow_remote:
        return address
    try:
        found = {one[4][0] for one in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)}
    except OSError as error:
        raise ConfigError(f'--server "{address}": {host} has no address: {error.strerror}.') from None
    if not all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found):
        raise ConfigError(
            f"{address} is not on this machine, and a load test takes a server's time from whoever else it serves.",
            hint="If it is yours to load: --allow-remote.",
        )
    return address


def run_loadtest(
    job: Job, targets: Sequence[Target], about: About, *, processes: int, watch: Watch | None = None
) -> Result:
    """Send the requests of a job from several processes, and return what became of them.

    Ctrl-C ends it early, with the result so far; a second one ends it at once.

    Args:
        job: of all senders; each gets its part of it.
        targets: what has to be reached.
        about: what the result says of the test.
        processes: senders.
        watch: is told how far it is.

    Raises:
        ServerUnavailableError: no server answers at the address.
        ObjectNotFoundError: it does not know the service.
        InvalidRequestError: it refuses the first request.
        ServingError: it answers it with another status, or a sender died.
        KeyboardInterrupt: a second Ctrl-C, or one before the first request.
    """
    with _senders(job, processes) as lines:
        for line in lines:
            _await_ready(line, job.endpoint)
        begin = time.monotonic() + _LEAD_SECONDS
        for line in lines:
            line.send(begin)
        tally, interrupted_at = _collected(lines, job, begin, watch)
    seconds = job.schedule.seconds if interrupted_at is None else min(interrupted_at - begin, job.schedule.seconds)
    return judged(
        tally, job.schedule, targets, about, seconds=max(seconds, 0.0), interrupted=interrupted_at is not None
    )


@contextmanager
def _senders(job: Job, processes: int) -> Iterator[list[Connection]]:
    # Spawned, not forked: gRPC does not survive a fork.
    context = multiprocessing.get_context("spawn")
    started: list[tuple[BaseProcess, Connection]] = []
    share = max(1, job.outstanding // processes)
    # A sender inherits that Ctrl-C is not for it: it is told to stop, so that it gives what it has counted.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for part in range(processes):
            ours, theirs = context.Pipe()
            mine = replace(job, part=part, parts=processes, outstanding=share)
            process = context.Process(target=work, args=(mine, theirs), name="load-sender", daemon=True)
            process.start()
            theirs.close()
            started.append((process, ours))
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield [line for _, line in started]
    finally:
        for sender, line in started:
            line.close()  # which stops it, should it be at work
            sender.join(0.5)
            if sender.is_alive():
                sender.kill()
                sender.join()


def _await_ready(line: Connection, endpoint: Endpoint) -> None:
    said = _received(line)
    if isinstance(said, Failure):
        raise _refusal(said, endpoint.address)


def _received(line: Connection) -> Progress | Failure | Tally:
    try:
        said: Progress | Failure | Tally = line.recv()
    except (EOFError, OSError):
        raise ServingError(
            "A sender of the load test ended before its work was done.", hint="What it wrote stands above."
        ) from None
    return said


def _refusal(failure: Failure, address: str) -> FeatureStoreError:
    message, _, hint = failure.message.partition("\nHint: ")
    if failure.code == "UNAVAILABLE" and not hint:
        return ServerUnavailableError(
            f"No feature server answers at {address}.",
            hint="A load test starts none: featurestore serve, in another terminal.",
        )
    kinds: dict[str, type[FeatureStoreError]] = {
        "NOT_FOUND": ObjectNotFoundError,
        "INVALID_ARGUMENT": InvalidRequestError,
    }
    kind = kinds.get(failure.code, ServingError)
    return kind(f"The server refuses the first request with {failure.code}: {message}", hint=hint)


def _collected(lines: Sequence[Connection], job: Job, begin: float, watch: Watch | None) -> tuple[Tally, float | None]:
    """Return the counts of all senders, and when somebody stopped them."""
    total = Tally(seconds=job.schedule.seconds)
    latest = {line: Progress(0, 0, 0) for line in lines}
    open_lines = list(lines)
    interrupted: float | None = None
    deadline = begin + job.schedule.seconds + 2 * job.timeout + _EXIT_SECONDS
    while open_lines:
        try:
            for line in wait(open_lines, timeout=0.5):
                assert isinstance(line, Connection)  # noqa: S101 - it waited for nothing else
                said = _received(line)
                if isinstance(said, Tally):
                    total.add(said)
                    open_lines.remove(line)
                elif isinstance(said, Progress):
                    latest[line] = said
            if time.monotonic() > deadline:
                raise ServingError(
                    "A sender of the load test does not end.",
                    hint=f"This machine has {os.cpu_count()} cores: use fewer.",
                )
            if watch is not None and interrupted is None:
                sums = Progress(*(sum(one) for one in zip(*latest.values(), strict=True)))
                watch(max(0.0, time.monotonic() - begin), sums)
        except KeyboardInterrupt:
            if interrupted is not None or time.monotonic() < begin:
                raise
            interrupted = time.monotonic()
            deadline = interrupted + job.timeout + _EXIT_SECONDS
            for line in open_lines:
                line.send("stop")
    return total, interrupted
