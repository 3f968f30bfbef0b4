"""Would a message arrive, and does every policy have somebody to tell? What is found, with what to do about it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy
from featurestore.errors import ConfigError, closest
from monitor.alerts.base import Channel, Kind, Message, Outcome, Status
from monitor.alerts.channels import open_channel
from monitor.alerts.remedies import remedy

#: How many channels are asked at once: one that does not answer takes its timeout, and not the others' too.
_THREADS = 16
_SENT, _REACHED = "took a test message", "would take a message"
_TO_DO = {
    Status.REFUSED: "The message is at fault, not the settings: tell who maintains this project.",
    Status.GONE: "Name another receiver, or remove the channel and the routes to it.",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something by which a message would not reach anyone.

    Attributes:
        about: ``channel ops``, ``policy flight_drift``.
        what: what is wrong, in one line, free of secrets.
        hint: what to do about it; "" where ``what`` says so.
    """

    about: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        said = f"{self.about}: {self.what.rstrip('.')}."
        return f"{said} {self.hint}" if self.hint else said


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check found.

    Attributes:
        channels: what was found of each channel that is in order, by name, in the order of the file.
        remarks: what is no fault and worth knowing, as sentences.
        faults: in the order of the file, channels first.
    """

    channels: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def check(
    config: Config,
    policies: Sequence[MonitorPolicy],
    *,
    disabled: Mapping[str, str],
    now: datetime,
    send: bool = False,
    only: str = "",
) -> Checked:
    """Find what stands between an alert and those whom it is for.

    Args:
        config: names the channels.
        policies: those that are registered.
        disabled: channels whose receiver wanted nothing more, and what it said.
        now: the wall clock.
        send: whether each channel gets a test message, which people see; else it is only asked.
        only: the one channel to look at; "" for all, and for the policies.

    Raises:
        ConfigError: there is no channel of that name.
    """
    if only and only not in config.channels:
        raise ConfigError(f'There is no channel "{only}" in featurestore.toml.', hint=closest(only, config.channels))
    names = [only] if only else list(config.channels)
    opened, faults = _opened(config, names)
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            found = dict(
                zip(opened, pool.map(lambda one: _asked(config, one, now, send), opened.values()), strict=True)
            )
    finally:
        for channel in opened.values():
            channel.close()
    faults += [
        Fault(about=f"channel {name}", what=one.reason, hint=_TO_DO.get(one.status) or remedy(name, one.reason))
        for name, one in found.items()
        if one.status is not Status.DELIVERED
    ]
    faults += list(_disabled(disabled, names))
    well = {name: one.reason for name, one in found.items() if one.status is Status.DELIVERED}
    remarks = [f"channel {name}: {reason}" for name, reason in well.items() if reason]
    if not only:
        faults += list(_policies(config, policies, disabled))
        remarks += [*_unused(config, policies), *_muted(config, policies)]
    said = dict.fromkeys(well, _SENT if send else _REACHED)
    return Checked(channels=said, remarks=tuple(remarks), faults=tuple(faults))


def test_message(project: str, *, now: datetime) -> Message:
    """Return a message that says that it is a test."""
    return Message(
        key=f"msg_{secrets.token_hex(16)}",
        kind=Kind.TEST,
        project=project,
        service="monitor",
        incident="",
        created_at=now,
        payload={"severity": "info"},
        severity="info",
    )


def _opened(config: Config, names: Iterable[str]) -> tuple[dict[str, Channel], list[Fault]]:
    """Open each channel by itself: one that cannot be must not hide the faults of others."""
    opened, faults = {}, []
    for name in names:
        try:
            opened[name] = open_channel(config, name)
        except ConfigError as error:
            faults.append(Fault(about=f"channel {name}", what=error.message, hint=error.hint))
        try:
            config.fallback(name)
        except ConfigError as error:
            faults.append(Fault(about=f"channel {name}", what=error.message, hint=error.hint))
    return opened, faults


def _asked(config: Config, channel: Channel, now: datetime, send: bool) -> Outcome:
    outcome = channel.probe(now=now)
    if not send or outcome.status is not Status.DELIVERED:
        return outcome
    sent = channel.deliver(test_message(config.project, now=now), now=now)
    return sent if sent.status is not Status.DELIVERED else Outcome(Status.DELIVERED, outcome.reason)


def _disabled(disabled: Mapping[str, str], names: Sequence[str]) -> Iterator[Fault]:
    for name, reason in disabled.items():
        if name in names:
            yield Fault(
                about=f"channel {name}",
                what=f"it is disabled, as its receiver wanted nothing more ({reason})",
                hint=f"When it is right again: featurestore monitor outbox replay --dead --channel {name}",
            )


def _policies(config: Config, policies: Sequence[MonitorPolicy], disabled: Mapping[str, str]) -> Iterator[Fault]:
    for policy in policies:
        about = f"policy {policy.name}"
        if not policy.routes:
            known = ", ".join(config.channels) or "none yet"
            yield Fault(
                about=about,
                what="it routes to nothing, so nobody is told of what it finds",
                hint=f"Add routes=[...] with names of channels of featurestore.toml: {known}.",
            )
            continue
        for role, names in policy.channels.items():
            for name in names:
                if name not in config.channels:
                    yield Fault(
                        about=about,
                        what=f'it {role} to "{name}", which featurestore.toml does not configure',
                        hint=closest(name, config.channels) or f"Add a section [channels.{name}].",
                    )
        reached = [name for name in policy.routes if name in config.channels]
        if reached and all(name in disabled for name in reached):
            yield Fault(
                about=about,
                what=f"it routes only to channels that are disabled: {', '.join(reached)}",
                hint="Put one of them right, or route it to another one.",
            )
        if config.replay and reached and not any(config.channels[name].rehearsals for name in reached):
            yield Fault(
                about=about,
                what="none of its channels takes messages of a rehearsal",
                hint=f"Set rehearsals = true in [channels.{reached[0]}], or in another one of its routes.",
            )


def _unused(config: Config, policies: Sequence[MonitorPolicy]) -> Iterator[str]:
    named = {name for policy in policies for names in policy.channels.values() for name in names}
    named |= {section.fallback for section in config.channels.values()}
    for name in config.channels:
        if name not in named:
            yield f"channel {name}: no policy routes to it"


def _muted(config: Config, policies: Sequence[MonitorPolicy]) -> Iterator[str]:
    known = [policy.name for policy in policies]
    for name, calendar in config.mute.items():
        for policy in calendar.policies:
            if policy not in known:
                yield f'calendar {name}: it mutes policy "{policy}", which is not registered'
