"""Masks of columns: what comes in clear from a source and must never lie in clear in the lake.

Pure over Arrow. `flow` puts masks on before anything is staged, so that staged and quarantined files, and
what engines spill, hold no clear value.

    hash      64 hex digits, HMAC-SHA256 of the value's text: equal values are equal in every table
    tokenize  tok_ and 32 hex digits, by the same key and the column's own name: equal values are equal within
              the column, and nowhere else
    partial   **** and the last 4 characters, of values with 8 or more; else **** alone
    redact    null, in the column's own type

The first three give text, and leave null null. A value's text is that of its canonical type, bytes count as
they are. One who has the key can try values; one who has not can only see which are equal.

Reference: https://www.rfc-editor.org/rfc/rfc2104
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.errors import AsgardError, ConfigError, DataError
from asgard.core.types import canonical_batch, canonical_schema

RESCUED = "_rescued"
"""Where connectors put what fits no column. Nobody knows what that is: where anything is masked, it is
redacted, unless the masks name it."""
MARK = "asgard.mask"
"""Key of a masked column's metadata: the kind, and of which key."""
SHOWN_CHARACTERS = 4
SHORTEST_SHOWN_CHARACTERS = 8
TOKEN_BYTES = 16


class Mask(StrEnum):
    """What is left of a value."""

    HASH = "hash"
    REDACT = "redact"
    PARTIAL = "partial"
    TOKENIZE = "tokenize"


KEYED = (Mask.HASH, Mask.TOKENIZE)
"""Masks that need a key, and that leave different values different."""


def misused(
    masks: Mapping[str, Mask], keys: Sequence[str], cursor: str | None
) -> Iterator[tuple[str, str, str]]:
    """Masks that cannot be: (column, what, hint)."""
    for column, mask in masks.items():
        if column == cursor:
            yield (
                column,
                "is the cursor, whose last value is kept in clear beside the table",
                "take another cursor, or do not mask it",
            )
        elif column in keys and mask not in KEYED:
            yield (
                column,
                f"is a key: with {mask} rows that differ would become one",
                "hash and tokenize keep them apart",
            )


@dataclass(frozen=True)
class Masking:
    """The masks of one stream.

    Attributes:
        masks: by the source's names.
        scope: what tokens are made for: source and stream.
        key: of those that need one.
        may_miss: a masked column that is not there is no mistake: a pattern of streams means it.
    """

    masks: Mapping[str, Mask]
    scope: str = ""
    key: bytes | None = field(default=None, repr=False)
    may_miss: bool = False

    def __post_init__(self) -> None:
        keyed = [column for column, mask in self.masks.items() if mask in KEYED]
        if keyed and not self.key:
            raise ConfigError(
                f"{', '.join(keyed)}: to be hashed or tokenized, but there is no masking_key",
                hint="asgard secrets set masking_key, and masking_key: ${store:masking_key} in asgard.yml",
            )

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The columns as they are once they are masked; each masked one is marked.

        Raises:
            ConfigError: a masked column is not there (it would come in clear under another name), or holds
                values that its mask cannot be put on.
        """
        missing = [column for column in self.masks if column not in schema.names]
        if missing and not self.may_miss:
            raise ConfigError(
                f"{', '.join(missing)}: to be masked, but there is no such column",
                hint=f"there are: {', '.join(schema.names)}. Was it given another name?",
            )
        return pa.schema([self._masked_field(column) for column in schema], metadata=schema.metadata)

    def applied(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with its columns masked; the others are the same arrays.

        Raises:
            DataError: a value of a masked column has no canonical form; it is not in the message.
        """
        fields, arrays = [], []
        for column, array in zip(batch.schema, batch.columns, strict=True):
            mask = self._of_columns.get(column.name)
            fields.append(column if mask is None else self._masked_field(column))
            arrays.append(array if mask is None else self._masked(column, array, mask))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=batch.schema.metadata))

    def _masked_field(self, column: pa.Field) -> pa.Field:
        mask = self._of_columns.get(column.name)
        if mask is None:
            return column
        canonical = canonical_schema(pa.schema([column])).field(0)
        if mask is Mask.REDACT:
            return canonical.with_nullable(True).with_metadata({MARK: str(mask)})
        if t.is_nested(canonical.type) or (mask is Mask.PARTIAL and t.is_binary(canonical.type)):
            raise ConfigError(
                f"{column.name} holds {canonical.type}: it cannot be masked by {mask}",
                hint="redact leaves nothing of it; a query or the connector's columns can take it apart",
            )
        mark = f"{mask}:{self._fingerprint}" if mask in KEYED else str(mask)
        return pa.field(column.name, pa.string(), True, {MARK: mark})

    def _masked(self, column: pa.Field, array: pa.Array, mask: Mask) -> pa.Array:
        if mask is Mask.REDACT:
            return pa.nulls(len(array), self._masked_field(column).type)
        plain = _plain(column, array)
        if mask is Mask.PARTIAL:
            return _partial(plain)
        secret = self._token_key(column.name) if mask is Mask.TOKENIZE else self._hash_key
        return _mapped(plain, _token(secret) if mask is Mask.TOKENIZE else _hash(secret))

    @cached_property
    def _of_columns(self) -> Mapping[str, Mask]:
        return {RESCUED: Mask.REDACT, **self.masks}

    @cached_property
    def _fingerprint(self) -> str:
        """Tells keys apart; says nothing about them."""
        return self._derived("fingerprint").hex()[:12]

    @cached_property
    def _hash_key(self) -> bytes:
        return self._derived("hash")

    def _token_key(self, column: str) -> bytes:
        return self._derived(f"tokenize\0{self.scope}\0{column}")

    def _derived(self, purpose: str) -> bytes:
        """A key of its own for each purpose: a hash says nothing about a token of the same value."""
        return hmac.digest(self.key or b"", f"asgard mask {purpose}".encode(), "sha256")


