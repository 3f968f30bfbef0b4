"""The requests that are sent, serialized before the clock starts: what a sender does then is send."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from featurestore.client.request import fill
from featurestore.loadtest.entity_rows import REQUEST_PREFIX, EntityRows
from featurestore.serving.plan import ServicePlan
from featurestore.v1 import serving_pb2 as pb

#: Fewer requests than this would leave too much in the caches of the server.
_FEWEST = 256
_MOST = 50_000


def serialized(
    plan: ServicePlan, service: str, rows: EntityRows, shares: Mapping[int, float] | None, *, run: str, seed: int = 0
) -> list[bytes]:
    """Return requests that together ask for every row, as far as there is room, in a random order.

    Args:
        plan: the service; says the types of the columns.
        service: what the requests ask for: ``churn`` or ``churn@1``.
        rows: the entity rows.
        shares: of requests by number of rows, adding up to 1; None sends requests as they were logged.
        run: names the test; request ids begin with it, so that their rows in the serving log can be told.
        seed: of the order.

    Raises:
        InvalidRequestError: a value is none of its column's type.
    """
    drawing = random.Random(seed)  # noqa: S311 - the order of requests is no secret
    places = _as_logged(rows, drawing) if shares is None else _mixed(len(rows), shares, drawing)
    return [_body(plan, service, rows, one, f"{REQUEST_PREFIX}{run}-{number}") for number, one in enumerate(places)]


def _as_logged(rows: EntityRows, drawing: random.Random) -> list[Sequence[int]]:
    requests = [range(first, end) for first, end in rows.requests]
    drawing.shuffle(requests)
    return list(requests[:_MOST])


def _mixed(count: int, shares: Mapping[int, float], drawing: random.Random) -> list[Sequence[int]]:
    average = sum(size * share for size, share in shares.items())
    number = min(max(math.ceil(count / average), _FEWEST), _MOST)
    sizes = [size for size, share in shares.items() for _ in range(max(1, round(number * share)))]
    drawing.shuffle(sizes)
    order = list(range(count))
    drawing.shuffle(order)
    places: list[Sequence[int]] = []
    at = 0
    for size in sizes:
        places.append([order[(at + place) % count] for place in range(size)])
        at += size
    return places


def _body(plan: ServicePlan, service: str, rows: EntityRows, places: Sequence[int], request_id: str) -> bytes:
    request = pb.GetOnlineFeaturesRequest(service=service, request_id=request_id)
    for name, values in rows.columns.items():
        fill(request.columns.add(name=name), plan.columns[name], [values[place] for place in places])
    return request.SerializeToString()
