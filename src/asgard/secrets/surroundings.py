"""What every store of secrets is given, and which store is behind which scheme.

Stores are imported when a reference of their scheme is read: a project without references to them pays
nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError

if TYPE_CHECKING:
    from asgard.core.secret import SecretStore

STORES = {
    "aws": "asgard.secrets.aws:SecretsManager",
    "azure": "asgard.secrets.azure:KeyVault",
    "gcp": "asgard.secrets.gcp:SecretManager",
    "k8s": "asgard.secrets.k8s:KubernetesSecrets",
    "store": "asgard.secrets.store:EncryptedStore",
    "vault": "asgard.secrets.vault:Vault",
}
"""Scheme of a reference to the class of its store."""
TIMEOUT_SECONDS = 10.0
RETRIES = 2


@dataclass(frozen=True)
class Surroundings:
    """Where a reference is read.

    Attributes:
        folder: of the project file.
        variable: an environment variable, else one of `.env`; None where there is none.
    """

    folder: Path
    variable: Callable[[str], str | None] = field(repr=False)
    cancel: Cancel = field(default_factory=Cancel)

    def needed(self, name: str, hint: str) -> str:
        """A variable that must have a value.

        Raises:
            ConfigError: it has none.
        """
        found = self.variable(name)
        if not found:
            raise ConfigError(f"the variable {name} is not set", hint=hint)
        return found


def open_store(scheme: str, surroundings: Surroundings) -> SecretStore:
    """The store behind a scheme of `STORES`; connects to nothing yet."""
    module, _, name = STORES[scheme].partition(":")
    store: SecretStore = getattr(importlib.import_module(module), name)(surroundings)
    return store
