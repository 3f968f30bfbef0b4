"""What a canary may be: a share of the requests for a service's bare name, and a version that can answer them."""

from __future__ import annotations

import math

from featurestore.definitions import FeatureService
from featurestore.errors import RegistryError
from featurestore.registry.aliases import CANARY


def check_share(alias: str, share: object) -> None:
    """Raise RegistryError if an alias cannot have that share."""
    if share is None:
        return
    if alias != CANARY:
        raise RegistryError(
            f'The alias "{alias}" has no share: only the alias "{CANARY}" takes some of the requests.',
            hint=f'Leave the share out, or promote to "{CANARY}".',
        )
    number = share if isinstance(share, (int, float)) and not isinstance(share, bool) else math.nan
    if not 0 <= number <= 1:
        raise RegistryError(
            f"{share!r} is not a share.", hint='It lies between 0 and 1: 0.05, or "5%" on the command line.'
        )


def request_differences(production: FeatureService, canary: FeatureService) -> tuple[str, ...]:
    """Return why a version cannot answer the requests that are made for another; nothing if it can."""
    given, taken = _columns(production), _columns(canary)
    reasons = [f'it takes no "{name}"' for name in given if name not in taken]
    for name, (dtype, optional) in taken.items():
        if name not in given:
            reasons += [] if optional else [f'it needs "{name}" with each request']
        elif given[name][0] != dtype:
            reasons.append(f'it takes "{name}" as {dtype}, not as {given[name][0]}')
        elif given[name][1] and not optional:
            reasons.append(f'it needs "{name}" with each request')
    return tuple(reasons)


def _columns(service: FeatureService) -> dict[str, tuple[str, bool]]:
    """Return what a request for a service carries: by column its type, and whether it may be left out."""
    keys = {name: (dtype.name, False) for name, dtype in service.keys.items()}
    return keys | {one.name: (one.dtype.name, one.default is not None) for one in service.request}
