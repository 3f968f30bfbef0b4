"""What all sections have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table of ``featurestore.toml``: a key that it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)
