"""Tokens on the command line: printed once, listed without what is secret, revoked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]


@pytest.fixture
def applied(command: Command) -> Command:
    assert command("apply").code == 0
    return command


def test_a_token_is_made_listed_and_revoked(applied: Command) -> None:
    made = applied("token", "create", "checkout", "--scope", "read", "--service", "scoring", "--expires", "90d")
    assert made.code == 0
    # Nothing else, so that a shell can keep it.
    assert re.fullmatch(r"fs_[a-z0-9]{12}_[A-Za-z0-9]{43}\n", made.out)
    assert 'That is token "checkout", for read. It expires on ' in made.err
    assert 'authentication = "token"' in made.err
    secret = made.out.strip().rpartition("_")[2]
    listed = applied("token", "list")
    begin = made.out[:15]
    assert re.fullmatch(
        rf"checkout +{begin}_\.\.\.  valid +read, of scoring, until 2\d{{3}}-\S+ \S+  2\d{{3}}-\S+ by .*\n", listed.out
    )
    (shown,) = json.loads(applied("token", "list", "--format", "json").out)
    assert (shown["name"], shown["scopes"], shown["services"], shown["state"]) == (
        "checkout",
        ["read"],
        ["scoring"],
        "valid",
    )
    assert "digest" not in shown
    revoked = applied("token", "revoke", "checkout")
    assert (revoked.code, revoked.out) == (0, 'Token "checkout" is revoked.\n')
    assert " revoked " in applied("token", "list").out
    audit = applied("audit", "--action", "token", "-v")
    assert len(re.findall(r"\btoken\b +checkout", audit.out)) == 2
    for said in (listed, revoked, audit, applied("audit", "--format", "json")):
        assert secret not in said.out + said.err
    assert applied("audit", "verify").code == 0


def test_several_scopes_and_views_are_named_one_by_one(applied: Command) -> None:
    made = applied("token", "create", "etl", "--scope", "push", "--scope", "log", "--view", "spending")
    assert made.code == 0
    assert "for push, log. It does not expire." in made.err
    assert "push,log, to spending  " in applied("token", "list").out


def test_whoever_has_asked_for_tokens_is_not_told_to(applied: Command) -> None:
    file = applied.folder / "featurestore.toml"  # type: ignore[attr-defined]
    file.write_text(file.read_text().replace("[serving]", '[serving]\nauthentication = "token"'))
    assert "featurestore.toml" not in applied("token", "create", "x", "--scope", "admin").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x"], "Missing option '--scope'"),
        (["create", "x", "--scope", "write"], "'write' is not one of"),
        (["create", "x y", "--scope", "read"], "cannot name a token"),
        (["create", "x", "--scope", "read", "--service", "scring"], 'Did you mean "scoring"?'),
        (["create", "x", "--scope", "read", "--service", "scoring@1"], "is a version"),
        (["create", "x", "--scope", "read", "--view", "spending"], "has no scope push"),
        (["create", "x", "--scope", "read", "--expires", "soon"], "--expires: 'soon' is no duration"),
        (["create", "x", "--scope", "read", "--expires", "0d"], "which is past"),
        (["create", "x", "--scope", "read", "--expires", "9999999d"], "after the year 9999"),
        (["create", "x", "--scope", "read", "--expires", "99999999999999d"], "--expires: "),
        (["revoke", "x"], 'There is no token "x"'),
        (["list"], "There is no token. Next: featurestore token create"),
    ],
)
def test_mistakes_are_told_in_a_sentence(applied: Command, arguments: list[str], said: str) -> None:
    ended = applied("token", *arguments)
    assert said in " ".join((ended.out + ended.err).split())
    assert "Traceback" not in ended.err
    assert ended.code == (arguments != ["list"])
    assert json.loads(applied("token", "list", "--format", "json").out) == []
