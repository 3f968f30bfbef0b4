"""Whether a cause may become a signal now. Pure: facts go in, and a sentence that says what is in the way comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from featurestore.definitions import RetrainingPolicy
from monitor.retraining.causes import REQUEST

#: The quarter that a budget is of.
QUARTER = timedelta(days=91)

#: How long after it was sent a signal is looked after: for its training, its promotion, and all looks at whether it
#: helped. So what is looked through at each run does not grow with the years.
LOOKED_AFTER = timedelta(days=180)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something broken of which a model must not learn.

    Attributes:
        rule: what was found: ``null spike``.
        name: the incident's name for people, ``12``; "" where it has none yet.
        service: where it was found.
        features: of which.
        onset: since when.
        ended: until when; None while it is open.
    """

    rule: str
    name: str
    service: str
    features: tuple[str, ...]
    onset: datetime
    ended: datetime | None = None

    @property
    def sentence(self) -> str:
        """``incident 12 (null spike of temp) of flight_delay@1``."""
        which = f"incident {self.name}" if self.name else "an incident"
        what = self.rule.replace("_", " ")
        some = f" of {', '.join(self.features[:3])}" if self.features else ""
        return f"{which} ({what}{some}) of {self.service}"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a gate goes by, of one service and one cause.

    Attributes:
        faults: that are open on features of the service.
        gone: why the cause does not stand any more; "" while it does.
        sent: when signals of the service went out, in any order; those of the last quarter are enough.
        pending: the id of another signal of the service that waits for approval; "" for none.
        agreed: the id of another one that was approved, and is held until something is mended; "" for none.
        approved: whether a person has agreed already.
    """

    faults: Sequence[Fault] = ()
    gone: str = ""
    sent: Sequence[datetime] = ()
    pending: str = ""
    agreed: str = ""
    approved: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a gate says.

    Attributes:
        held: why the signal has to wait; "" where it does not.
        lapsed: why there is no signal at all; "" where there is one.
    """

    held: str = ""
    lapsed: str = ""

    @property
    def open(self) -> bool:
        """Whether the signal may go out."""
        return not self.held and not self.lapsed


def judge(cause: str, facts: Facts, policy: RetrainingPolicy, *, now: datetime) -> Verdict:
    """Return whether a cause may become a signal now.

    A cause that is gone lapses. While something is broken nothing goes out, whoever asks. What a person asks for, or
    has agreed to, is not refused for coming too soon or too often; it counts for those that come after it.

    Args:
        cause: what asks for it.
        facts: of the service.
        policy: how soon and how often.
        now: the wall clock.
    """
    if facts.gone:
        return Verdict(lapsed=facts.gone)
    if facts.faults:
        first, rest = facts.faults[0], len(facts.faults) - 1
        more = f" and {rest} more" if rest else ""
        return Verdict(held=f"{first.sentence}{more} is open: a model would learn the fault")
    if cause == REQUEST or facts.approved:
        return Verdict()
    if facts.pending:
        return Verdict(held=f"signal {facts.pending[:12]} waits for approval")
    if facts.agreed:
        return Verdict(held=f"signal {facts.agreed[:12]} is agreed to, and goes out first")
    recent = sorted(one for one in facts.sent if now - one < QUARTER)
    if recent and now < recent[-1] + policy.cooldown:
        until = recent[-1] + policy.cooldown
        return Verdict(held=f"the last signal went out at {_at(recent[-1])}; the next one may at {_at(until)}")
    if len(recent) >= policy.budget:
        until = recent[-policy.budget] + QUARTER
        sent = f"{len(recent)} signals went out in 91 days, of {policy.budget} allowed"
        return Verdict(held=f"{sent}; the next one may at {_at(until)}")
    return Verdict()


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
