"""What is said of one store's format, and the step that changes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points

from featurestore.config import Config
from featurestore.errors import FeatureStoreError

#: Where packages name their steps: a function that returns some, in their order.
GROUP = "featurestore.upgrades"


class State(StrEnum):
    """How a store's format stands to this release's.

    ``unseen`` is what only an upgraded registry can tell of; ``older`` is read and added to as it is; ``behind`` waits
    for an upgrade; ``newer`` is a neighbouring release's, which this one may use; and ``fault`` is what this release
    cannot use, or could not look at.
    """

    absent = "absent"
    unseen = "unseen"
    current = "current"
    older = "older"
    behind = "behind"
    newer = "newer"
    fault = "fault"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A store, looked at.

    Attributes:
        store: its name: ``registry``.
        state: how it stands.
        found: its format, or formats; "" if there is nothing yet, or it cannot be told.
        format: what this release writes.
        what: in one sentence, what that means, and for ``behind`` what an upgrade will do.
        hint: what to do about a fault.
    """

    store: str
    state: State
    found: str = ""
    format: str
    what: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A store, as an upgrade meets it.

    Attributes:
        store: its name.
        format: what this release writes.
        look: says what is found; it changes nothing, and makes nothing that is not there. An error of ours that it
            raises is a fault.
        upgrade: changes what is ``behind``, at once or so that it can be done again; None where nothing ever is.
    """

    store: str
    format: str
    look: Callable[[Config], Stored]
    upgrade: Callable[[Config], None] | None = None

    def looked_at(self, config: Config) -> Stored:
        """Look, and return an error as a fault."""
        try:
            return self.look(config)
        except FeatureStoreError as error:
            return Stored(store=self.store, state=State.fault, format=self.format, what=error.message, hint=error.hint)

    def absent(self) -> Stored:
        """Return that there is nothing yet."""
        return Stored(store=self.store, state=State.absent, format=self.format, what="there is nothing yet")

    def current(self, what: str = "nothing to do") -> Stored:
        """Return that it is of this release's format."""
        return Stored(store=self.store, state=State.current, found=self.format, format=self.format, what=what)


def all_steps(own: Sequence[Step]) -> list[Step]:
    """Return our steps, and behind them those of packages that are installed, by name."""
    entries = sorted(entry_points(group=GROUP), key=lambda one: one.name)
    return [*own, *(step for entry in entries for step in entry.load()())]
