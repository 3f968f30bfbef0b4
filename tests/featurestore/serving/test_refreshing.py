"""Whoever asks for what is new is answered by what is new."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from featurestore import Entity, FeatureClient, FeatureService, FeatureStore, FeatureView, Field
from featurestore.errors import FeatureStoreError, ObjectNotFoundError, RegistryError
from featurestore.serving.refreshing import Refreshing
from featurestore.types import Int64
from tests import forking

VIEW = FeatureView(name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)])


def test_those_who_wait_together_share_a_look_that_began_after_they_came() -> None:
    looks: list[int] = []

    async def run() -> None:
        refresh = Refreshing(lambda: looks.append(1))
        await asyncio.gather(*(refresh() for _ in range(50)))
        assert len(looks) == 1
        await refresh()
        assert len(looks) == 2
        task = asyncio.create_task(refresh())
        await asyncio.sleep(0)
        other = asyncio.create_task(refresh())
        task.cancel()
        await other
        assert len(looks) == 3

    asyncio.run(run())


def test_a_registry_that_is_away_is_no_fault_of_who_asks() -> None:
    def away() -> None:
        raise RegistryError("It is away.")

    asyncio.run(Refreshing(away)())


@contextlib.contextmanager
def two_workers(repo: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--workers", "2", "--repo", str(repo)]
    with forking.Forked(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" at ")[1].split(",")[0]
        finally:
            process.terminate()


def test_while_versions_are_applied_no_lookup_over_several_workers_fails(tmp_path: Path) -> None:
    """One worker answers with the new version, and the client asks another one for its schema."""
    with FeatureStore.init(tmp_path / "repo") as store, contextlib.ExitStack() as stack:
        store.apply([FeatureService(name="svc", features=[VIEW])])
        address = stack.enter_context(two_workers(tmp_path / "repo"))
        errors: list[FeatureStoreError] = []
        answered: set[str] = set()
        done = threading.Event()

        def ask() -> None:
            with FeatureClient(address, connections=6) as client:
                while not done.is_set():
                    try:
                        answered.add(client.get_online_features("svc", [{"user": 1}]).service)
                    except FeatureStoreError as error:
                        errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for one in threads:
            one.start()
        for number in range(4):
            wider = replace(VIEW, schema=[*VIEW.schema, Field(name=f"y{number}", dtype=Int64)])
            store.apply([FeatureService(name="svc", features=[wider])], allow_breaking=True)
            done.wait(1.3)
        done.set()
        for one in threads:
            one.join()
        assert errors == []
        assert "svc@5" in answered
        with FeatureClient(address) as client, pytest.raises(ObjectNotFoundError, match="svc@9"):
            client.get_online_features("svc@9", [{"user": 1}])
