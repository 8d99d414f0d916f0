"""Tokens and sessions as text: a prefix that tells what it is, an id that anybody may see, 256 random bits.

`asgt_` begins a token and `asgs_` a session, so that a scanner finds one that strayed into a repository or a
log. What is stored is the SHA-256 of the whole: nobody guesses 256 bits, so a slow hash would only cost time.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal

from asgard.core.secret import STARS, Secret

Kind = Literal["token", "session"]
_PREFIXES: dict[str, Kind] = {"asgt": "token", "asgs": "session"}
_TEXT = re.compile(r"(asg[ts])_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True)
class Credential:
    """What somebody showed, or is given.

    Attributes:
        id: names it in lists, logs and `revoke`.
        digest: hexadecimal SHA-256 of the whole text.
    """

    kind: Kind
    id: str
    digest: str = field(repr=False)

    def is_of(self, digest: str) -> bool:
        """Whether it is the one with that digest, in a time that does not tell how much of it is right."""
        return secrets.compare_digest(self.digest, digest)


def new_credential(kind: Kind) -> tuple[Credential, Secret]:
    """A new one, and the text of it, which is nowhere else."""
    prefix = next(prefix for prefix, named in _PREFIXES.items() if named == kind)
    text = f"{prefix}_{secrets.token_hex(6)}_{secrets.token_hex(32)}"
    found = credential(text)
    assert found is not None
    return found, Secret(text)


def credential(text: str) -> Credential | None:
    """The credential of a text; None when it is none."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    return Credential(_PREFIXES[found[1]], found[2], hashlib.sha256(text.encode()).hexdigest())


def bearer(header: str) -> Credential | None:
    """The credential of an `Authorization: Bearer ...` header; None when it has none.

    >>> bearer("Basic YWRhOmE=") is None
    True
    """
    scheme, _, text = header.strip().partition(" ")
    return credential(text.strip()) if scheme.lower() == "bearer" else None


def without_credentials(text: str) -> str:
    """The text with stars in place of every token and session.

    >>> without_credentials("asgt_0123456789ab_" + "0" * 64)
    'asgt_0123456789ab_**********'
    """
    return _TEXT.sub(lambda found: f"{found[1]}_{found[2]}_{STARS}", text)
