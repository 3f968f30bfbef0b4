"""What stands between an alert and those whom it is for: each fault is found, and told with what to do."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from featurestore import FeatureStore, config
from featurestore.cli.app import build
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, MonitorPolicy
from featurestore.types import Float64
from monitor.alerts.base import Kind
from monitor.alerts.channels import open_channels
from monitor.alerts.checking import Checked, check
from monitor.alerts.outbox import Courier, enqueue
from monitor.history import History
from tests.contract.channel_far_sides.pagerduty import service as pagerduty
from tests.contract.channel_far_sides.receiving import Receiver, Reply, certificate_file, receiving

_SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5LTEyMzQ="
_VIEW = FeatureView(
    name="spending", entities=[Entity(name="user", join_keys=["user_id"])], schema=[Field(name="total", dtype=Float64)]
)
_SERVICE = FeatureService(name="scoring", features=[_VIEW])


def _policy(**settings: Any) -> MonitorPolicy:
    return MonitorPolicy(name="scoring_drift", service=_SERVICE, **{"routes": ["ops"]} | settings)


def _checked(folder: Path, text: str, *policies: MonitorPolicy, **settings: Any) -> Checked:
    (folder / config.FILE_NAME).write_text(text)
    return check(config.load(folder), policies or [_policy()], **{"disabled": {}, "now": datetime.now(UTC)} | settings)


def _webhook(url: str, *more: str) -> str:
    lines = ["[channels.ops]", 'kind = "webhook"', f'url = "{url}"', f'secret = "{_SECRET}"', *more]
    return "\n".join((*lines, "allow_private_addresses = true", "timeout_seconds = 3", ""))


def _faults(found: Checked) -> list[str]:
    return [str(one) for one in found.faults]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_where_all_is_well_nothing_is_found_and_nobody_is_told(tmp_path: Path) -> None:
    with receiving(lambda one: Reply(405 if one.method == "HEAD" else 204)) as receiver:
        found = _checked(tmp_path, _webhook(receiver.url))
        assert found == Checked(channels={"ops": "would take a message"})
        assert [one.method for one in receiver.requests] == ["HEAD"]


def test_a_test_message_is_sent_when_asked_for_and_says_that_it_is_one(tmp_path: Path) -> None:
    with receiving() as receiver:
        found = _checked(tmp_path, _webhook(receiver.url), send=True)
        assert found.channels == {"ops": "took a test message"}
        event = json.loads(receiver.requests[-1].body)
        assert (event["type"], event["source"]) == ("featurestore.v1.test", "/featurestore/default/monitor")


def test_a_test_message_that_is_not_taken_is_a_fault(tmp_path: Path) -> None:
    with receiving(lambda one: Reply(401 if one.method == "POST" else 405)) as receiver:
        (fault,) = _faults(_checked(tmp_path, _webhook(receiver.url), send=True))
        assert fault.startswith(f"channel ops: {receiver.url} answered 401. Check the secret or the token under ")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{port}/hook", "channel ops: no connection to http://127.0.0.1:{port}"),
        ("https://nowhere.invalid/hook", "channel ops: nowhere.invalid cannot be resolved"),
        ("ops.example.com/hook", 'The url of channel "ops" is not an HTTP address. Write it as https://host/path.'),
    ],
)
def test_a_wrong_address_is_found(tmp_path: Path, url: str, said: str) -> None:
    port = str(_free_port())
    (fault,) = _faults(_checked(tmp_path, _webhook(url.replace("{port}", port))))
    assert said.replace("{port}", port) in fault
    assert re.search(r"\. (Check the host|Check host and port|Write it as) ", fault)  # and what to do


def test_a_path_where_nobody_is_can_only_be_remarked_on(tmp_path: Path) -> None:
    # Many receivers answer 404 to all that is not POST.
    with receiving(lambda _: Reply(404)) as receiver:
        found = _checked(tmp_path, _webhook(receiver.url))
        assert found.faults == ()
        assert "the path may be wrong" in found.remarks[0]
        (fault,) = _faults(_checked(tmp_path, _webhook(receiver.url), send=True))
        assert "answered 404" in fault


def test_an_expired_certificate_is_found(tmp_path: Path) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    file = certificate_file(tmp_path, since=past - timedelta(days=90), until=past)
    with receiving(certificate=file) as receiver:
        (fault,) = _faults(_checked(tmp_path, _webhook(receiver.url, f'ca_file = "{file.name}"')))
        assert fault == (
            f"channel ops: {receiver.url}: its certificate is not accepted: certificate has expired. Have its "
            "certificate renewed, or name the authority that it is from: ca_file under [channels.ops]."
        )


def test_a_certificate_that_ends_soon_is_remarked_on(tmp_path: Path) -> None:
    file = certificate_file(tmp_path, until=datetime.now(UTC) + timedelta(days=3))
    with receiving(certificate=file) as receiver:
        found = _checked(tmp_path, _webhook(receiver.url, f'ca_file = "{file.name}"'))
        assert found.faults == ()
        assert "its certificate ends on" in found.remarks[0]


def test_a_mail_server_that_cannot_be_reached_is_found(tmp_path: Path) -> None:
    text = f"""
