"""Certificates in files: what is wrong is said before anything listens, and what is in use outlives what is broken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from structlog.testing import capture_logs

from featurestore.config import Config
from featurestore.errors import ConfigError
from featurestore.serving.certificates import Certificates
from featurestore.settings.serving import ServingConfig, TlsConfig

DAY = timedelta(days=1)


def serial(pem: bytes) -> str:
    return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"


def write(folder: Path, pair: tuple[bytes, bytes]) -> None:
    (folder / "server.pem").write_bytes(pair[0])
    (folder / "server.key").write_bytes(pair[1])


@pytest.fixture
def config(tmp_path: Path, authority: Any) -> Config:
    write(tmp_path, authority.issue())
    tls = TlsConfig(certificate="server.pem", key="server.key")
    return Config(root=tmp_path, serving=ServingConfig(tls=tls))


def test_the_certificate_in_use_is_told_of_with_its_end(config: Config, tmp_path: Path) -> None:
    with capture_logs() as said:
        Certificates(config).tell()
    ((line),) = said
    pem = (tmp_path / "server.pem").read_bytes()
    assert (line["event"], line["serial"]) == ("certificate in use", serial(pem))
    assert line["expires"] == x509.load_pem_x509_certificate(pem).not_valid_after_utc.isoformat()


def test_nothing_secret_is_shown(config: Config, tmp_path: Path) -> None:
    certificates = Certificates(config)
    secret = (tmp_path / "server.key").read_text().splitlines()[1]
    assert secret not in repr(certificates.pem) + repr(certificates)


def no_key(folder: Path, _: Any) -> None:
    (folder / "server.key").write_text("-----BEGIN PRIVATE KEY-----\nMIGHAgEAM\n-----END PRIVATE KEY-----\n")


def key_of_another(folder: Path, authority: Any) -> None:
    (folder / "server.key").write_bytes(authority.issue()[1])


def key_with_password(folder: Path, _: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    hidden = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    (folder / "server.key").write_bytes(hidden)


BROKEN: list[tuple[Callable[[Path, Any], object], str]] = [
    (
        lambda folder, _: (folder / "server.key").unlink(),
        r'"serving.tls.key": .*server\.key cannot be read: No such file',
    ),
    (lambda folder, _: (folder / "server.pem").unlink(), r'"serving.tls.certificate": .* cannot be read'),
    (no_key, r"server\.key holds no private key in PEM"),
    (lambda folder, _: (folder / "server.key").write_bytes(b"\xff\x00"), "holds no private key in PEM"),
    (lambda folder, _: (folder / "server.pem").write_text("nothing"), r"server\.pem holds no certificate in PEM"),
    (key_of_another, r"key .*server\.key is not that of the certificate .*server\.pem"),
    (key_with_password, "is guarded by a password"),
    (lambda folder, authority: write(folder, authority.issue(ends=-DAY / 2)), r"server\.pem has expired, on 2"),
    (lambda folder, authority: write(folder, authority.issue(begins=DAY)), "is not valid before 2"),
]


@pytest.mark.parametrize(("breaking", "said"), BROKEN)
def test_what_is_wrong_is_said_at_the_start(
    config: Config, tmp_path: Path, authority: Any, breaking: Callable[[Path, Any], object], said: str
) -> None:
    breaking(tmp_path, authority)
    with pytest.raises(ConfigError, match=said) as refused:
        Certificates(config)
    assert refused.value.hint
    assert "MIGHAgEAM" not in str(refused.value)


@pytest.mark.parametrize(("breaking", "said"), BROKEN)
def test_what_is_wrong_later_is_logged_once_and_what_was_in_use_stays(
    config: Config, tmp_path: Path, authority: Any, breaking: Callable[[Path, Any], object], said: str
) -> None:
    certificates = Certificates(config)
    before = certificates.pem
    breaking(tmp_path, authority)
    with capture_logs() as logged:
        for _ in range(5):
            certificates.refresh()
    assert certificates.pem is before
    ((line),) = logged
    assert (line["event"], line["log_level"]) == ("certificate not changed", "error")
    assert line["in_use"] == serial(before.chain)
    with pytest.raises(ConfigError, match=said):
        raise ConfigError(line["error"])
    write(tmp_path, fresh := authority.issue())
    with capture_logs() as logged:
        certificates.refresh()
    assert [(line["event"], line["serial"]) for line in logged] == [("certificate changed", serial(fresh[0]))]
    assert certificates.pem.chain == fresh[0]


def test_files_that_are_replaced_one_after_the_other_are_no_fault(
    config: Config, tmp_path: Path, authority: Any
) -> None:
    certificates = Certificates(config)
    fresh = authority.issue()
    with capture_logs() as logged:
        (tmp_path / "server.pem").write_bytes(fresh[0])
        certificates.refresh()
        (tmp_path / "server.key").write_bytes(fresh[1])
        certificates.refresh()
    assert [line["event"] for line in logged] == ["certificate changed"]


def test_a_new_authority_of_clients_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, config: Config, authority: Any, stranger: Any
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    tls = TlsConfig(certificate="server.pem", key="server.key", client_ca="ca.pem")
    config = config.model_copy(update={"serving": ServingConfig(tls=tls)})
    certificates = Certificates(config)
    (tmp_path / "ca.pem").write_bytes(authority.pem + stranger.pem)
    certificates.refresh()
    assert certificates.pem.client_ca == authority.pem + stranger.pem
    (tmp_path / "ca.pem").write_text("")
    with capture_logs() as logged:
        certificates.refresh()
        certificates.refresh()
    assert [line["event"] for line in logged] == ["certificate not changed"]
    assert certificates.pem.client_ca == authority.pem + stranger.pem
    with pytest.raises(ConfigError, match=r"ca\.pem holds no certificate"):
        Certificates(config)


@pytest.mark.parametrize(
    ("lives", "left", "warned", "warned_a_day_later"),
    [(90, 16, False, False), (90, 15, False, True), (90, 13, True, True), (6, 4, False, False), (6, 1, True, True)],
)
def test_a_certificate_that_is_near_its_end_is_warned_of_once_a_day(
    config: Config, tmp_path: Path, authority: Any, lives: int, left: int, warned: bool, warned_a_day_later: bool
) -> None:
    write(tmp_path, authority.issue(begins=(left - lives) * DAY, ends=left * DAY))
    now = datetime.now(UTC)
    certificates = Certificates(config, now=lambda: now)
    with capture_logs() as said:
        certificates.tell()
        certificates.refresh()
    assert [line["event"] for line in said[1:]] == ["certificate expires soon"] * warned
    now += DAY + timedelta(minutes=1)
    with capture_logs() as said:
        certificates.refresh()
        certificates.refresh()
    events = {"certificate expires soon", "certificate has expired: clients refuse this server"}
    assert [line["event"] in events for line in said] == [True] * warned_a_day_later


def test_a_certificate_that_has_ended_under_a_running_server_is_an_error_in_the_log(
    config: Config, tmp_path: Path, authority: Any
) -> None:
    write(tmp_path, authority.issue(ends=DAY))
    now = datetime.now(UTC)
    certificates = Certificates(config, now=lambda: now)
    now += 3 * DAY
    with capture_logs() as said:
        certificates.refresh()
    assert [line["log_level"] for line in said] == ["error"]


@pytest.mark.parametrize("given", [{"certificate": "a"}, {"key": "a"}, {"client_ca": "a"}])
def test_settings_that_are_half_there_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"together|beside it"):
        TlsConfig(**given)
