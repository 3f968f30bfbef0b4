"""Messages wait here from the transaction that decides them until a channel has taken them.

At least once: before a message is sent the database notes that it may arrive, and after its channel took it that it
did; a monitor that dies in between sends it again, under the same key. In order: of one incident and channel, only the
oldest open message may go. And only what still matters: a message that surely has not arrived is overtaken by any newer
state of its incident, and where nothing had arrived before an incident was over, nobody hears of it.
"""

from monitor.alerts.outbox.courier import Courier, DeliveryReport
from monitor.alerts.outbox.entries import Entry, MessageState, counts, disabled, listed
from monitor.alerts.outbox.replaying import Replayed, replay_dead, replay_one
from monitor.alerts.outbox.writing import enqueue, told

__all__ = [
    "Courier",
    "DeliveryReport",
    "Entry",
    "MessageState",
    "Replayed",
    "counts",
    "disabled",
    "enqueue",
    "listed",
    "replay_dead",
    "replay_one",
    "told",
]
