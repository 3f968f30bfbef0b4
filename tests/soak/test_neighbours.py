"""Servers of an earlier commit and of this one on one store, with the earlier one's own code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featurestore import FeatureClient, FeatureStore
from tests.golden.opened import unpack

ROOT = Path(__file__).parents[2]
_AT = datetime(2026, 3, 2, tzinfo=UTC)
_MAIN = "import sys; from featurestore.cli import main; sys.argv[0] = 'featurestore'; sys.exit(main())"
_TURNS = 50


def git(*arguments: str) -> str:
    """Return what git says; "" if it refuses."""
    ran = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    return ran.stdout.strip() if ran.returncode == 0 else ""


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with the code of NEIGHBOUR, or of the commit before this branch, or else before this commit."""
    named = os.environ.get("NEIGHBOUR", "")
    base, here = git("merge-base", "HEAD", "main"), git("rev-parse", "HEAD")
    commit = git("rev-parse", "--verify", named or (base if base != here else "HEAD^") or "HEAD^")
    folder = tmp_path / "before"
    if not commit or (not git("worktree", "add", "--detach", str(folder), commit) and not folder.exists()):
        pytest.skip("this is no repository with a commit before: there is no earlier code to run")
    sys.stdout.write(f"\nbeside {git('log', '-1', '--format=%h %s', commit)}\n")
    try:
        yield folder
    finally:
        git("worktree", "remove", "--force", str(folder))


@contextmanager
def server(code: Path, repo: Path) -> Iterator[FeatureClient]:
    """Let a server of some code answer while the block runs."""
    command = [sys.executable, "-c", _MAIN, "serve", "--workers", "1"]
    where = os.environ | {"PYTHONPATH": str(code)}
    with subprocess.Popen(command, cwd=repo, env=where, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split(" at ")[1].split(",")[0]
            with FeatureClient(address) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.mark.soak
def test_a_server_of_the_code_before_works_beside_one_of_this(before: Path, tmp_path: Path) -> None:
    repo = tmp_path / "store"
    expected = unpack("0.1.0", repo)
    users = iter(range(1_000, 1_000 + 4 * _TURNS))
    pushed: list[int] = []

    def work(client: FeatureClient) -> None:
        rows = [{"user_id": 1, "amount": 5.0}]
        found = client.get_online_features(features="churn", entity_rows=rows).to_dict()
        assert {name: found[name][0] for name in expected["served"]} == expected["served"]
        user = next(users)
        client.push("clicks", [{"user_id": user, "count": user, "event_timestamp": _AT}])
        client.log_predictions("model", [{"prediction_id": f"of{user}", "number": 0.5}])
        pushed.append(user)

    with ExitStack() as running:
        old = running.enter_context(server(before, repo))
        command = [sys.executable, "-c", _MAIN, "upgrade", "--yes"]
        subprocess.run(command, cwd=repo, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
        new = running.enter_context(server(ROOT, repo))
        for _ in range(_TURNS):
            work(old)
            work(new)
        with server(before, repo) as again:  # one of the code before, begun after the upgrade
            for _ in range(_TURNS):
                work(again)
        for client in (old, new):
            rows = [{"user_id": user, "amount": 5.0} for user in pushed]
            assert client.get_online_features(features="churn", entity_rows=rows).to_dict()["count"] == pushed
    with FeatureStore(repo) as store:
        store.flush_pushes()
        loads = store.offline.loads(store.registry.feature_view("clicks").definition)
        assert sum(one.rows_written for one in loads) == 3 + expected["waiting"]["rows"] + len(pushed)
        assert store.predictions("model").num_rows == 20 + len(pushed)
        assert store.registry.verify_audit() == []
        assert store.reproduce_dataset("first").proved
    sys.stdout.write(f"{len(pushed):,} lookups, pushes and predictions through both, each once\n")
