"""The keys by which a bucket is opened: from the environment or the AWS files, read anew each time, and never kept.

What needs no file (roles of machines and containers, web identities, Google's and Azure's own variables) the libraries
find by themselves.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

from featurestore.errors import ConfigError

#: What object stores are opened with, and by which nobody else may see them.
_SECRET_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)

_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


def s3_credentials(profile: str) -> dict[str, str]:
    """Return the keys for S3, or those settings of them that files have; nothing where the libraries look themselves.

    Args:
        profile: the profile that the settings name; it comes before the variables. "" is that of the environment.

    Raises:
        ConfigError: no file has the profile, or one cannot be read.
    """
    if not profile and os.environ.get("AWS_ACCESS_KEY_ID"):
        return {key: os.environ[key.upper()] for key in _KEYS if os.environ.get(key.upper())}
    name = profile or os.environ.get("AWS_PROFILE") or "default"
    found = _section(_file("AWS_CONFIG_FILE", "config"), name if name == "default" else f"profile {name}")
    found |= _section(_file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), name)
    if not found and (profile or os.environ.get("AWS_PROFILE")):
        raise ConfigError(
            f'No file has the AWS profile "{name}".',
            hint="~/.aws/credentials and ~/.aws/config are read, or those that AWS_SHARED_CREDENTIALS_FILE and "
            "AWS_CONFIG_FILE name.",
        )
    taken = {key: found[key] for key in _KEYS if key in found}
    return taken | ({"aws_region": found["region"]} if "region" in found else {})


def from_environment(*names: str) -> str:
    """Return the first of these variables that is set; "" if none is."""
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def hidden(texts: Mapping[str, str]) -> list[str]:
    """Return what no message may show: the keys among these options, and those of the environment."""
    known = [texts.get(key, "") for key in _KEYS] + [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    return sorted({one for one in known if one}, key=len, reverse=True)


def _file(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / ".aws" / name)


def _section(file: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        # A parser's message quotes the line that it cannot read, which may be one with a key.
        raise ConfigError(f"{file} cannot be read as a file of AWS profiles ({type(error).__name__}).") from None
    return dict(parser.items(name)) if parser.has_section(name) else {}
