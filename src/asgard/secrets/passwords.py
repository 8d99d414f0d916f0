"""Passwords of users: hashed by Argon2id, so that a stolen store gives none of them away quickly.

A hash takes 64 MiB and some time on purpose. Only a few are worked out at the same time: sign-ins must not
take the memory that loads have.

Reference: https://www.rfc-editor.org/rfc/rfc9106#section-4, https://pages.nist.gov/800-63-4/sp800-63b.html
"""

from __future__ import annotations

import threading
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from asgard.core.errors import ConfigError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LEAST_CHARACTERS = 12
MOST_CHARACTERS = 1024
AT_ONCE = 2
_turns = threading.BoundedSemaphore(AT_ONCE)


def hashed(password: str) -> str:
    """The hash of a new password, with salt and parameters in it.

    Raises:
        ConfigError: it is too short or too long, or the library is not installed.
    """
    plain = _normal(password)
    if not LEAST_CHARACTERS <= len(plain) <= MOST_CHARACTERS:
        raise ConfigError(
            f"a password has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters",
            hint="four words that have nothing to do with each other are long, and easy to remember",
        )
    with _turns:
        return _hasher().hash(plain)


def matches(written: str | None, password: str) -> bool:
    """Whether it is the password of a hash.

    Args:
        written: None for nobody's: it takes as long as a wrong one, and is wrong.
    """
    from argon2.exceptions import Argon2Error, InvalidHashError

    hasher = _hasher()
    plain = _normal(password)
    if len(plain) > MOST_CHARACTERS:
        return False
    with _turns:
        try:
            hasher.verify(written or _nobodys(), plain)
        except (Argon2Error, InvalidHashError):
            return False
    return written is not None


def is_outdated(written: str) -> bool:
    """Whether the hash was made with other parameters than those of today."""
    return _hasher().check_needs_rehash(written)


def _normal(password: str) -> str:
    # The same letters typed on another keyboard come as other code points.
    return unicodedata.normalize("NFKC", password)


@cache
def _nobodys() -> str:
    return _hasher().hash("nobody has this password")


@cache
def _hasher() -> PasswordHasher:
    try:
        from argon2 import PasswordHasher
    except ImportError as error:
        raise ConfigError(
            "argon2 is not installed, passwords need it", hint="pip install 'asgard-platform[api]'"
        ) from error
    return PasswordHasher()
