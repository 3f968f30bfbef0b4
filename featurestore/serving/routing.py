"""Which requests for a service's bare name a canary answers: a share of the routing keys, by hash.

A key's place is a number between 0 and 1: the first 8 bytes (big-endian, over 2^64) of the 8-byte BLAKE2b hash of the
service's name, a zero byte and the key. A canary with share s takes the keys below s. So equal keys always go the same
way, in every worker and on every host; as the share grows keys only join; and another service draws other keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from featurestore.definitions import FeatureService
from featurestore.registry.canary import request_differences
from featurestore.registry.records import Registered
from featurestore.serving.plan import ServicePlan, Unserved
from featurestore.v1 import serving_pb2 as pb

_SPACE = 1 << 64

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Canary:
    """A version that answers a share of the requests for its service's bare name.

    Attributes:
        plan: the version.
        share: of the routing keys, over 0 and up to 1.
        keys: the join keys that stand for the routing key where a request has none, sorted.
    """

    plan: ServicePlan
    share: float
    keys: tuple[str, ...]

    def takes(self, request: pb.GetOnlineFeaturesRequest) -> bool:
        """Return whether a request is the canary's."""
        key = request.routing_key.encode() or entity_key(request, self.keys)
        return place(self.plan.name, key) < int(self.share * _SPACE)


def place(service: str, key: bytes) -> int:
    """Return where a routing key lies in the space of 2^64 places; the same everywhere and for ever."""
    return int.from_bytes(hashlib.blake2b(service.encode() + b"\0" + key, digest_size=8).digest())


def entity_key(request: pb.GetOnlineFeaturesRequest, keys: tuple[str, ...]) -> bytes:
    """Return the join keys of the first entity row as one routing key; a request without rows has an empty one."""
    columns = {column.name: column for column in request.columns}
    return b"".join(_part(columns.get(name)) for name in keys)


def _part(column: pb.Column | None) -> bytes:
    kind = None if column is None else column.WhichOneof("values")
    if column is None or kind is None or kind == "nested":
        return b"\0"
    values = getattr(column, kind).values
    if not values or (column.nulls and column.nulls[0] & 1):
        return b"\0"
    value = values[0]
    if isinstance(value, float):
        value += 0.0  # -0.0 and 0.0 are one key
    text = value if isinstance(value, bytes) else str(value).encode()
    # With its length, so that ("a", "bc") and ("ab", "c") differ.
    return b"%d:%s" % (len(text), text)


def canaries(
    services: Mapping[str, Registered[FeatureService]],
    plans: Mapping[str, ServicePlan | Unserved],
    shares: Mapping[str, tuple[int, float]],
) -> dict[str, Canary]:
    """Return the canary beside each bare name that has one.

    Args:
        services: by each name that a request may use, the version that it stands for.
        plans: those versions, compiled.
        shares: by service, the canary's version and its share.
    """
    found = {}
    for name, (version, share) in shares.items():
        canary, others = services.get(f"{name}@{version}"), services.get(name)
        if canary is None or others is None or share <= 0 or canary.id == others.id:
            continue
        # The registry refuses such a canary; but what the bare name means may have moved since.
        unfit = request_differences(others.definition, canary.definition)
        if unfit:
            _logger.warning("a canary takes no requests", canary=canary.id, beside=others.id, reasons=list(unfit))
            continue
        plan, usual = plans[canary.id], plans[name]
        if isinstance(plan, ServicePlan) and isinstance(usual, ServicePlan):
            found[name] = Canary(plan, share, tuple(sorted(usual.keys)))
    return found
