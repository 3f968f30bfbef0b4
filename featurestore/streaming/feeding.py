"""Messages into a view: each is a row that is pushed, or is set aside with the reason; there is no third.

First the messages that are no rows are kept aside, then, under the lock of the push log, rows that fail a check, and
then the others are written and served. So whoever dies in between leaves no message behind that is neither here nor
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from featurestore import types
from featurestore.errors import DataError, InvalidRequestError
from featurestore.pushing import Pusher, RejectedRow
from featurestore.pushing.json_rows import row_of, to_table
from featurestore.pushing.origins import Origins
from featurestore.settings.streams import StreamConfig
from featurestore.streaming.messages import Message, Poisoned
from featurestore.streaming.quarantine import Kept


@dataclass(frozen=True, kw_only=True)
class Fed:
    """What became of messages: read = pushed + quarantined + suppressed + repeated.

    Attributes:
        read: how many came.
        pushed: rows that are served and kept.
        quarantined: messages that are kept aside.
        suppressed: rows that were dropped, because they are of someone who was erased.
        repeated: messages that had been pushed before their consumer died, and came again.
    """

    read: int = 0
    pushed: int = 0
    quarantined: int = 0
    suppressed: int = 0
    repeated: int = 0

    def __add__(self, other: Fed) -> Fed:
        return Fed(**{name: count + getattr(other, name) for name, count in vars(self).items()})


class Feed:
    """Pushes the messages of one stream.

    Args:
        name: the stream's.
        config: its section.
        pusher: takes the rows.
        set_aside: takes the other messages; they are durable when it returns.
    """

    def __init__(
        self, name: str, config: StreamConfig, pusher: Pusher, set_aside: Callable[[Sequence[Poisoned]], None]
    ) -> None:
        self.name = name
        self.config = config
        self._pusher = pusher
        self._set_aside = set_aside

    def __call__(self, messages: Sequence[Message], origins: Origins) -> Fed:
        """Push messages, in their order.

        Args:
            messages: the messages.
            origins: which messages of each origin these are.

        Raises:
            ObjectNotFoundError: there is no such view.
            DataError: the view cannot be pushed to.
            FeatureStoreError: a store refuses. Nothing was pushed, or it does no harm to push it again.
        """
        columns = self._pusher.column_types(self.config.view)[1]
        rows, taken, bad = [], [], []
        for message in messages:
            try:
                rows.append(self._row(message, columns))
                taken.append(message)
            except InvalidRequestError as error:
                bad.append(Poisoned(message=message, reason=_printable(error.message)))
        self._set_aside(bad)
        fed = Fed(read=len(messages), quarantined=len(bad))
        if not rows:
            return fed

        def set_aside(rejected: Sequence[RejectedRow]) -> None:
            self._set_aside([Poisoned(message=taken[one.row], reason=_printable(one.reason)) for one in rejected])

        try:
            done = self._pusher.push(self.config.view, to_table(rows, columns), origins=origins, set_aside=set_aside)
        except (DataError, pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            if columns != self._pusher.column_types(self.config.view)[1]:
                return self(messages, origins)  # another version of the view has become current in between
            return fed + self._one_by_one(taken, error)
        return fed + Fed(pushed=done.accepted, quarantined=len(done.rejected), suppressed=done.suppressed)

    def again(self, kept: Sequence[Kept]) -> list[Kept]:
        """Push messages that were set aside, and return those that cannot be pushed still, with today's reasons.

        Raises:
            FeatureStoreError: as for any messages; those that were not pushed are where they were.
        """
        left: list[Poisoned] = []
        view, since = self.config.view, {one.poisoned.message.place: one.at for one in kept}
        feed = Feed(self.name, self.config, self._pusher, left.extend)
        feed([one.poisoned.message for one in kept], {})
        return [Kept(stream=self.name, view=view, poisoned=one, at=since[one.message.place]) for one in left]

    def _one_by_one(self, messages: Sequence[Message], error: Exception) -> Fed:
        """Find the messages because of which a batch is refused as a whole, and push the others."""
        if len(messages) == 1:
            reason = error.message if isinstance(error, DataError) else f"it cannot be a row: {type(error).__name__}"
            self._set_aside([Poisoned(message=messages[0], reason=_printable(reason))])
            return Fed(quarantined=1)
        total = Fed()
        middle = len(messages) // 2
        for part in (messages[:middle], messages[middle:]):
            total += self(part, {})
        return Fed(pushed=total.pushed, quarantined=total.quarantined, suppressed=total.suppressed)

    def _row(self, message: Message, columns: Mapping[str, types.DType]) -> dict[str, object]:
        if message.value is None:
            raise InvalidRequestError("It has no value: a stream takes no rows back.")
        return row_of(
            message.value,
            columns,
            ignore_others=self.config.other_fields == "ignore",
            instants=self.config.instants,
        )


def _printable(reason: str) -> str:
    """Return a reason as UTF-8 can have it: names of fields come from messages."""
    return reason.rstrip(".").encode("utf-8", "backslashreplace").decode()
