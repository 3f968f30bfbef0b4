"""Transport security of the server: the settings of ``[serving.tls]``."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class TlsConfig(BaseModel):
    """``[serving.tls]``: files in PEM; none are named where the port is plain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: str = ""
    key: str = ""
    client_ca: str = ""  # whose certificates callers must show

    @property
    def enabled(self) -> bool:
        """Whether the port speaks TLS."""
        return bool(self.certificate)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("a certificate and its key are named together, or neither")
        if self.client_ca and not self.certificate:
            raise ValueError("client_ca needs a certificate and a key of the server beside it")
        return self
