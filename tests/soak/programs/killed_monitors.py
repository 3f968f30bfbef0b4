"""``python killed_monitors.py FOLDER KILLS [POSTGRESQL]``: monitors are killed at random points of scripted incidents.

A monitor is a real daemon with real webhooks; beside it a script writes what happens to incidents, each step in one
transaction with its messages, under the daemon's fence. Receivers take a message, answer 500, 429 or 410, do not
answer, answer when nobody waits any more, or take a message only then. On SQLite one daemon at a time is killed with
SIGKILL. On PostgreSQL there are two; now and then one is stopped for longer than its lease, and goes on.

In the end no step of the script is lost, and what the receivers took, each key once, is exactly what was written, in
order, less what was overtaken. It ends with an error if something is wrong; else it prints what it did, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Connection, select

from featurestore.config import Config
from featurestore.errors import FeatureStoreError
from featurestore.settings.channels import AnyChannelConfig, WebhookConfig
from featurestore.settings.sections import MonitorConfig
from monitor.alerts.base import Channel, Kind
from monitor.alerts.channels import open_channels
from monitor.alerts.outbox import Entry, MessageState, disabled, enqueue, listed, replay_dead, standing_in, told, turns
from monitor.daemon import Daemon
from monitor.history import History
from monitor.history.upserting import put
from monitor.schema import meta

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5LTEyMzQ="
#: The last one stands in for the first.
CHANNELS = ("ops", "log", "old", "mail")
#: How long a webhook waits for an answer.
TIMEOUT = 0.3
SEED = 20260501
#: Of each receiver's answers, in percent; the rest is taken at once.
ANSWERS = {"late": 8, "takes late": 4, "silent": 5, "hangs up": 4, "500": 10, "429": 1}
#: Of the answers of "old", whose address is given up now and then.
GONE = 2
#: What happens to each incident, one after the other; several are under way at once.
LIFE = (Kind.FIRING, Kind.UPDATED, Kind.UPDATED, Kind.ACKNOWLEDGED, Kind.RESOLVED)
AT_ONCE = 4
STEP_SECONDS = 0.05
#: How long a monitor lives, on average: one of two has to wait for the lease of the other first.
LIFE_SECONDS = {1: 0.5, 2: 1.5}


class Receivers:
    """Every channel's far side, each under a path of its own, in a process of its own.

    Args:
        folder: where it writes down what came.
    """

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "received.jsonl").open("a", buffering=1)
        self._calm = folder / "calm"
        self._chance = random.Random(SEED)
        self._writing = threading.Lock()

    def serve(self, ready: int) -> NoReturn:
        """Serve until killed; writes its port into a pipe."""
        receivers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:  # who called was killed while he spoke
                    self.close_connection = True
                    return
                status, headers, wait = receivers.received(self.path.strip("/"), body)
                time.sleep(wait)
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with suppress(OSError):  # who called was killed
                    super().handle()

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        os.write(ready, f"{server.server_address[1]}\n".encode())
        server.serve_forever()
        os._exit(0)

    def received(self, channel: str, body: bytes) -> tuple[int, dict[str, str], float]:
        """Decide what becomes of a message; return status (0 for none), headers, and seconds to wait before."""
        with self._writing:
            how = self._drawn(channel)
        if how == "takes late":
            time.sleep(TIMEOUT * 1.5)
        event = json.loads(body)
        line = {
            "channel": channel,
            "key": event["id"],
            "incident": event["subject"],
            "kind": event["type"],
            "digest": hashlib.sha256(body).hexdigest(),
            "how": how,
            "taken": how in ("taken", "late", "takes late"),
        }
        with self._writing:
            self._log.write(json.dumps(line) + "\n")
        status, headers = {
            "500": (500, {}),
            "429": (429, {"retry-after": "1"}),
            "410": (410, {}),
            "hangs up": (0, {}),
            "silent": (0, {}),
        }.get(how, (204, {}))
        return status, headers, TIMEOUT * 1.5 if how in ("late", "silent") else 0.0

    def _drawn(self, channel: str) -> str:
        if self._calm.exists():
            return "taken"
        drawn = self._chance.random() * 100
        for how, percent in (ANSWERS | ({"410": GONE} if channel == "old" else {})).items():
            drawn -= percent
            if drawn < 0:
                return how
        return "taken"


class Script:
    """What happens to incidents, step by step; where it is stands in the database, in the transaction of each step."""

    def __init__(self, history: History, folder: Path) -> None:
        self._history = history
        self._stop = folder / "stop"

    def play(self) -> None:
        """Go on where the database says, until told to stop."""
        chance = random.Random()
        while True:
            time.sleep(chance.random() * 2 * STEP_SECONDS)
            try:
                with self._history.write() as connection:
                    if self._history.fence is not None:
                        self._step(connection, chance)
            except FeatureStoreError:
                continue  # another one leads

    def _step(self, connection: Connection, chance: random.Random) -> None:
        step = position(connection)
        if self._stop.exists():
            # Incidents that are open are taken to their end; whoever runs the receivers has set them right.
            if step % (AT_ONCE * len(LIFE)) == 0:
                return
        elif disabled(connection) and chance.random() < 0.2:
            replay_dead(connection, now=datetime.now(UTC))
        incident, kind, sequence = happens(step)
        channels = CHANNELS[:3] if kind is Kind.FIRING else told(connection, incident)
        for channel in channels:
            enqueue(
                connection,
                instance=self._history.instance,
                channel=channel,
                kind=kind,
                project="default",
                service="f@1",
                incident=incident,
                sequence=sequence,
                severity="page" if channel == "ops" else "ticket",
                payload={"step": step},
                now=datetime.now(UTC),
            )
        put(connection, meta, {"key": "step"}, {"value": str(step + 1)})


def happens(step: int) -> tuple[str, Kind, str]:
    """Return the incident, the kind and the sequence of a step of the script."""
    block, place = divmod(step, AT_ONCE * len(LIFE))
    number = place // AT_ONCE
    return f"i-{block * AT_ONCE + place % AT_ONCE}", LIFE[number], str(number)


def position(connection: Connection) -> int:
    """Return the next step."""
    return int(connection.execute(select(meta.c.value).where(meta.c.key == "step")).scalar() or 0)


class NoPolicies:
    """A registry without policies: what happens is the script's."""

    def revision(self) -> int:
        return 1

    def list(self, kind: str) -> list[Any]:  # noqa: ARG002 - the registry's signature
        return []

    def follow(self, changed: Callable[[], None]) -> None:
        """Nothing ever changes."""


