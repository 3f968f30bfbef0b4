"""Malformed requests made by atheris, which looks at what of the server they reach.

    python malformed_requests.py CORPUS -runs=100000

The first byte of an input chooses the method, the others are the request.
"""

from __future__ import annotations

import asyncio
import runpy
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["featurestore.serving", "featurestore.types", "featurestore.online"]):
    from featurestore.serving.log import ServingLog
    from featurestore.serving.rpc.server import FeatureServer, Methods

SHORT = runpy.run_path(
    str(Path(__file__).parents[2] / "featurestore" / "serving" / "rpc" / "test_malformed.py"), run_name="short"
)
PATHS = list(SHORT["TAKES"])
LOOP = asyncio.new_event_loop()


async def make() -> FeatureServer:
    log = ServingLog(Path(tempfile.mkdtemp()), now=0, sample=0.0, replay=True)
    return FeatureServer(SHORT["services"](), log, Methods(advance=lambda _: 0))


SERVER = LOOP.run_until_complete(make())


def check(data: bytes) -> None:
    """Answer one input."""
    path = PATHS[(data[0] if data else 0) % len(PATHS)]
    if path != SHORT["HEALTH"]:
        LOOP.run_until_complete(SHORT["check_inside"](SERVER, path, data[1:]))


atheris.Setup(sys.argv, check)
atheris.Fuzz()
