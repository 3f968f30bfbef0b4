"""What to do about a channel: every fault that a check finds says so."""

from __future__ import annotations

import pytest

from monitor.alerts.remedies import remedy


@pytest.mark.parametrize(
    ("reason", "do"),
    [
        (
            "https://x.example.com: its certificate is not accepted: certificate has expired",
            "ca_file under [channels.o]",
        ),
        ("https://x.example.com: no TLS with it: wrong version number", "Has the port TLS at all?"),
        ("x.invalid cannot be resolved: Name or service not known", "Check the host under"),
        (
            "h is at 10.0.0.1, not a public address; allow_private_addresses = true would allow it",
            "If it is meant to be there, set that under [channels.o].",
        ),
        ("no connection to http://h:1: Connection refused", "Check host and port under"),
        ("https://x.example.com did not answer in 10 s", "firewall"),
        ("smtp://h:25 does not accept the user or the password (535)", "Check user and password"),
        ("smtp://h:25 offers no STARTTLS, or no way to log on that is known here", "Check port and security"),
        ("https://x.example.com answered 403", "Check the secret or the token"),
        ("https://x.example.com answered 404", "Check the path of the url"),
        ("https://x.example.com answered 429", "later"),
        ("https://x.example.com answered 503: busy", "It is at fault itself"),
        ("data/alerts.jsonl cannot be written: Permission denied", "Check the path under"),
        ("something else", "Look at [channels.o] in featurestore.toml"),
    ],
)
def test_a_reason_has_a_remedy(reason: str, do: str) -> None:
    assert do in remedy("o", reason)


@pytest.mark.parametrize(
    "reason",
    ["https://e.example.com does not know the routing_key; check it", "the bot is not in channel x; invite it"],
)
def test_what_a_channel_says_itself_is_not_said_twice(reason: str) -> None:
    assert remedy("o", reason) == ""
