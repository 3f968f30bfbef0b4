"""Tokens as a server knows them: who is let in, to what, and until when."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import FeatureStoreError, PermissionDeniedError, UnauthenticatedError
from featurestore.registry import Token
from featurestore.serving.tokens import SCOPES, KnownTokens

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
TEXT = "fs_abcdefghijkl_" + "x" * 43


def token(text: str = TEXT, *scopes: str, **about: object) -> Token:
    made = Token(
        name="checkout",
        id=text.split("_")[1],
        digest=hashlib.sha256(text.encode()).hexdigest(),
        scopes=scopes or ("read",),
        services=(),
        views=(),
        created_at=NOW - HOUR,
        created_by="ada",
        expires_at=None,
        revoked_at=None,
    )
    return replace(made, **about)  # type: ignore[arg-type]


def knowing(*tokens: Token) -> KnownTokens:
    known = KnownTokens()
    known.replace(tokens)
    return known


@pytest.mark.parametrize("method", [*SCOPES, "AdvanceClock", "WhatComesLater"])
@pytest.mark.parametrize("scope", ["read", "push", "log", "signals", "admin"])
def test_a_scope_reaches_its_methods_and_admin_reaches_all(method: str, scope: str) -> None:
    known = knowing(token(TEXT, scope))
    if scope == "admin" or scope == SCOPES.get(method, "admin"):
        assert known.admit(method, f"Bearer {TEXT}").name == "checkout"
    else:
        with pytest.raises(PermissionDeniedError, match=f'Token "checkout" is for {scope}; {method} needs') as refused:
            known.admit(method, f"Bearer {TEXT}")
        assert SCOPES.get(method, "admin") in refused.value.hint


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("", "it is missing"),
        ("Bearer", "none of the kind Bearer"),
        (TEXT, "none of the kind Bearer"),
        (f"Basic {TEXT}", "none of the kind Bearer"),
        ("Bearer fs_abcdefghijkl_" + "y" * 43, "not known"),
        ("Bearer fs_otherothers_" + "x" * 43, "not known"),
        (f"Bearer {TEXT} ", "not known"),
        (f"Bearer  {TEXT}", "not known"),
        (f"Bearer {TEXT[:-1]}", "not known"),
        ("Bearer fs_abcdefghijkl_\u00e4\ud800", "not known"),
    ],
)
def test_what_is_no_valid_token_is_refused_and_not_repeated(sent: str, said: str) -> None:
    with pytest.raises(UnauthenticatedError, match=said) as refused:
        knowing(token()).admit("GetOnlineFeatures", sent)
    assert refused.value.hint
    assert "xxx" not in str(refused.value)
    assert "yyy" not in str(refused.value)


def test_the_kind_may_be_written_in_any_case() -> None:
    assert knowing(token()).identify(f"bearer {TEXT}").name == "checkout"


def test_a_token_is_refused_from_when_it_expires_or_is_revoked() -> None:
    assert knowing(token(expires_at=NOW + HOUR)).identify(f"Bearer {TEXT}")
    with pytest.raises(UnauthenticatedError, match='Token "checkout" has expired, on 2'):
        knowing(token(expires_at=NOW)).identify(f"Bearer {TEXT}")
    with pytest.raises(UnauthenticatedError, match='Token "checkout" was revoked on 2'):
        knowing(token(revoked_at=NOW, expires_at=NOW + HOUR)).identify(f"Bearer {TEXT}")


def test_whoever_has_not_the_token_hears_nothing_of_its_end() -> None:
    with pytest.raises(UnauthenticatedError, match="not known"):
        knowing(token(expires_at=NOW)).identify("Bearer fs_abcdefghijkl_" + "y" * 43)


def test_a_limited_token_reads_its_services_in_all_versions_and_pushes_to_its_views() -> None:
    who = knowing(token(TEXT, "read", "push", services=("churn",), views=("spending",))).identify(f"Bearer {TEXT}")
    for fine in ("churn", "churn@1", "churn@99"):
        who.check_service(fine)
    for other in ("churn2", "", "@1", "chur", "CHURN", "fraud@1"):
        with pytest.raises(PermissionDeniedError, match="The token is not for feature service") as refused:
            who.check_service(other)
        assert "It is for churn." in refused.value.hint
    who.check_view("spending")
    with pytest.raises(PermissionDeniedError, match='not for feature view "visits"'):
        who.check_view("visits")
    anything = knowing(token()).identify(f"Bearer {TEXT}")
    anything.check_service("whatever")
    anything.check_view("whatever")


def test_a_call_that_goes_on_notices_that_its_token_has_ended() -> None:
    known = knowing(token())
    who = known.identify(f"Bearer {TEXT}")
    who.check_standing()
    known.replace([token(revoked_at=NOW)])
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        who.check_standing()
    known.replace([])
    with pytest.raises(UnauthenticatedError, match="not known any more"):
        who.check_standing()


def test_what_has_expired_is_entered_once_and_again_if_that_failed() -> None:
    known = knowing(token(expires_at=NOW), token(TEXT.replace("abc", "xyz"), expires_at=NOW + HOUR))
    entered = []

    def fails() -> None:
        raise OSError("the registry is away")

    with pytest.raises(OSError, match="away"):
        known.enter_expired(fails)
    for _ in range(3):
        known.enter_expired(lambda: entered.append(1))
    assert entered == [1]
    known.replace([token(expires_at=NOW, revoked_at=NOW)])
    known.enter_expired(lambda: entered.append(2))
    assert entered == [1]


@given(
    sent=st.text(max_size=90)
    | st.text(max_size=60).map("Bearer {}".format)
    | st.text(max_size=60).map("Bearer fs_{}".format)
)
def test_no_text_but_the_token_is_let_in(sent: str) -> None:
    with pytest.raises(FeatureStoreError) as refused:
        knowing(token()).admit("GetOnlineFeatures", sent)
    assert isinstance(refused.value, UnauthenticatedError)
