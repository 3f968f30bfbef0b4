"""Sessions: a signed cookie that says which token was shown and when; and what each form carries against forgery."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer

#: The names of the cookies.
SESSION, SAID = "featurestore_session", "featurestore_said"
#: How long what became of an action waits to be shown, in seconds.
SAID_SECONDS = 60
#: Letters of it: browsers drop a cookie of more than 4,096 bytes without a word.
_SAID_LETTERS = 600
#: Sessions that ended before their time, which are remembered until it is over.
_MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a browser holds.

    Attributes:
        id: random; a new one at each login.
        token: the id of the token that was shown; "" for none.
    """

    id: str
    token: str = ""


class Sessions:
    """Makes and reads cookies.

    Args:
        secret: signs them; "" for one that nobody knows, so that all sessions end with the process.
        seconds: how long a session lasts.
    """

    def __init__(self, secret: str, *, seconds: float) -> None:
        key = secret or secrets.token_urlsafe(32)
        self.seconds = int(seconds)
        self._key = key.encode()
        self._signer = URLSafeTimedSerializer(key, salt="featurestore dashboard session")
        self._sayer = URLSafeTimedSerializer(key, salt="featurestore dashboard said")
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def new(self, token: str = "") -> Session:
        """Return a session that begins now."""
        return Session(id=secrets.token_urlsafe(24), token=token)

    def write(self, session: Session) -> str:
        """Return the value of a session's cookie."""
        return str(self._signer.dumps([session.id, session.token]))

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None if it was made up, has expired or was ended."""
        found = _loaded(self._signer, cookie, self.seconds)
        if not (isinstance(found, list) and len(found) == 2 and all(isinstance(one, str) for one in found)):
            return None
        return None if found[0] in self._ended else Session(id=found[0], token=found[1])

    def end(self, session: Session) -> None:
        """Let a session count no more, whoever has copied its cookie."""
        with self._lock:
            self._ended[session.id] = None
            if len(self._ended) > _MOST:
                self._ended.popitem(last=False)

    def form_key(self, session: Session) -> str:
        """Return what a form of this session carries, and no other site can know."""
        return hmac.new(self._key, b"form " + session.id.encode(), hashlib.sha256).hexdigest()

    def is_form_key(self, session: Session, shown: str) -> bool:
        """Return whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_key(session).encode(), shown.encode(errors="replace"))

    def write_said(self, session: Session, kind: str, text: str) -> str:
        """Return the cookie by which the next page says what became of an action."""
        shown = text if len(text) <= _SAID_LETTERS else f"{text[: _SAID_LETTERS - 1]}…"
        return str(self._sayer.dumps([session.id, kind, shown]))

    def read_said(self, session: Session, cookie: str) -> tuple[str, str] | None:
        """Return the kind and the text of what is to be said; None if there is nothing."""
        found = _loaded(self._sayer, cookie, SAID_SECONDS)
        if not (isinstance(found, list) and len(found) == 3 and found[0] == session.id):
            return None
        return str(found[1]), str(found[2])


def _loaded(signer: URLSafeTimedSerializer, text: str, seconds: int) -> Any:
    try:
        return signer.loads(text, max_age=seconds)
    except BadSignature:  # an expired one is one too
        return None
