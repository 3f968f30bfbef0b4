"""Rows that come as messages of topics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from featurestore.store.pushing import Pushing
from featurestore.streaming import Fed, Kept, feed_of, quarantine_of, run_streams


class Streaming(Pushing):
    """Streams."""

    def stream(
        self, names: Collection[str] = (), *, announce: Callable[[str], None] = lambda _: None
    ) -> Mapping[str, Fed]:
        """Consume the topics of ``[streams.NAME]`` until SIGINT or SIGTERM; call it in the main thread.

        Each message is a row that is pushed, as :meth:`push` does, or is kept aside with the reason. Its offset is
        committed after that.

        Args:
            names: of the streams; none means all.
            announce: gets a line when all have begun.

        Returns:
            What became of the messages, by stream.

        Raises:
            ConfigError: there is no such stream, or its section cannot work.
            ObjectNotFoundError: a stream's view is not registered.
            DataError: a stream's view cannot be pushed to.
            AddressInUseError: another process listens on the port for metrics.
        """
        return run_streams(self.config, self._pusher, names, announce=announce)

    def quarantined_messages(self, stream: str) -> list[Kept]:
        """Return the messages that a stream keeps aside, by topic, partition and offset.

        Raises:
            OfflineStoreError: they cannot be read.
        """
        return quarantine_of(self.config).messages(stream)

    def retry_messages(self, stream: str) -> int:
        """Push the messages again that a stream keeps aside, and return how many still cannot be.

        The event times of rows tell which is newer; of two with one key and event time the one that comes now counts.

        Raises:
            ConfigError: there is no such stream.
            FeatureStoreError: as :meth:`push`; what was not pushed stays.
        """
        quarantine = quarantine_of(self.config)
        feed = feed_of(stream, self.config.stream(stream), self._pusher, quarantine)
        return quarantine.take(stream, feed.again)
