"""What an auditor does: keep a signed head of the audit log, and check the log against every head that there is."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from featurestore.errors import RegistryError
from featurestore.offline.datasets.manifest import manifest_files
from featurestore.registry import AuditReport, FoundHead, Head, signing_key
from featurestore.registry.signing import check_public, existing_signing_key
from featurestore.serving.heads import logged_heads
from featurestore.store.opened import Opened

_HINT = "featurestore audit head --out FILE writes one."


class Auditing(Opened):
    """The audit log and its witnesses."""

    def audit_head(self) -> Head:
        """Return the head of the audit log, signed by this store's key.

        Raises:
            ConfigError: the key cannot be read or made.
        """
        return self.registry.head(signing_key(self.config))

    def verify_audit(self, heads: Sequence[str | os.PathLike[str]] = (), keys: Sequence[str] = ()) -> AuditReport:
        """Check the audit log by its hashes, and by every signed head that is found.

        Heads are read from the manifests of training datasets, in the registry and on disk, from beside the server's
        log, and from the given files.

        Args:
            heads: files that :meth:`audit_head` was written to as JSON; better kept on another machine.
            keys: the public keys to trust, instead of this store's own: an auditor's, noted down elsewhere.

        Raises:
            RegistryError: a given file holds no head, or one of another project.
            DefinitionError: a key is none.
            ConfigError: this store's own key cannot be read.
        """
        given = [self._given(Path(file)) for file in heads]
        own = None if keys else existing_signing_key(self.config)
        known = [check_public(key) for key in keys] or ([] if own is None else [own.public])
        # Before the log is read: a head that is signed in between would seem to vouch for entries that were cut off.
        logged, unreadable = logged_heads(self.config.path(self.config.serving.log_path))
        for file in manifest_files(self.config):
            try:
                stored = json.loads(file.read_bytes()).get("audit_head")
                if stored is not None:  # a release that signed none made the dataset
                    logged.append(FoundHead(Head.from_json(stored, str(file)), str(file)))
            except (ValueError, AttributeError, OSError):
                unreadable.append(f"{file} is no manifest that can be read.")
            except RegistryError as error:
                unreadable.append(error.message)
        report = self.registry.check_audit([*given, *logged], known=known, only_known=bool(keys))
        return replace(report, warnings=(*report.warnings, *unreadable))

    def _given(self, file: Path) -> FoundHead:
        try:
            head = Head.from_json(json.loads(file.read_bytes()), str(file))
        except OSError as error:
            raise RegistryError(f"The head {file} cannot be read: {error.strerror}.", hint=_HINT) from None
        except ValueError:
            raise RegistryError(f"{file} holds no head of an audit log.", hint=_HINT) from None
        if head.project != self.config.project:
            raise RegistryError(
                f'The head in {file} is of project "{head.project}", and this is "{self.config.project}".',
                hint="Check it in the folder of that project.",
            )
        return FoundHead(head, str(file))
