"""Mail, to a real server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import structlog

from featurestore.errors import ConfigError
from featurestore.settings.channels import MailConfig
from monitor.alerts.base import Kind, Message, Status
from monitor.alerts.channels.letter import compose
from monitor.alerts.channels.mail import Mail
from tests.contract.channel_far_sides.base import message
from tests.contract.channel_far_sides.mail import PASSWORD, MailServer, mail_server, section
from tests.contract.channel_far_sides.receiving import certificate_file

_NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_file(tmp_path_factory.mktemp("mail"))


@pytest.fixture
def server(certificate: Path) -> Iterator[MailServer]:
    with mail_server(certificate) as found:
        yield found


def _mail(server: MailServer, certificate: Path | None, **settings: Any) -> Mail:
    return Mail("oncall", section(server, certificate, **settings))


def _sent(server: MailServer, certificate: Path, said: Message, **settings: Any) -> EmailMessage:
    outcome = _mail(server, certificate, **settings).deliver(said, now=_NOW)
    assert (outcome.status, outcome.reason) == (Status.DELIVERED, "")
    assert outcome.reference == server.mails[-1]["Message-ID"]
    return server.mails[-1]


def test_a_mail_is_text_and_html_with_the_picture_in_it(server: MailServer, certificate: Path) -> None:
    mail = _sent(server, certificate, message(Kind.FIRING, summary="f@1 <b>drifted</b> \u00e4; look & see"))
    assert server.logins == ["monitor"]
    assert server.recipients == [["oncall@example.com", "second@example.com"]]
    assert mail["Subject"] == "Incident 12: source weather_csv"
    assert (mail["From"], mail["To"]) == (
        "Monitor <monitor@example.com>",
        "oncall@example.com, Second <second@example.com>",
    )
    text, related = mail.iter_parts()
    assert (text.get_content_type(), related.get_content_type()) == ("text/plain", "multipart/related")
    first, second, *rest = text.get_content().splitlines()
    assert first == "PAGE 12: f@1 <b>drifted</b> \u00e4; look & see"
    assert second == "  do        Fix the pipeline."
    assert [line for line in rest if line.startswith("  now     ")]
    page, picture = related.iter_parts()
    shown = page.get_content()
    assert "<strong>PAGE 12</strong>: f@1 &lt;b&gt;drifted&lt;/b&gt; \u00e4; look &amp; see" in shown
    assert '<a href="https://runbooks.example.com/weather">' in shown
    assert "<code>featurestore monitor ack 12</code>" in shown
    assert f'<img src="cid:{picture["Content-ID"].strip("<>")}" alt="temp: share of rows, before (90,000 rows)' in shown
    assert "\u2588" not in shown  # the picture says it
    assert picture.get_content().startswith(b"\x89PNG")
    assert picture.get_content_disposition() == "inline"


def test_a_message_without_shares_is_a_mail_without_a_picture(server: MailServer, certificate: Path) -> None:
    mail = _sent(server, certificate, message(Kind.TEST))
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert "<img" not in mail.as_string()


def test_the_mails_of_an_incident_are_a_thread(server: MailServer, certificate: Path) -> None:
    thread, identifiers, subjects = "", [], set()
    for number, kind in enumerate((Kind.FIRING, Kind.UPDATED, Kind.ACKNOWLEDGED, Kind.RESOLVED), 1):
        mail = _sent(server, certificate, message(kind, key=f"msg_{number}", thread=thread))
        identifiers.append(mail["Message-ID"])
        subjects.add(mail["Subject"])
        assert mail["References"].split()[0] == "<incident-abc-1@example.com>"
        assert mail["In-Reply-To"] in mail["References"].split()
        if thread:
            assert mail["References"].split()[1] == identifiers[0]
        thread = thread or identifiers[0]
    assert len(set(identifiers)) == 4
    assert len(subjects) == 1
    other = _sent(server, certificate, Message(**{**vars(message(Kind.FIRING)), "incident": "abc-2"}))
    assert other["References"] == "<incident-abc-2@example.com>"


def test_a_mail_that_is_sent_again_is_the_same_mail(server: MailServer, certificate: Path) -> None:
    one, other = (_sent(server, certificate, message(Kind.FIRING)) for _ in range(2))
    boundaries = ("Content-Type", "X-Peer", "X-MailFrom", "X-RcptTo")
    for header in {*one.keys(), *other.keys()} - set(boundaries):
        assert one[header] == other[header], header


def test_machines_do_not_answer_and_pages_are_urgent(server: MailServer, certificate: Path) -> None:
    page = _sent(server, certificate, message(Kind.FIRING))
    assert page["Auto-Submitted"] == "auto-generated"
    assert page["X-Auto-Response-Suppress"] == "All"
    assert (page["Importance"], page["X-Priority"]) == ("high", "1")
    assert (page["X-Featurestore-Severity"], page["X-Featurestore-Service"]) == ("page", "f@1")
    for said in (message(Kind.RESOLVED), message(Kind.FIRING, severity="ticket"), message(Kind.TEST)):
        assert _sent(server, certificate, said)["Importance"] is None


@pytest.mark.parametrize("name", ["x" * 255, "source weather csv", "\u00e4-1", "a@b>\r\nBcc: x"])
def test_an_incident_of_any_name_has_an_identifier(server: MailServer, certificate: Path, name: str) -> None:
    said = Message(**{**vars(message(Kind.FIRING)), "incident": name, "service": f"f@1 {name}"})
    mail = _sent(server, certificate, said)
    root = mail["References"]
    assert root.isascii()
    assert len(root.split()) == 1
    assert root.startswith("<incident-")
    assert root.endswith("@example.com>")
    assert mail["Bcc"] is None


def test_identifiers_are_written_as_they_are_however_long() -> None:
    """The standard library encodes what does not fit its line, and an encoded identifier is none."""
    sender = Address(display_name="Monitor", username="monitor", domain=f"{'x' * 60}.example.com")
    thread = f"<msg_{'0' * 32}@{sender.domain}>"
    said = Message(
        **{**vars(message(Kind.RESOLVED, key=f"msg_{'1' * 32}", thread=thread)), "incident": "2" * 62 + "-1"}
    )
    head = compose(said, sender, (sender,), None).as_bytes().partition(b"\r\n\r\n")[0]
    assert b"=?" not in head
    assert f"References: <incident-{said.incident}@{sender.domain}> {thread}\r\n".encode() in head
    assert max(map(len, head.split(b"\r\n"))) <= 998


def test_a_template_writes_the_mail(server: MailServer, certificate: Path) -> None:
    settings = {"template": "{title} on {service}\n\n{action}", "subject_template": "[{severity}] {service}"}
    mail = _sent(server, certificate, message(Kind.FIRING), **settings)
    assert mail["Subject"] == "[page] f@1"
    text = mail.get_body(("plain",))
    assert text is not None
    assert text.get_content().splitlines() == ["PAGE 12 on f@1", "  ", "  Fix the pipeline."]


@pytest.mark.parametrize(
    ("replies", "status", "reason"),
    [
        ({"MAIL": "451 later"}, Status.RETRY, "refused the sender: 451"),
        ({"MAIL": "550 no"}, Status.REFUSED, "refused the sender: 550"),
        ({"RCPT": "450 greylisted"}, Status.RETRY, "refused every recipient: 450"),
        ({"RCPT": "550 nobody of that name"}, Status.REFUSED, "refused every recipient: 550"),
        (
            {"RCPT oncall@example.com": "550 no", "RCPT second@example.com": "451 later"},
            Status.RETRY,
            "refused every recipient: 451, 550",
        ),
        ({"DATA": "452 no room"}, Status.RETRY, "refused the message: 452"),
        ({"DATA": "552 too large, oncall@example.com"}, Status.REFUSED, "refused the message: 552"),
    ],
)
def test_only_five_hundreds_are_for_good(
    server: MailServer, certificate: Path, replies: dict[str, str], status: Status, reason: str
) -> None:
    server.replies.update(replies)
    outcome = _mail(server, certificate).deliver(message(Kind.FIRING), now=_NOW)
    assert (outcome.status, outcome.untaken) == (status, True)
    assert outcome.reason == f"127.0.0.1:{server.port} {reason}"


def test_one_recipient_that_is_refused_does_not_keep_the_others_waiting(server: MailServer, certificate: Path) -> None:
    server.replies["RCPT oncall@example.com"] = "550 nobody of that name"
    with structlog.testing.capture_logs() as logged:
        outcome = _mail(server, certificate).deliver(message(Kind.FIRING), now=_NOW)
    assert outcome.status is Status.DELIVERED
    assert server.recipients == [["second@example.com"]]
    (line,) = logged
    assert (line["event"], line["recipients"], line["codes"]) == ("recipients were refused", [1], [550])
    assert "example.com" not in str(line)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_password_that_is_not_accepted_may_be_mended(certificate: Path, security: str) -> None:
    with mail_server(certificate, tls=security == "tls") as found:
        channel = _mail(found, certificate, security=security, password="wrong")
        for outcome in (channel.deliver(message(Kind.FIRING), now=_NOW), channel.probe(now=_NOW)):
            assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
            assert outcome.reason == f"127.0.0.1:{found.port} does not accept the user or the password (535)"
        right = _mail(found, certificate, security=security)
        assert right.probe(now=_NOW).status is Status.DELIVERED
        assert right.deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED
        assert len(found.mails) == 1


def test_a_server_without_tls_gets_nothing_unless_that_is_wanted(certificate: Path) -> None:
    with mail_server(None) as found:
        outcome = _mail(found, certificate).deliver(message(Kind.FIRING), now=_NOW)
        assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
        assert "offers no STARTTLS" in outcome.reason
        assert found.mails == []
        assert _mail(found, None).deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_is_of_the_host_and_of_today(tmp_path: Path, security: str) -> None:
    past = certificate_file(tmp_path, name="past", until=_NOW - timedelta(hours=1))
    other = certificate_file(tmp_path, name="other", host="mail.example.com")
    for file, said in ((past, "certificate has expired"), (other, "IP address mismatch")):
        with mail_server(file, tls=security == "tls") as found:
            channel = _mail(found, file, security=security)
            for outcome in (channel.deliver(message(Kind.FIRING), now=_NOW), channel.probe(now=_NOW)):
                assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
                assert said in outcome.reason
            assert (found.mails, found.logins) == ([], [])


def test_a_certificate_that_ends_soon_is_remarked_on(tmp_path: Path) -> None:
    file = certificate_file(tmp_path, until=_NOW + timedelta(days=3))
    with mail_server(file) as found:
        outcome = _mail(found, file).probe(now=_NOW)
        assert outcome.status is Status.DELIVERED
        assert "its certificate ends on" in outcome.reason


def test_a_private_address_is_only_for_those_who_are_allowed(server: MailServer, certificate: Path) -> None:
    channel = _mail(server, certificate, allow_private_addresses=False)
    for outcome in (channel.deliver(message(Kind.FIRING), now=_NOW), channel.probe(now=_NOW)):
        assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
        assert "127.0.0.1, not a public address" in outcome.reason
    assert server.mails == []


def test_a_server_that_cannot_be_reached_says_which(certificate: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        dead = MailServer(port=one.getsockname()[1])
        outcome = _mail(dead, certificate).probe(now=_NOW)
    assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
    assert outcome.reason == f"no connection to 127.0.0.1:{dead.port}: Connection refused"
    nowhere = _mail(dead, certificate, host="mail.invalid").probe(now=_NOW)
    assert nowhere.reason.startswith("mail.invalid cannot be resolved")


@pytest.mark.parametrize("letters", [b"", b"2", b"250-x\r\n"])
def test_a_server_that_dawdles_has_the_time_of_an_attempt(certificate: Path, letters: bytes) -> None:
    """It says nothing, or a letter now and then, which keeps every limit of a single step from being reached."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def dawdle() -> None:
            connection, _ = listening.accept()
            with connection:
                if letters.startswith(b"250"):
                    connection.sendall(b"220 hello\r\n")
                while not ended.wait(0.05):
                    try:
                        connection.sendall(letters)
                    except OSError:
                        return

        thread = threading.Thread(target=dawdle)
        thread.start()
        try:
            begun = time.monotonic()
            slow = MailServer(port=listening.getsockname()[1])
            outcome = _mail(slow, certificate, timeout_seconds=0.5).deliver(message(Kind.FIRING), now=_NOW)
            took = time.monotonic() - begun
        finally:
            ended.set()
            thread.join()
    assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
    assert "did not answer in 0.5 s" in outcome.reason
    assert took < 5


