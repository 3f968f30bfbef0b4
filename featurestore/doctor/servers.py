"""The servers of an online store on Redis or Valkey: are they set so that they keep what they are given?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from featurestore.definitions import storage_id
from featurestore.doctor.finding import Finding, fault, warning, well
from featurestore.doctor.patient import Patient
from featurestore.errors import OnlineStoreError
from featurestore.online.local_copy import local_copy_of
from featurestore.settings.online import RedisConfig

if TYPE_CHECKING:
    from featurestore.online.redis.facts import ServerFacts

_LEAST_VERSION = (7,)
#: A share of its memory from which on a server is soon full.
_FULL = 0.9
#: An age from which on it is told in minutes.
_SECONDS_SAID = 300
#: What a store does without: it says so in its log, or cannot be looked at by us.
_OPTIONAL = frozenset({"info", "config|get", "bgsave", "ping", "time"})


def probe_online_servers(patient: Patient) -> Iterator[Finding]:
    """Ask each server for its version, memory, files, replicas and rights, a cluster for its slots; look at the copy.

    Nothing is said of a store that is no server.
    """
    settings = patient.config.online_store()
    if isinstance(settings, str):
        return
    yield from _copy(patient, settings)
    if patient.online_away and settings.mode == "single":  # there is no other server to ask
        yield patient.without_online("online servers")
        return
    # Here, as nobody else has the packages.
    from featurestore.online.redis.facts import store_facts

    try:
        facts = store_facts(settings)
    except OnlineStoreError as refusal:
        if not _is_told(refusal, patient):
            raise
        yield patient.without_online("online servers")
        return
    if facts.uncovered:
        yield fault(
            "online cluster",
            f"No server has {facts.uncovered:,} of its 16,384 slots.",
            "Bring the servers back that had them, or have it mended: redis-cli --cluster fix HOST:PORT",
        )
    for address, error in facts.away:
        about = f"online server {address}"
        yield patient.without_online(about) if _is_told(error, patient) else fault(about, error)
    for one in facts.servers:
        found = [*_rights(one, settings), *_memory(one), *_copies(one, settings)]
        about = f"online server {one.address}"
        # One that tells nothing of itself lets nobody in, which the online store's own probe says.
        yield from found or [well(about, _said(one)) if one.product else patient.without_online(about)]


def _is_told(error: OnlineStoreError, patient: Patient) -> bool:
    """Return whether the online store's own probe says the same, so that it need not be said again."""
    return patient.online_error is not None and error.message == patient.online_error.message


def _said(one: ServerFacts) -> str:
    version = ".".join(map(str, one.version))
    room = f"of {one.limit / 2**20:,.0f} MB" if one.limit else "without a limit"
    return f"{one.product} {version}, {one.used / 2**20:,.0f} MB {room}, {one.replicas} replicas"


def _rights(one: ServerFacts, settings: RedisConfig) -> Iterator[Finding]:
    about = f"online server {one.address}"
    hint = "Give it the commands and keys that docs/scaling.md lists: ACL SETUSER."
    user = f'The user "{settings.user or "default"}"'
    needed = [name for name in one.forbidden if name not in _OPTIONAL]
    spared = [name for name in one.forbidden if name in _OPTIONAL]
    if one.keys_forbidden:
        yield fault(about, f'{user} may not use keys that begin with "{settings.prefix}".', hint)
    if needed:
        yield fault(about, f"{user} may not run {', '.join(needed)}.", hint)
    if spared:
        yield warning(about, f"{user} may not run {', '.join(spared)}; not all of this can be looked at.", hint)
    if one.version and one.version < _LEAST_VERSION:
        version = ".".join(map(str, one.version))
        yield fault(about, f"It is {one.product} {version}.", "It has to be Redis 7 or later, or Valkey.")
    if one.role not in ("", "master"):
        yield fault(about, f"It is a {one.role}, and takes no writes.", "Name the master, or the sentinels.")


def _memory(one: ServerFacts) -> Iterator[Finding]:
    about, hint = f"online server {one.address}", "CONFIG SET maxmemory-policy noeviction, and in its file of settings."
    if one.policy not in ("", "noeviction"):
        said = f"maxmemory-policy is {one.policy}: a full server drops rows, or the record of tables, without a word."
        yield fault(about, said, hint) if one.limit else warning(about, f"{said} It has no limit yet.", hint)
    if one.limit and one.used > _FULL * one.limit:
        yield warning(
            about,
            f"{one.used / one.limit:.0%} of its memory is in use; a full one refuses writes.",
            "Raise its maxmemory, serve fewer rows, or use a cluster.",
        )


def _copies(one: ServerFacts, settings: RedisConfig) -> Iterator[Finding]:
    about = f"online server {one.address}"
    if one.replicas < settings.replicas:
        yield fault(
            about,
            f"It has {one.replicas} replicas, and a write waits for {settings.replicas}: none is acknowledged.",
            'Bring them back, or lower "replicas" under [online].',
        )
    for what in one.write_errors:
        yield fault(about, f"It could not write {what} to its disk.", "Its own log says why.")
    if one.keeps_files is False and not one.replicas:
        yield warning(
            about,
            "It keeps no files and has no replica: when it ends, all rows are gone.",
            "CONFIG SET appendonly yes; or materialize again then, which brings all rows but pushes that no table has.",
        )


def _copy(patient: Patient, settings: RedisConfig) -> Iterator[Finding]:
    copy = local_copy_of(settings)
    if copy is None:
        return
    about = "local copy of the online store"
    hint = "A server of this machine makes it: featurestore serve. Its log says why, if it cannot."
    names = {storage_id(view.definition): view.id for view in patient.views}
    try:
        is_there = copy.store is not None
        instants = {name: copy.complete_to([name]) for name in names}
    finally:
        copy.close()
    if not is_there:
        yield warning(about, f"There is none in {copy.folder}.", hint)
        return
    if patient.registry is None:
        yield warning(about, "It is there. How old it is cannot be told without the registry.", "")
        return
    if lacking := sorted(names[name] for name, instant in instants.items() if instant is None):
        yield warning(about, f"It does not have {_listed(lacking)}.", hint)
    if there := [instant for instant in instants.values() if instant is not None]:
        age = timedelta(microseconds=int(patient.now.timestamp() * 1e6) - min(there))
        yield _aged(about, age, copy.max_age, hint, away=patient.online_away)


def _aged(about: str, age: timedelta, most: timedelta, hint: str, *, away: bool) -> Finding:
    old, until = _said_age(age), f"{_said_age(most)} (fallback_max_age)"
    if age > most:
        return warning(
            about, f"It is {old} old, and {'is not' if away else 'would not be'} served after {until}.", hint
        )
    return well(about, f"it is {old} old" + (f", and is served until it is {until} old" if away else ""))


def _said_age(age: timedelta) -> str:
    seconds = max(age // timedelta(seconds=1), 0)
    return f"{seconds:,} s" if seconds < _SECONDS_SAID else f"{seconds // 60:,} minutes"


def _listed(views: list[str], most: int = 3) -> str:
    rest = f" and {len(views) - most:,} more" if len(views) > most else ""
    return f"{', '.join(views[:most])}{rest}"
