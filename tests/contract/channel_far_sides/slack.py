"""Slack's methods, as far as the bot uses them: it keeps what was posted, edited and uploaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from featurestore.settings.channels import SlackConfig
from monitor.alerts.channels.slack import open_slack
from tests.contract.channel_far_sides.base import SETTINGS, FarSide
from tests.contract.channel_far_sides.receiving import Receiver, Reply, Request, receiving

TOKEN = "xoxb-1234-the-token-of-the-tests"
CHANNEL = "C0123456789"
_LARGEST_BLOCKS = 13_200


@dataclass
class Workspace:
    """One channel of Slack.

    Attributes:
        receiver: what speaks HTTP.
        posts: what was posted, in order; the ``ts`` of one is its place.
        edits: (``ts``, fields) of each edit.
        files: (``thread_ts``, bytes) of each file.
        errors: what the next calls of a method are refused with.
        scopes: of the token.
    """

    receiver: Receiver = field(default_factory=Receiver)
    posts: list[dict[str, Any]] = field(default_factory=list)
    edits: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    errors: dict[str, list[str]] = field(default_factory=dict)
    scopes: str = "chat:write,files:write"
    _uploaded: bytes = b""

    def reply(self, request: Request) -> Reply:
        method = request.path.rpartition("/")[2]
        if method == "upload":
            assert "authorization" not in request.headers
            self._uploaded = request.body
            return Reply(200, body=b"OK")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _fields(ok=False, error="invalid_auth")
        if self.errors.get(method):
            return _fields(ok=False, error=self.errors[method].pop(0), needed="files:write")
        form = request.headers["content-type"].startswith("application/x-www-form")
        given = (
            {key: one for key, (one,) in parse_qs(request.body.decode()).items()} if form else json.loads(request.body)
        )
        return getattr(self, "_" + method.replace(".", "_"))(given)

    def _auth_test(self, _: dict[str, Any]) -> Reply:
        return Reply(200, {"x-oauth-scopes": self.scopes}, b'{"ok": true}')

    def _conversations_info(self, given: dict[str, Any]) -> Reply:
        return _fields(ok=True, channel={"id": given["channel"], "is_member": False, "is_archived": False})

    def _chat_postMessage(self, given: dict[str, Any]) -> Reply:  # noqa: N802 - Slack's name
        error = _fault(given)
        if error:
            return _fields(ok=False, error=error)
        self.posts.append(given)
        return _fields(ok=True, channel=CHANNEL, ts=f"{len(self.posts)}.000100")

    def _chat_update(self, given: dict[str, Any]) -> Reply:
        # An id, and no name: so Slack wants it.
        if given["channel"] != CHANNEL:
            return _fields(ok=False, error="channel_not_found")
        self.edits.append((given["ts"], given))
        return _fields(ok=True)

    def _files_getUploadURLExternal(self, given: dict[str, Any]) -> Reply:  # noqa: N802
        assert int(given["length"]) > 0
        return _fields(ok=True, upload_url=f"{self.receiver.url}/upload", file_id="F1")

    def _files_completeUploadExternal(self, given: dict[str, Any]) -> Reply:  # noqa: N802
        assert given["channel_id"] == CHANNEL
        self.files.append((given["thread_ts"], self._uploaded))
        return _fields(ok=True)


def _fields(**fields: Any) -> Reply:
    return Reply(200, {"content-type": "application/json"}, json.dumps(fields).encode())


def _fault(given: dict[str, Any]) -> str:
    """Return what Slack would have against a message: the limits of its documents."""
    shown = given["blocks"]
    if len(shown) > 50 or len(json.dumps(shown, ensure_ascii=False)) > 3 * _LARGEST_BLOCKS:
        return "msg_blocks_too_long"
    for block in shown:
        text = block.get("text", {}).get("text", "")
        if len(text) > (150 if block["type"] == "header" else 3_000) or (block["type"] != "rich_text" and not text):
            return "invalid_blocks"
    if sum(map(len, _texts(shown))) > _LARGEST_BLOCKS:
        return "msg_blocks_too_long"
    return "no_text" if not given["text"] or len(given["text"]) > 4_000 else ""


def _texts(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        for key, value in found.items():
            if key == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
    elif isinstance(found, list):
        for one in found:
            yield from _texts(one)


@contextmanager
def workspace(**settings: Any) -> Iterator[tuple[Workspace, SlackConfig]]:
    """A workspace, and the section of a bot in it."""
    found = Workspace()
    with receiving(found.reply) as found.receiver:
        values = {
            "kind": "slack",
            "token": TOKEN,
            "channel": "#alerts",
            "api_url": f"{found.receiver.url}/api",
            "allow_private_addresses": True,
        }
        yield found, SlackConfig.model_validate(values | SETTINGS | settings)


@contextmanager
def far_side(_: Path) -> Iterator[FarSide]:
    with workspace() as (found, section):
        yield FarSide(
            channel=open_slack("c", section),
            arrived=lambda: len(found.posts),
            received=lambda: json.dumps([found.posts, found.edits]),
            stop=found.receiver.stop,
            secrets=(TOKEN,),
            busy=lambda seconds: found.receiver.replies.append(
                Reply(429, {"retry-after": str(seconds)}, b'{"ok": false, "error": "ratelimited"}')
            ),
        )
