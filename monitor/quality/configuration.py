"""Configuration: does everybody run what the registry pins, and with what the models were trained with?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitor.quality.finding import Finding, Kind, Verdict


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """What one server process says of itself.

    Attributes:
        name: ``pid 4711 on host``.
        services: content hash of each service version that it serves, by id.
        names: the version behind each bare name: ``{"churn": "churn@2"}``.
        revision: of the registry, that it serves.
        current_at: when it last served what the registry said.
        libraries: versions by package.
    """

    name: str
    services: Mapping[str, str]
    names: Mapping[str, str]
    revision: int
    current_at: datetime
    libraries: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class WriterFacts:
    """Who wrote the newest rows of a view.

    Attributes:
        view: the view.
        load: the newest load that stands.
        author: whose.
        published_at: when.
        libraries: versions by package; empty of a load of an earlier release.
    """

    view: str
    load: str
    author: str
    published_at: datetime
    libraries: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a model was trained with.

    Attributes:
        model: ``churn_model@3``.
        service: the service version that it is recorded with.
        known: whether the registry still has that version, and its service is not removed.
        libraries: versions by package, where they are recorded.
    """

    model: str
    service: str
    known: bool
    libraries: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What runs, and what should.

    Attributes:
        revision: of the registry.
        services: content hash of each service version, by id.
        names: the version that each bare name stands for.
        servers: those at work.
        writers: of the views' newest rows.
        models: the newest version of each model that matters.
    """

    revision: int
    services: Mapping[str, str]
    names: Mapping[str, str]
    servers: tuple[ServerFacts, ...] = ()
    writers: tuple[WriterFacts, ...] = ()
    models: tuple[ModelFacts, ...] = field(default=())


def configuration_drift(facts: Configuration, *, lag: timedelta, now: datetime) -> tuple[Finding, ...]:
    """Return a finding for each server, writer and model that runs something else than it should; else one that is ok.

    Args:
        facts: what runs.
        lag: for how long a server may serve an older revision of the registry: each looks once a second.
        now: the present.
    """
    found = [
        *(finding for one in facts.servers for finding in _server(one, facts, lag, now)),
        *_unlike(facts.servers),
        *(finding for one in facts.writers for finding in _writer(one, facts)),
        *(finding for one in facts.models for finding in _model(one, facts)),
    ]
    if found:
        return tuple(found)
    if not facts.servers:
        said = "No server says what it runs: none is at work, or all are of an earlier release."
        return (_finding("service", "servers", "not enough data", said),)
    what = f"{len(facts.servers)} server processes" if len(facts.servers) > 1 else "The server process"
    return (_finding("service", "servers", "ok", f"{what}, the writers and the models run what the registry pins."),)


def _server(one: ServerFacts, facts: Configuration, lag: timedelta, now: datetime) -> list[Finding]:
    found = []
    changed = [name for name, digest in one.services.items() if facts.services.get(name, digest) != digest]
    for name in changed:
        said = (
            f"Server {one.name} serves another definition as {name} than the registry has under that version. Restart "
            "it, and look which registry it reads."
        )
        found.append(_finding("server", one.name, "severe", said))
    behind = now - one.current_at
    if one.revision != facts.revision and behind > lag:
        others = [
            f"{name} is {one.names[name]} there and {version} in the registry"
            for name, version in facts.names.items()
            if name in one.names and one.names[name] != version
        ]
        moved = f" {'; '.join(others)}." if others else ""
        said = (
            f"Server {one.name} serves revision {one.revision} of the registry, which is at {facts.revision}, and has "
            f"been behind for {behind.total_seconds():,.0f} s.{moved} Look in its "
            "log why it cannot read the registry, and restart it."
        )
        found.append(
            _finding(
                "server",
                one.name,
                "severe" if others else "drift",
                said,
                value=behind.total_seconds(),
                threshold=lag.total_seconds(),
                onset=one.current_at,
            )
        )
    return found


def _unlike(servers: Sequence[ServerFacts]) -> list[Finding]:
    """Return a finding for each package that servers have several versions of."""
    found = []
    for package in _packages(servers):
        versions: dict[str, list[str]] = {}
        for one in servers:
            if package in one.libraries:
                versions.setdefault(one.libraries[package], []).append(one.name)
        if len(versions) > 1:
            rarest = min(versions, key=lambda version: (len(versions[version]), version))
            others = ", ".join(sorted(versions.keys() - {rarest}))
            said = (
                f"{len(versions[rarest])} of {len(servers)} server processes run {package} {rarest}, others {others}: "
                f"{', '.join(sorted(versions[rarest]))}. Install one version on all, and restart."
            )
            found.append(_finding("server", versions[rarest][0], "drift", said))
    return found


def _packages(servers: Sequence[ServerFacts]) -> list[str]:
    """Return the packages whose versions servers tell."""
    return sorted({package for one in servers for package in one.libraries})


def _writer(one: WriterFacts, facts: Configuration) -> list[Finding]:
    """Return a finding for each package that a writer has another major version of than servers have.

    Writers cannot be behind the registry: each load asks it which versions live.
    """
    found = []
    for package, unlike in _unlike_servers(one.libraries, facts.servers):
        said = (
            f"View {one.view} was last written with {package} {one.libraries[package]} (load {one.load}, by "
            f"{one.author}), and servers run {unlike}. Install one version where rows are written and where they are "
            "served."
        )
        found.append(_finding("writer", f"{one.view}/{one.load}", "drift", said, onset=one.published_at))
    return found


def _unlike_servers(libraries: Mapping[str, str], servers: Sequence[ServerFacts]) -> list[tuple[str, str]]:
    """Return the packages of which servers run another major version, and the versions that they run, in words."""
    found = []
    for package in _packages(servers):
        known = libraries.get(package)
        served = sorted({server.libraries[package] for server in servers if package in server.libraries})
        unlike = [version for version in served if known is not None and _major(version) != _major(known)]
        if unlike:
            found.append((package, ", ".join(unlike)))
    return found


def _model(one: ModelFacts, facts: Configuration) -> list[Finding]:
    found = []
    bare = one.service.partition("@")[0]
    if not one.known:
        said = (
            f"Model {one.model} was trained for {one.service}, which the registry has no more. Record a model for a "
            "version that is served, or apply that service again."
        )
        found.append(_finding("model", one.model, "drift", said))
    elif facts.names.get(bare, one.service) != one.service:
        said = (
            f'Model {one.model} was trained for {one.service}, and "{bare}" stands for {facts.names[bare]}. Let the '
            f"model ask for {one.service} by its version, train it anew, or move the alias."
        )
        found.append(_finding("model", one.model, "drift", said))
    for package, unlike in _unlike_servers(one.libraries, facts.servers):
        said = (
            f"Model {one.model} was trained with {package} {one.libraries[package]}, and servers run {unlike}. Compare "
            "their values: featurestore monitor parity; then train anew or install the version of the training."
        )
        found.append(_finding("model", one.model, "drift", said))
    return found


def _major(version: str) -> str:
    """Return the part of a version that changes with breaking changes: the first number; of 0.x.y also the second."""
    first, _, rest = version.partition(".")
    return f"0.{rest.partition('.')[0]}" if first == "0" else first


def _finding(
    kind: Kind,
    subject: str,
    verdict: Verdict,
    said: str,
    *,
    value: float | None = None,
    threshold: float | None = None,
    onset: datetime | None = None,
) -> Finding:
    return Finding(
        rule="configuration_drift",
        kind=kind,
        subject=subject,
        verdict=verdict,
        value=value,
        threshold=threshold,
        unit="" if value is None else "seconds",
        onset=onset,
        sentence=said,
    )
