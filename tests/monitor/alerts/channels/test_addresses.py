"""Where a name leads, and which addresses are of the public internet."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.channels.addresses import UnreachableError, checked, is_public


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("100.64.0.1", False),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@given(st.ip_addresses(v=4))
def test_an_address_in_the_clothes_of_another_family_is_what_it_is(address: Any) -> None:
    assert is_public(f"::ffff:{address}") is is_public(str(address))


def _resolver(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    def resolve(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_one_private_address_among_public_ones_is_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolver(monkeypatch, "93.184.216.34", "127.0.0.1")
    with pytest.raises(UnreachableError) as raised:
        checked("hooks.example.com", 443, allow_private=False)
    assert "127.0.0.1" in raised.value.reason
    assert "allow_private_addresses" in raised.value.reason
    assert raised.value.untaken


def test_addresses_come_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolver(monkeypatch, "93.184.216.35", "93.184.216.34", "93.184.216.35")
    assert checked("hooks.example.com", 443, allow_private=False) == ("93.184.216.35", "93.184.216.34")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".example.com", "..", "\ud800.example.com"])
def test_a_name_that_leads_nowhere_is_told(host: str) -> None:
    with pytest.raises(UnreachableError, match="cannot be resolved"):
        checked(host, 443, allow_private=False)
