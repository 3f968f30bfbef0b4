"""What does importing us cost beside importing what we cannot do without?"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.harness import Row, in_turn


def run(*, quick: bool) -> list[Row]:
    """Import in fresh interpreters."""
    pairs = 3 if quick else 9
    cases = {
        "import featurestore, beside a bare interpreter": ("import featurestore", "pass"),
        "import the client, beside grpc, protobuf and numpy": (
            "from featurestore.client import FeatureClient",
            "import grpc, google.protobuf.message, numpy",
        ),
        "import FeatureStore, beside the libraries it is made of": (
            "from featurestore import FeatureStore; FeatureStore",
            "import grpc, duckdb, polars, pyarrow, deltalake, sqlalchemy, pydantic",
        ),
    }
    rows = []
    for work, (ours, floor) in cases.items():
        seconds = in_turn(partial(_python, ours), partial(_python, floor), pairs=pairs)
        rows.append(Row(work=work, ours=seconds[0], floor=seconds[1], unit="s"))
    return rows


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)
