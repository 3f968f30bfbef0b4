"""How far a stream has come: counted by its consumer, asked for by the page of metrics. Labels hold no key."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from featurestore.serving.metrics.samples import Metric, Sample
from featurestore.streaming.feeding import Fed

_STREAM = ("stream", "topic")

READ = Metric(
    name="featurestore_stream_messages_read_total",
    help="Messages read since the process began: the sum of those of each outcome.",
    kind="counter",
    labels=_STREAM,
)
OUTCOMES = Metric(
    name="featurestore_stream_messages_total",
    help="Messages by outcome: pushed, quarantined, suppressed as of an erased key, repeated.",
    kind="counter",
    labels=(*_STREAM, "outcome"),
)
LAG = Metric(
    name="featurestore_stream_lag_messages",
    help="Messages of a partition of ours that are not committed yet.",
    kind="gauge",
    labels=(*_STREAM, "partition"),
)
CONNECTED = Metric(
    name="featurestore_stream_connected",
    help="1 while a broker answers, and the stores take what comes.",
    kind="gauge",
    labels=_STREAM,
)


class Standing:
    """Counts what a stream does. Every method may be called from any thread.

    Args:
        stream: its name.
        topic: what it reads.
    """

    def __init__(self, stream: str, topic: str) -> None:
        self._labels = (stream, topic)
        self._lock = threading.Lock()
        self._fed = Fed()
        self._lags: dict[int, int] = {}
        self._connected = False

    def fed(self, done: Fed) -> None:
        """Count messages."""
        with self._lock:
            self._fed += done

    def lag(self, partition: int, lag: int) -> None:
        """Note how many messages of one partition wait."""
        with self._lock:
            self._lags[partition] = lag

    def lags(self, lags: Mapping[int, int]) -> None:
        """Note how many messages of each of our partitions wait, and that others are not ours."""
        with self._lock:
            self._lags = dict(lags)

    def connected(self, *, so: bool) -> None:
        """Note whether all is well."""
        with self._lock:
            self._connected = so

    @property
    def total(self) -> Fed:
        """What became of all messages so far."""
        with self._lock:
            return self._fed

    def samples(self) -> Iterator[Sample]:
        """Yield how things stand."""
        with self._lock:
            fed, lags, connected = self._fed, dict(self._lags), self._connected
        yield READ.sample(fed.read, *self._labels)
        for outcome in ("pushed", "quarantined", "suppressed", "repeated"):
            yield OUTCOMES.sample(getattr(fed, outcome), *self._labels, outcome)
        for partition, lag in lags.items():
            yield LAG.sample(lag, *self._labels, str(partition))
        yield CONNECTED.sample(float(connected), *self._labels)
