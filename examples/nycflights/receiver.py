"""A webhook receiver to copy: it checks the signature, takes each message once, and answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_SECONDS = 300
LARGEST_BODY = 1 << 20


@dataclass
class Receiver:
    """A server on loopback that keeps what it was sent.

    Attributes:
        secret: shared with the sender: ``whsec_`` and base64.
        events: verified CloudEvents, each once, in order of arrival.
        rejected: requests whose signature was wrong or too old.
    """

    secret: str
    events: list[dict[str, Any]] = field(default_factory=list)
    rejected: int = 0

    def __post_init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(min(length, LARGEST_BODY))
                self.send_response(receiver._take(dict(self.headers), body))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing: the demo prints what arrives."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where to send."""
        return f"http://127.0.0.1:{self._server.server_port}/featurestore"

    def _take(self, headers: dict[str, str], body: bytes) -> int:
        found = {name.lower(): value for name, value in headers.items()}
        message_id, timestamp = found.get("webhook-id", ""), found.get("webhook-timestamp", "0")
        with self._lock:
            if not self._signed(message_id, timestamp, found.get("webhook-signature", ""), body):
                self.rejected += 1
                return 401
            # A message may come twice (its sender saw no answer): its id is the same, and it counts once.
            if message_id not in self._seen:
                self._seen.add(message_id)
                self.events.append(json.loads(body))
        return 204

    def _signed(self, message_id: str, timestamp: str, signatures: str, body: bytes) -> bool:
        if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
            return False
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
        wanted = f"v1,{base64.b64encode(digest).decode()}"
        return any(hmac.compare_digest(wanted, given) for given in signatures.split())
