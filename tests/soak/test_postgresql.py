"""PostgreSQL under registry and ledger is killed again and again while a daemon judges and delivers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.monitor.conftest import make_scene, receiver, secret
from tests.monitor.test_daemon import Start, judge_while_it_is_killed, own_postgresql, start
from tests.postgresql_servers import Cluster

__all__ = ["make_scene", "own_postgresql", "receiver", "secret", "start"]  # fixtures

KILLS = 18
SEED = 20261130


@pytest.mark.soak
def test_a_database_that_is_killed_again_and_again_costs_no_window_and_no_alert(
    make_scene: Callable[..., Any], own_postgresql: Cluster, start: Start, receiver: Any
) -> None:
    scene = make_scene(database=own_postgresql.url, registry=own_postgresql.url)
    chance = random.Random(SEED)
    pauses = [chance.uniform(0, 2) for _ in range(KILLS)]
    output = judge_while_it_is_killed(scene, own_postgresql, start, receiver, pauses=pauses)
    assert "Traceback" not in output