def test_a_server_that_hangs_up_after_the_message_may_have_taken_it() -> None:
    with mail_server(None) as found:
        found.replies["DATA"] = "421 going down"
        outcome = _mail(found, None).deliver(message(Kind.FIRING), now=_NOW)
    assert outcome.status is Status.RETRY


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": ""}, "names no mail server"),
        ({"recipients": []}, "has no recipients"),
        ({"sender": ""}, "The sender of channel"),
        ({"sender": "nobody"}, "The sender of channel"),
        ({"sender": "a@b\r\nBcc: secret@example.com"}, "The sender of channel"),
        ({"recipients": ["ok@example.com", "secret@example.com, more@example.com"]}, "Recipient 2 of channel"),
        ({"recipients": ["secret"]}, "Recipient 1 of channel"),
        ({"security": "none", "user": "u"}, "would go over the network as it is"),
        ({"template": "{nothing}"}, 'unknown name "nothing"'),
        ({"ca_file": "/nowhere.pem"}, "ca_file"),
    ],
)
def test_a_section_that_cannot_work_is_refused_and_repeats_no_address(settings: dict[str, Any], said: str) -> None:
    values = {"kind": "mail", "host": "mail.example.com", "sender": "a@example.com", "recipients": ["b@example.com"]}
    with pytest.raises(ConfigError, match=said) as raised:
        Mail("oncall", MailConfig.model_validate(values | settings))
    assert "secret" not in str(raised.value)


def test_a_domain_of_any_script_is_written_as_servers_know_it(server: MailServer, certificate: Path) -> None:
    mail = _sent(
        server, certificate, message(Kind.FIRING), sender="m@b\u00fccher.example", recipients=["p@\u00e4.example"]
    )
    assert server.recipients[-1] == ["p@xn--4ca.example"]
    assert mail["Message-ID"] == "<msg_1@xn--bcher-kva.example>"
    assert PASSWORD not in mail.as_string()
