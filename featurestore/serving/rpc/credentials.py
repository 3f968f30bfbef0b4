"""TLS as gRPC wants it: certificates that may change while it listens."""

from __future__ import annotations

from typing import Any

import grpc

from featurestore.serving.certificates import Certificates, Pem


def server_credentials(certificates: Certificates) -> Any:
    """Return credentials that give each new connection the certificate of its time; those there are keep theirs.

    Args:
        certificates: the server's. Where they have a CA of clients, only those with a certificate of it are let in.
    """
    given = certificates.pem

    def changed() -> Any:
        # gRPC asks before each handshake, in a thread of its own; None is for "as before".
        nonlocal given
        now = certificates.pem
        if now is given:
            return None
        given = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given), changed, require_client_authentication=given.client_ca is not None
    )


def _configuration(pem: Pem) -> Any:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], root_certificates=pem.client_ca)