[channels.ops]
kind = "mail"
host = "127.0.0.1"
port = {_free_port()}
security = "none"
sender = "monitor@example.com"
recipients = ["ops@example.com"]
allow_private_addresses = true
timeout_seconds = 3
"""
    (fault,) = _faults(_checked(tmp_path, text))
    assert fault.startswith("channel ops: ")
    assert "127.0.0.1" in fault


def test_a_template_with_an_unknown_name_is_found(tmp_path: Path) -> None:
    text = '[channels.ops]\nkind = "console"\ntemplate = "{sumary}"\n'
    (fault,) = _faults(_checked(tmp_path, text))
    assert 'an unknown name "sumary"' in fault
    assert "summary" in fault.partition("sumary")[2]


def test_a_secret_that_is_not_there_is_found_and_stops_no_other_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    text = _webhook("https://ops.example.com").replace(_SECRET, "${NO_SUCH_SECRET}")
    text += '[channels.screen]\nkind = "console"\n'
    found = _checked(tmp_path, text, _policy(routes=["ops", "screen"]))
    (fault,) = _faults(found)
    assert "NO_SUCH_SECRET, which is not set. export NO_SUCH_SECRET=..." in fault
    assert found.channels == {"screen": "would take a message"}


def test_a_fallback_that_is_none_is_found(tmp_path: Path) -> None:
    text = '[channels.ops]\nkind = "console"\nfallback = "pagr"\n[channels.pager]\nkind = "console"\n'
    (fault,) = _faults(_checked(tmp_path, text))
    assert 'there is no channel "pagr"' in fault
    assert "pager" in fault


_CONSOLE = '[channels.ops]\nkind = "console"\n'


def test_a_policy_that_routes_to_nothing_is_found(tmp_path: Path) -> None:
    (fault,) = _faults(_checked(tmp_path, _CONSOLE, _policy(routes=[])))
    assert fault == (
        "policy scoring_drift: it routes to nothing, so nobody is told of what it finds. "
        "Add routes=[...] with names of channels of featurestore.toml: ops."
    )


def test_a_route_that_names_no_channel_is_found(tmp_path: Path) -> None:
    (fault,) = _faults(_checked(tmp_path, _CONSOLE, _policy(routes=["ops", "op"])))
    assert fault.startswith('policy scoring_drift: it routes to "op", which featurestore.toml does not configure.')


def test_a_policy_whose_channels_are_all_disabled_is_found(tmp_path: Path) -> None:
    text = _CONSOLE + '[channels.screen]\nkind = "console"\n'
    policy = _policy(routes=["ops", "screen"])
    channel, alone = _faults(_checked(tmp_path, text, policy, disabled={"ops": "gone", "screen": "gone"}))[1:]
    assert channel.startswith("channel screen: it is disabled, as its receiver wanted nothing more (gone).")
    assert channel.endswith("featurestore monitor outbox replay --dead --channel screen")
    assert alone.startswith("policy scoring_drift: it routes only to channels that are disabled: ops, screen.")
    one = _faults(_checked(tmp_path, text, policy, disabled={"ops": "gone"}))
    assert [fault.partition(":")[0] for fault in one] == ["channel ops"]


def test_a_rehearsal_that_nobody_hears_is_found(tmp_path: Path) -> None:
    (tmp_path / config.FILE_NAME).write_text(_CONSOLE)
    settings = config.load(tmp_path).for_replay("july")
    (fault,) = check(settings, [_policy()], disabled={}, now=datetime.now(UTC)).faults
    assert "none of its channels takes messages of a rehearsal" in fault.what
    assert fault.hint.startswith("Set rehearsals = true in [channels.ops]")


def test_a_channel_that_nobody_uses_is_remarked_on(tmp_path: Path) -> None:
    found = _checked(tmp_path, _CONSOLE + '[channels.screen]\nkind = "console"\n')
    assert (found.faults, found.remarks) == ((), ("channel screen: no policy routes to it",))


def test_a_calendar_of_a_policy_that_is_not_there_is_remarked_on(tmp_path: Path) -> None:
    text = _CONSOLE + '[mute.nights]\nhours = ["22:00-07:00"]\npolicies = ["scoring_drift", "scoring"]\n'
    found = _checked(tmp_path, text)
    assert found.remarks == ('calendar nights: it mutes policy "scoring", which is not registered',)


def test_channels_are_asked_at_once(tmp_path: Path) -> None:
    """None is answered before all are asked; one after the other each would wait in vain."""
    asked = threading.Barrier(8)

    def answer(_: Any) -> Reply:
        asked.wait(timeout=30)
        return Reply(204)

    with receiving(answer) as receiver:
        channels = [_webhook(f"{receiver.url}/{n}").replace("ops]", f"c{n}]").replace("= 3", "= 40") for n in range(8)]
        found = _checked(tmp_path, "".join(channels), _policy(routes=["c0"]))
    assert _faults(found) == []


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Path, Receiver]]:
    """A store with a policy that routes to a webhook which is there."""
    with receiving(lambda one: Reply(405 if one.method == "HEAD" else 204)) as receiver:
        (tmp_path / config.FILE_NAME).write_text(_webhook(f"{receiver.url}/hook"))
        with FeatureStore(tmp_path) as store:
            store.apply([_SERVICE, _policy()])
        yield tmp_path, receiver


def _run(*arguments: str) -> tuple[int, str]:
    ran = CliRunner().invoke(build(), ["monitor", "check", *arguments])
    return ran.exit_code, ran.output


def test_the_command_ends_with_0_where_nothing_is_wrong(shop: tuple[Path, Receiver]) -> None:
    folder, receiver = shop
    code, said = _run("-C", str(folder))
    assert (code, said) == (0, "channel ops would take a message\n1 channel in order, 1 policy, 0 faults\n")
    code, said = _run("-C", str(folder), "--send", "--channel", "ops")
    assert (code, said) == (0, "channel ops took a test message\n")
    assert receiver.requests[-1].method == "POST"


def test_the_command_tells_each_fault_in_a_line_and_ends_with_1(shop: tuple[Path, Receiver]) -> None:
    folder, receiver = shop
    receiver.stop()
    code, said = _run("-C", str(folder))
    faults = [line for line in said.splitlines() if line.startswith("Fault: ")]
    assert (code, len(faults)) == (1, 1)
    assert faults[0].startswith(f"Fault: channel ops: no connection to {receiver.url}")
    code, said = _run("-C", str(folder), "--format", "json")
    assert code == 1
    assert [one["about"] for one in json.loads(said)["faults"]] == ["channel ops"]


def test_the_command_knows_what_receivers_have_said(shop: tuple[Path, Receiver]) -> None:
    folder, receiver = shop
    receiver.replies.append(Reply(410))
    settings = config.load(folder)
    with History(settings.database_url(settings.monitor.database)) as history:
        with history.write() as connection:
            enqueue(
                connection,
                instance=history.instance,
                channel="ops",
                kind=Kind.FIRING,
                project="default",
                service="scoring@1",
                incident="i-1",
                sequence="1",
                severity="page",
                payload={},
                now=datetime.now(UTC),
            )
        with Courier(history, open_channels(settings)) as courier:
            assert courier.deliver_due().dead == 1
    code, said = _run("-C", str(folder))
    assert code == 1
    assert "Fault: channel ops: it is disabled, as its receiver wanted nothing more" in said
    assert "Fault: policy scoring_drift: it routes only to channels that are disabled: ops." in said


def test_a_channel_that_is_not_there_is_an_error_of_the_command_line(shop: tuple[Path, Receiver]) -> None:
    with pytest.raises(config.ConfigError, match='no channel "opps"') as raised:
        _checked(shop[0], _CONSOLE, only="opps")
    assert "ops" in raised.value.hint


def test_no_secret_is_in_what_a_check_says(tmp_path: Path) -> None:
    with pagerduty(routing_key="f" * 32) as (_, section):
        text = f"""
[channels.ops]
kind = "pagerduty"
routing_key = "{"f" * 32}"
url = "{section.url}"
allow_private_addresses = true
"""
        (fault,) = _faults(_checked(tmp_path, text))
        assert "routing_key; check it" in fault
        assert "f" * 32 not in fault


def test_a_database_that_cannot_be_read_is_a_fault_and_channels_are_asked_all_the_same(
    shop: tuple[Path, Receiver],
) -> None:
    folder, _ = shop
    settings = folder / config.FILE_NAME
    (folder / "text.db").write_text("this is no database, and long enough to be taken for none" * 100)
    settings.write_text('[monitor]\ndatabase = "sqlite:///text.db"\n' + settings.read_text())
    code, said = _run("-C", str(folder))
    assert code == 1
    assert "channel ops would take a message" in said
    assert "Fault: the monitor's database: " in said