def _plain(column: pa.Field, array: pa.Array) -> pa.Array:
    """The text of the values in their canonical type; bytes as they are."""
    bare = pa.field(column.name, column.type, True, column.metadata)
    try:
        target = canonical_schema(pa.schema([bare]))
        plain = canonical_batch(pa.RecordBatch.from_arrays([array], schema=pa.schema([bare])), target).column(
            0
        )
        as_it_is = t.is_string(plain.type) or t.is_binary(plain.type)
        return plain if as_it_is else pc.cast(plain, pa.string())
    except (AsgardError, pa.ArrowException):
        # Neither the error nor its cause may go on: both may quote the value.
        problem = DataError(
            f"a value of {column.name}, which is masked, has no canonical form in {column.type}",
            hint="look at the source, or carry the column as text",
            where={"column": column.name},
        )
    raise problem


def _mapped(values: pa.Array, masked: Callable[[bytes], str]) -> pa.Array:
    """Each different value is worked out once."""
    encoded = values.cast(pa.binary()).dictionary_encode()
    texts = pa.array([masked(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def _hash(key: bytes) -> Callable[[bytes], str]:
    return lambda value: hmac.digest(key, value, "sha256").hex()


def _token(key: bytes) -> Callable[[bytes], str]:
    return lambda value: f"tok_{hmac.digest(key, value, 'sha256')[:TOKEN_BYTES].hex()}"


def _partial(texts: pa.Array) -> pa.Array:
    shown = pc.binary_join_element_wise("****", pc.utf8_slice_codeunits(texts, -SHOWN_CHARACTERS), "")
    long = pc.greater_equal(pc.utf8_length(texts), SHORTEST_SHOWN_CHARACTERS)
    return pc.if_else(long, shown, "****")


def remasked(table: pa.Schema, incoming: pa.Schema) -> list[str]:
    """Columns of both whose masks or keys differ: their values must not lie together."""
    marks = {column.name: (column.metadata or {}).get(MARK.encode()) for column in table}
    return [
        column.name
        for column in incoming
        if column.name in marks and marks[column.name] != (column.metadata or {}).get(MARK.encode())
    ]
