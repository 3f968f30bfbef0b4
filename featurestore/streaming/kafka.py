"""One consumer of a topic of Kafka (extra ``kafka``): reads, has the messages pushed, and only then commits.

A consumer may die at any point, and another one, here or on another host, goes on from what was committed. What had
been pushed and not committed comes again then. On the host that pushed it the push log knows it (see
:mod:`featurestore.pushing.origins`), and it is passed over; elsewhere it is pushed once more, under the same key and
event time, of which lookups and joins see one.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from featurestore.errors import ConfigError, FeatureStoreError
from featurestore.settings.streams import StreamConfig
from featurestore.streaming.access import access
from featurestore.streaming.feeding import Fed, Feed
from featurestore.streaming.messages import Message
from featurestore.streaming.standing import Standing

#: How long a fetch waits for messages; also how long a signal may wait to be heard.
_WAIT_MS = 500
#: How often it is asked how far the partitions reach, which also tells whether a broker is there.
_MEASURE_SECONDS = 5.0
_BACKOFF_SECONDS = (0.2, 30.0)
#: How long a consumer has to leave its group.
_FAREWELL_SECONDS = 5.0

_log = structlog.get_logger("featurestore.streaming")


class KafkaStream:
    """Consumes one topic as a member of a group.

    Args:
        feed: pushes the messages.
        config: the stream's section, with its secrets read.
        group: the consumer group.
        origins: what the push log has of each origin.
        standing: is told how far this has come.

    Raises:
        ConfigError: the section cannot work, or the extra ``kafka`` is not installed.
    """

    def __init__(
        self,
        feed: Feed,
        config: StreamConfig,
        group: str,
        origins: Callable[[], Mapping[str, tuple[int, int]]],
        standing: Standing,
    ) -> None:
        self._feed = feed
        self._config = config
        self._group = group
        self._origins = origins
        self._standing = standing
        self._library = library()
        self._access = access(feed.name, config)
        # Another cluster may have a topic of the same name.
        self._far_side = hashlib.sha256("\n".join([*sorted(config.servers), group]).encode()).hexdigest()[:16]
        self._told = _Told(feed.name)
        self._backoff = _Backoff()
        self._committed: dict[Any, int] = {}
        self._busy = asyncio.Lock()
        self._leaving = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; the messages at hand are finished first, unless a store does not take them.

        A broker that is away is tried again, ever more slowly, and so is a store.
        """
        while not stop.is_set():
            try:
                async with self._consumer() as consumer:
                    # Whoever joins a group waits for all others, and for a coordinator that may be long away.
                    if await _unless(stop, consumer.start()):
                        await self._consume(consumer, stop)
            except (self._library.errors.KafkaError, OSError, TimeoutError) as error:
                self._standing.connected(so=False)
                self._told.trouble(self._reason(error), hint="It is tried again.")
                await self._backoff.wait(stop)
            except Exception:  # noqa: BLE001 - what is unforeseen must end neither this stream nor the others
                self._standing.connected(so=False)
                _log.exception("stream failed", stream=self._feed.name)
                await self._backoff.wait(stop)
        self._standing.connected(so=False)

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Any]:
        session = int(self._config.session_seconds * 1_000)
        consumer = self._library.AIOKafkaConsumer(
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset=self._config.start,
            isolation_level="read_committed",
            session_timeout_ms=session,
            heartbeat_interval_ms=max(session // 10, 100),
            rebalance_timeout_ms=session,
            # Who joins is answered when all others have, or the rebalance is over.
            request_timeout_ms=session + int(self._config.timeout_seconds * 1_000),
            **self._access,
        )
        consumer.subscribe([self._config.topic], listener=_listener(self._library, self._revoked))
        try:
            yield consumer
        finally:
            self._committed.clear()
            with suppress(TimeoutError, self._library.errors.KafkaError, OSError):
                await asyncio.wait_for(consumer.stop(), _FAREWELL_SECONDS)

    async def _consume(self, consumer: Any, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        measure_at = clock()
        while not stop.is_set():
            found = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=self._config.batch_rows)
            if found:
                async with self._busy:
                    await self._take(consumer, found, stop)
            if clock() >= measure_at and not stop.is_set():
                await self._measure(consumer)
                measure_at = clock() + _MEASURE_SECONDS

    async def _take(self, consumer: Any, found: Mapping[Any, Sequence[Any]], stop: asyncio.Event) -> None:
        messages: list[Message] = []
        origins: dict[str, tuple[int, int]] = {}
        ends: dict[Any, int] = {}
        repeated = 0
        for partition, records in found.items():
            if partition not in self._committed:
                self._committed[partition] = await self._begin(consumer, partition, records[0].offset)
            begin, end = self._committed[partition], records[-1].offset + 1
            fresh = [_message(one) for one in records if one.offset >= begin]
            repeated += len(records) - len(fresh)
            messages += fresh
            if fresh:
                origins[self._origin(partition)] = (begin, end)
                ends[partition] = end
        self._standing.fed(Fed(read=repeated, repeated=repeated))
        if not messages:
            return

        async def feed() -> Fed:
            return await asyncio.to_thread(self._feed, messages, origins)

        fed = await self._until_done(feed, FeatureStoreError, stop)
        if fed is None:  # nothing was pushed, and nothing is committed: somebody reads them again
            return
        self._standing.fed(fed)
        await self._commit(consumer, ends, stop)

    async def _begin(self, consumer: Any, partition: Any, first: int) -> int:
        """Return the offset from which messages of a partition are new; what is before it is pushed and committed."""
        committed = await consumer.committed(partition)
        if committed is None:
            # Said before the first push: so a topic that was made anew is never taken for what it was before.
            await consumer.commit({partition: first})
            return first
        try:
            known = await asyncio.to_thread(self._origins)
        except FeatureStoreError as error:
            self._told.trouble(error.message, hint=error.hint)
            return int(committed)
        begin, end = known.get(self._origin(partition), (0, 0))
        # Only what was pushed last and not committed: who has set the group's offsets back wants messages once more.
        if not begin <= committed < end or end > consumer.highwater(partition):
            return int(committed)
        await consumer.commit({partition: end})
        return end

    async def _commit(self, consumer: Any, ends: Mapping[Any, int], stop: asyncio.Event) -> None:
        errors = self._library.errors

        async def commit() -> bool:
            try:
                await asyncio.wait_for(consumer.commit(dict(ends)), self._config.timeout_seconds)
            except (errors.CommitFailedError, errors.IllegalGenerationError, errors.UnknownMemberIdError):
                return False  # the partitions are somebody else's by now, who reads the messages once more
            except errors.IllegalStateError:  # they were taken from us while we pushed
                return False
            return True

        if await self._until_done(commit, (errors.KafkaError, OSError, TimeoutError), stop):
            self._committed |= ends
            for partition, end in ends.items():
                self._standing.lag(partition.partition, max(0, (consumer.highwater(partition) or end) - end))

    async def _until_done(
        self,
        work: Callable[[], Awaitable[Any]],
        faults: type[Exception] | tuple[type[Exception], ...],
        stop: asyncio.Event,
    ) -> Any:
        """Do some work, again and again while it fails; None if we are to stop, or to give the partitions up."""
        backoff = _Backoff()
        while True:
            try:
                done = await work()
            except faults as error:
                self._standing.connected(so=False)
                hint = error.hint if isinstance(error, FeatureStoreError) else "It is tried again."
                self._told.trouble(self._reason(error), hint=hint)
            else:
                self._well()
                return done
            await backoff.wait(stop, self._leaving)
            if stop.is_set() or self._leaving.is_set():
                return None

    async def _measure(self, consumer: Any) -> None:
        """Note how far we are behind.

        Raises:
            KafkaError: no broker answers.
            TimeoutError: as that.
        """
        ours = list(consumer.assignment())
        lags: dict[int, int] = {}
        async with asyncio.timeout(self._config.timeout_seconds):
            ends = await consumer.end_offsets(ours) if ours else {}
            for partition in ours:
                at = self._committed.get(partition)
                if at is None:
                    at = await consumer.committed(partition)
                if at is None:
                    at = (await consumer.beginning_offsets([partition]))[partition]
                # The last fetch says it too, and better: not each broker counts here what is not in a transaction.
                lags[partition.partition] = max(0, (consumer.highwater(partition) or ends[partition]) - at)
        self._standing.lags(lags)
        if not consumer.partitions_for_topic(self._config.topic):
            self._standing.connected(so=False)
            self._told.trouble(
                f'there is no topic "{self._config.topic}" at {",".join(self._config.servers)}',
                hint="Make it, or let this user read it.",
            )
            return
        self._well()

    async def _revoked(self, revoked: Sequence[Any]) -> None:
        """Finish the messages at hand before the partitions are somebody else's."""
        self._leaving.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.session_seconds / 2), self._busy:
                    pass
        finally:
            self._leaving.clear()
        for partition in revoked:
            self._committed.pop(partition, None)

    def _well(self) -> None:
        self._standing.connected(so=True)
        self._told.well()
        self._backoff.reset()

    def _origin(self, partition: Any) -> str:
        return f"{self._far_side}/{partition.topic}/{partition.partition}"

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, FeatureStoreError):
            return error.message
        return reason_of(self._library, error, self._config)


