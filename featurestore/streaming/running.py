"""The streams of a store as a process: a consumer for each, one page of metrics, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from featurestore.config import Config
from featurestore.errors import ConfigError
from featurestore.pushing import Pusher
from featurestore.serving.metrics.exposition import MetricsPage
from featurestore.settings.streams import StreamConfig
from featurestore.streaming.feeding import Fed, Feed
from featurestore.streaming.kafka import KafkaStream
from featurestore.streaming.quarantine import MessageQuarantine
from featurestore.streaming.standing import Standing

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def quarantine_of(config: Config) -> MessageQuarantine:
    """Return the quarantine of a store's streams."""
    return MessageQuarantine(config.path(config.streaming.path) / "quarantine")


def feed_of(name: str, stream: StreamConfig, pusher: Pusher, quarantine: MessageQuarantine) -> Feed:
    """Return what pushes the messages of a stream."""
    return Feed(name, stream, pusher, partial(quarantine.add, name, stream.view))


def run_streams(
    config: Config,
    pusher: Pusher,
    names: Collection[str] = (),
    *,
    announce: Callable[[str], None] = lambda _: None,
) -> Mapping[str, Fed]:
    """Consume topics until SIGINT or SIGTERM, in the main thread of a process; return what became of their messages.

    Args:
        config: the store's.
        pusher: takes the rows.
        names: of the streams; none means all.
        announce: gets a line when all have begun.

    Raises:
        ConfigError: there is no such stream, or its section cannot work.
        ObjectNotFoundError: a stream's view is not registered.
        DataError: a stream's view cannot be pushed to.
        AddressInUseError: another process listens on the port for metrics.
    """
    if not config.streams:
        raise ConfigError("There is no stream.", hint="Add [streams.NAME] with a view, servers and a topic.")
    if config.replay:
        raise ConfigError("A replay reads no streams.", hint="Open the store without the replay.")
    sections = {name: config.stream(name) for name in names or config.streams}
    quarantine = quarantine_of(config)
    standings = {name: Standing(name, one.topic) for name, one in sections.items()}
    for one in sections.values():
        pusher.column_types(one.view)  # what is misspelt is said now; what goes later is waited for
    pusher.flusher.start()  # also what a process that died has left

    async def consume() -> None:
        streams = [
            KafkaStream(
                feed_of(name, one, pusher, quarantine),
                one,
                one.group or f"featurestore.{config.project}.{name}",
                pusher.origins,
                standings[name],
            )
            for name, one in sections.items()
        ]
        stop = asyncio.Event()
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        announce(_line(sections, config))
        async with asyncio.TaskGroup() as group:
            for stream in streams:
                group.create_task(stream.run(stop))

    with ExitStack() as held, _handlers_put_back(), _quiet_library():
        if config.streaming.metrics_port:
            sources = [one.samples for one in standings.values()]
            section = config.streaming
            page = MetricsPage(section.metrics_host, section.metrics_port, sources, section="streaming")
            held.enter_context(closing(page))
        asyncio.run(consume())
    return {name: one.total for name, one in standings.items()}


def _line(sections: Mapping[str, StreamConfig], config: Config) -> str:
    flows = ", ".join(f"{one.topic} -> {one.view}" for one in sections.values())
    section = config.streaming
    metrics = f" Metrics at http://{section.metrics_host}:{section.metrics_port}/metrics." * bool(section.metrics_port)
    return f"Streaming {flows}.{metrics}"


@contextmanager
def _handlers_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Let the library say nothing by itself: it tells of a broker that is away at every attempt."""
    logger = logging.getLogger("aiokafka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
