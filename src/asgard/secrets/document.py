"""A secret that holds several values by key, and the `name#key` that picks one of them."""

from __future__ import annotations

import json

from asgard.core.errors import ConfigError
from asgard.core.secret import Secret


def name_and_key(name: str, form: str) -> tuple[str, str | None]:
    """`name#key` in its parts; the key is None where there is none.

    Args:
        form: how such a reference is written, for the hint.

    Raises:
        ConfigError: a part is empty. The text is not in the message: it may be a secret in the wrong place.
    """
    path, separator, key = name.partition("#")
    if not path.strip("/") or (separator and not key):
        raise ConfigError("the reference names no secret", hint=f"write ${{{form}}}")
    return path, key if separator else None


def picked(text: str, key: str | None, told: str) -> Secret:
    """The whole text, or what a JSON object has below the key.

    Args:
        told: what the secret is called, for messages.

    Raises:
        ConfigError: the text is no JSON object, or has no such key.
    """
    if key is None:
        return Secret(text)
    try:
        document = json.loads(text)
    except ValueError:
        document = None  # and no cause: the error's text quotes the secret
    if not isinstance(document, dict):
        raise ConfigError(f"{told} has no keys: it is no JSON object", hint=f"leave #{key} out")
    return of_key(document, key, told)


def of_key(document: dict[str, object], key: str, told: str) -> Secret:
    """What stands below a key, as text.

    Raises:
        ConfigError: there is no such key; the hint names those that there are.
    """
    if key not in document:
        raise ConfigError(
            f"{told} has no key {key!r}", hint=f"it has: {', '.join(sorted(document)) or 'none'}"
        )
    value = document[key]
    return Secret(value if isinstance(value, str) else json.dumps(value))
