"""What is trusted is read once, and shared by those who speak one protocol."""

from __future__ import annotations

import ssl

from monitor.alerts.channels.tls import context


def test_the_public_authorities_are_read_once_for_each_protocol() -> None:
    http, other, smtp = (context("any", "", protocol=name) for name in ("http", "http", "smtp"))
    assert http is other
    assert smtp is not http  # HTTP is negotiated by what is set on it
    for one in (http, smtp):
        assert one.verify_mode is ssl.CERT_REQUIRED
        assert one.check_hostname
        assert one.cert_store_stats()["x509_ca"] > 0