@dataclass
class Store:
    """What a daemon takes of a feature store."""

    config: Config
    registry: Any


def configured(folder: Path, url: str, port: int) -> Config:
    """Return the settings of the monitors."""
    hooks: dict[str, AnyChannelConfig] = {
        name: WebhookConfig.model_validate(
            {
                "kind": "webhook",
                "url": f"http://127.0.0.1:{port}/{name}",
                "secret": SECRET,
                "allow_private_addresses": True,
                "timeout_seconds": TIMEOUT,
                "fallback": "mail" if name == "ops" else "",
            }
        )
        for name in CHANNELS
    }
    return Config(root=folder, channels=hooks, monitor=MonitorConfig(database=url, poll_seconds=0.1, lease_seconds=1))


def monitor(config: Config, channels: Mapping[str, Channel]) -> NoReturn:
    """Be a monitor until killed."""
    log = os.open(config.root / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Time goes faster here, and no message is given up.
    turns.BACKOFF = tuple(0.05 * (1 + number % 4) for number in range(100_000))
    standing_in.PATIENCE = timedelta(seconds=1)
    try:
        with History(config.monitor.database) as history:
            threading.Thread(target=Script(history, config.root).play, daemon=True).start()
            Daemon(Store(config, NoPolicies()), history, channels).run()
    except BaseException:  # noqa: BLE001 - a process that was forked never returns into who forked it
        traceback.print_exc()
    os._exit(1)


class Monitors:
    """Processes that are killed and begun again.

    Args:
        config: their settings.
        count: how many there are at once.
    """

    def __init__(self, config: Config, count: int) -> None:
        self._config = config
        # Opened here, as that takes a while; they connect when they are used.
        self._channels = open_channels(config)
        self._pids: list[int] = []
        self._chance = random.Random(SEED)
        self.counts: Counter[str] = Counter()
        for _ in range(count):
            self.begin()

    def begin(self) -> None:
        pid = os.fork()
        if not pid:
            monitor(self._config, self._channels)
        self._pids.append(pid)

    def harm(self) -> None:
        """Let them work for a random while, and kill one, or stop it for longer than a lease."""
        time.sleep(self._chance.expovariate(1 / LIFE_SECONDS[len(self._pids)]))
        pid = self._chance.choice(self._pids)
        if len(self._pids) > 1 and self._chance.random() < 0.1:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._chance.uniform(0.5, 3))
            os.kill(pid, signal.SIGCONT)
            self.counts["stopped and resumed"] += 1
            return
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WEXITSTATUS(status) and not os.WIFSIGNALED(status):
            self._pids.remove(pid)
            fail("a monitor ended by itself; see the log")
        self._pids.remove(pid)
        self.counts["kills"] += 1
        self.begin()

    def end(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def fail(what: str) -> NoReturn:
    sys.exit(f"WRONG: {what}")


def wait_until_all_is_said(url: str) -> list[Entry]:
    """Wait until the script is at an end and nothing is under way, and return the outbox."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        time.sleep(0.2)
        with History(url) as history, history.write() as connection:
            done = position(connection) % (AT_ONCE * len(LIFE)) == 0
            entries = listed(connection)
            if done and any(one.state is MessageState.DEAD for one in entries):
                replay_dead(connection, now=datetime.now(UTC))
            elif done and all(one.state is not MessageState.PENDING for one in entries):
                return entries
    fail("messages were still under way after five minutes")


def check(entries: list[Entry], steps: int, received: list[dict[str, Any]]) -> Counter[str]:
    """Compare what was written with what was taken."""
    check_script(entries, steps)
    counts: Counter[str] = Counter()
    bodies: dict[str, set[str]] = {}
    taken: dict[str, dict[str, int]] = {channel: {} for channel in CHANNELS}
    for line in received:
        bodies.setdefault(line["key"], set()).add(line["digest"])
        counts[f"answered: {line['how']}"] += 1
        if line["taken"]:
            if line["key"] in taken[line["channel"]]:
                counts["taken twice, told by the key"] += 1
            taken[line["channel"]].setdefault(line["key"], len(taken[line["channel"]]))
    if any(len(found) > 1 for found in bodies.values()):
        fail("two messages had one key")
    for channel in CHANNELS:
        mine = [one for one in entries if one.channel == channel]
        check_channel(channel, mine, taken[channel])
    counts.update(f"messages {one.state}" for one in entries)
    counts["messages to a fallback"] = sum(bool(one.stands_in_for) for one in entries)
    counts["incidents nobody heard of"] = len({one.incident for one in entries if one.kind is Kind.RESOLVED}) - len(
        {one.incident for one in entries if one.state is MessageState.DELIVERED}
    )
    return counts


def check_script(entries: list[Entry], steps: int) -> None:
    """Every step is in the outbox, for every channel that was told of its incident."""
    written = {(one.channel, one.incident, one.kind) for one in entries}
    for step in range(steps):
        incident, kind, _ = happens(step)
        for channel in CHANNELS[:3]:
            if (channel, incident, kind) not in written:
                fail(f"step {step} is lost for {channel}")


def check_channel(channel: str, entries: list[Entry], taken: dict[str, int]) -> None:
    """A receiver that knows keys again has exactly what was delivered, and each incident in order and to its end."""
    delivered = {one.key for one in entries if one.state is MessageState.DELIVERED}
    if delivered != set(taken):
        fail(f"{channel}: {len(delivered - set(taken))} not taken, {len(set(taken) - delivered)} not delivered")
    for one in by_incident(entries):
        kept = [message for message in one if message.state is MessageState.DELIVERED]
        places = [taken[message.key] for message in kept]
        if places != sorted(places):
            fail(f"{channel}: messages of {one[0].incident} out of order")
        if kept and kept[-1].kind is not Kind.RESOLVED:
            fail(f"{channel}: {one[0].incident} was told of and its end was not")
        newest = one[-1].key
        for message in one:
            if message.state is MessageState.OVERTAKEN and message.overtaken_by == "" and message.key != newest:
                fail(f"{channel}: {message.key} was overtaken by nothing")


def by_incident(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Yield the messages of each incident, in the order in which they were written."""
    found: dict[str, list[Entry]] = {}
    for one in entries:
        found.setdefault(one.incident, []).append(one)
    yield from found.values()


def main(folder: Path, kills: int, url: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with History(url):
        pass
    read, write = os.pipe()
    receivers = os.fork()
    if not receivers:
        Receivers(folder).serve(write)
    port = int(os.read(read, 16))
    monitors = Monitors(configured(folder, url, port), 1 if url.startswith("sqlite") else 2)
    try:
        while monitors.counts["kills"] < kills:
            monitors.harm()
        (folder / "calm").touch()
        (folder / "stop").touch()
        entries = wait_until_all_is_said(url)
    finally:
        monitors.end()
        os.kill(receivers, signal.SIGKILL)
        os.waitpid(receivers, 0)
    with History(url) as history, history.read() as connection:
        steps = position(connection)
    received = [json.loads(line) for line in (folder / "received.jsonl").read_text().splitlines()]
    counts = check(entries, steps, received) + monitors.counts
    counts["steps"] = steps
    sys.stdout.write(json.dumps(dict(sorted(counts.items()))) + "\n")


if __name__ == "__main__":
    where = Path(sys.argv[1]).absolute()
    main(where, int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else f"sqlite:///{where}/monitor.db")