def reason_of(library: Any, error: BaseException, config: StreamConfig) -> str:
    """Return what went wrong; of what a broker said only the name of its error."""
    errors, where = library.errors, ",".join(config.servers)
    if isinstance(error, (errors.AuthenticationFailedError, errors.SaslAuthenticationFailed)):
        return f"{where} does not accept the user or the password"
    if isinstance(error, (errors.TopicAuthorizationFailedError, errors.GroupAuthorizationFailedError)):
        return f'{where} lets us not read topic "{config.topic}", or not as this group'
    if isinstance(error, errors.UnsupportedCodecError):
        return f'topic "{config.topic}" is compressed in a way that is not installed here'
    if isinstance(error, TimeoutError):
        return f"{where} did not answer in {config.timeout_seconds:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, errors.KafkaConnectionError):
        return f"no connection to {where}"
    if isinstance(error, OSError):
        return f"no connection to {where}: {error.strerror or type(error).__name__}"
    return f"{where}: {type(error).__name__}"


class _Told:
    """Says what is wrong once, not at every attempt, and when it is over."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._said = ""

    def trouble(self, reason: str, *, hint: str) -> None:
        if reason != self._said:
            _log.error("stream waits", stream=self._stream, reason=reason, hint=hint)
        self._said = reason

    def well(self) -> None:
        if self._said:
            _log.info("stream goes on", stream=self._stream)
        self._said = ""


class _Backoff:
    """Ever longer waits, with jitter, so that many who lost one broker do not come back at one time."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self.reset()

    def reset(self) -> None:
        self._seconds = _BACKOFF_SECONDS[0]

    async def wait(self, *ends: asyncio.Event) -> None:
        """Wait, at most until one of some events is set."""
        seconds = self._seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        self._seconds = min(self._seconds * 2, _BACKOFF_SECONDS[1])
        waits = [asyncio.ensure_future(one.wait()) for one in ends]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do some work, unless we are told to stop first; return whether it was done."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            return False
        await doing
        return True
    finally:
        for one in (doing, stopping):
            one.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(doing, stopping, return_exceptions=True)


def _message(record: Any) -> Message:
    return Message(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
    )


def _listener(library: Any, revoked: Callable[[Sequence[Any]], Awaitable[None]]) -> Any:
    # Its base is the library's, which only those have who have the extra.
    class Listener(library.ConsumerRebalanceListener):  # type: ignore[misc]
        async def on_partitions_revoked(self, partitions: Sequence[Any]) -> None:
            await revoked(partitions)

        async def on_partitions_assigned(self, partitions: Sequence[Any]) -> None:
            pass

    return Listener()


def library() -> Any:
    """Return ``aiokafka``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import aiokafka
    except ImportError:
        raise ConfigError("Streams need the extra kafka.", hint="pip install 'featurestore[kafka]'") from None
    return aiokafka
