"""The long form of the splits of time: hundreds of histories for each kind of query."""

from __future__ import annotations

import itertools
import runpy
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.offline.store import OfflineStore
from featurestore.registry import open_registry
from featurestore.settings.sections import OfflineConfig

TESTS = Path(__file__).parents[1] / "featurestore"
SHORT = runpy.run_path(str(TESTS / "offline" / "sources" / "test_incremental.py"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OfflineStore]:
    config = Config(root=tmp_path, project="soak", offline=OfflineConfig(threads=1, memory_limit="500MB"))
    with open_registry(config.database_url("sqlite:///registry.db"), config.project) as registry:
        yield OfflineStore(config, registry)


@pytest.mark.soak
@pytest.mark.parametrize("kind", SHORT["QUERIES"])
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_of_time_gives_what_one_run_gives(
    store: OfflineStore, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    numbers = itertools.count()

    def put(table: pa.Table, source: str, folder: str) -> Path:
        path = tmp_path / folder / f"{source}-{next(numbers):03}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=4)
        return path

    SHORT["check_split"](store, put, kind, data)
