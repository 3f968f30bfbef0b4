"""Whom a change does not reach: services, aliases and models keep the versions that they pin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from featurestore.registry.plan import Step
from featurestore.registry.usage import Usage, some


def consequences(steps: Sequence[Step], usage: Usage) -> dict[str, tuple[str, ...]]:
    """Return sentences about each object that gets another version, by its name; only of those with something to say.

    Args:
        steps: all that would be done.
        usage: the registry before it.
    """
    moved = {
        step.change.name: step.change
        for step in steps
        if step.change.from_version is not None and step.change.action in ("new version", "make current")
    }
    if not moved:
        return {}
    after = {step.change.name: step.pins for step in steps}
    behind: dict[str, list[str]] = {}
    watched: dict[str, list[str]] = {}
    for user in usage.referring.values():
        for name, version in after.get(user.name, user.pins).items():
            if user.kind.endswith("_policy"):
                watched.setdefault(name, []).append(f"{user.kind} {user.name}")
            elif name in moved and version != moved[name].to_version:
                behind.setdefault(name, []).append(str(user))
    held: dict[str, list[str]] = {}
    for holder, versions in usage.held.items():
        for name, version in versions:
            if name in moved and version != moved[name].to_version:
                held.setdefault(name, []).append(str(holder))
    told = {name: tuple(_sentences(behind.get(name, []), held.get(name, []), watched.get(name, []))) for name in moved}
    return {name: sentences for name, sentences in told.items() if sentences}


def _sentences(behind: list[str], held: list[str], watched: list[str]) -> Iterator[str]:
    if behind:
        yield f"until they are applied again, these do not see it: {some(behind)}"
    if held:
        yield f"these keep the version that they have: {some(sorted(held))}"
    if watched:
        yield f"it is what these are about: {some(watched)}"
