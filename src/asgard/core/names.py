"""Lake names: what columns, streams and tables are called in the lake, and where tables lie.

Pure functions. A name stays as it is wherever Delta, Parquet, SQL and a file system can carry it; what cannot
gets `__` and six digits of its own hash, so that no two names meet, also not on systems that do not tell
case, and the same original has the same lake name for ever.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping (names without it)
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

from asgard.core.errors import ConfigError
from asgard.core.table import TableName

EXTRACTED_AT = "extracted_at"
RESERVED_PREFIX = "_asgard_"
VALID_FROM = "_asgard_valid_from"
VALID_TO = "_asgard_valid_to"
DEFAULT_NAMESPACES = ("public", "main", "dbo", "")
LAYERS = ("bronze", "silver", "gold")
MAX_NAME_BYTES = 255
MAX_PART_BYTES = 200
HASH_DIGITS = 6

_UNFIT = re.compile(r"[ ,;{}()\n\t=\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff.\"'`\\/]")
"""What Delta forbids without column mapping, what ends or escapes a quoted name somewhere, and controls."""


def fold(name: str) -> str:
    """What two names have in common when some system takes them for the same.

    Through upper case too: Java, and so Spark, holds `ı` and `i` for equal.
    """
    lower = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", lower.upper().casefold())


def lake_names(
    originals: Iterable[str],
    known: Mapping[str, str] | None = None,
    reserved: Iterable[str] = (EXTRACTED_AT,),
) -> dict[str, str]:
    """The lake name of each original name: injective, and unique without regard to case.

    Args:
        originals: the source's names, in its order: of two that collide the first keeps its name.
        known: original to lake name as given earlier; they stay, whether they are among the originals or not.
        reserved: lake names that nobody may have.

    Returns:
        Original to lake name, in the order of the originals.
    """
    known = known or {}
    taken = {fold(name) for name in (*known.values(), *reserved)}
    names: dict[str, str] = {}
    for original in originals:
        if original in names:
            continue
        name = known.get(original)
        if name is None:
            name = _new_name(original, taken)
            taken.add(fold(name))
        names[original] = name
    return names


def stream_table(namespace: str, name: str, default_namespaces: Iterable[str] = DEFAULT_NAMESPACES) -> str:
    """What a stream's table is to be called: `orders`, or `sales__orders` outside of the default namespaces.

    It is an original for `lake_names`, which settles what cannot stay or collides.
    """
    return name if namespace in tuple(default_namespaces) else f"{namespace}__{name}"


def folder(name: TableName) -> str:
    """Where the table lies below the lake's location: `bronze/shop/orders`, POSIX separators.

    Each part is percent-encoded, also where some file system or lake reader would hide or bend it. Parts
    beyond 200 bytes are cut and end in a hash: `from_folder` gives another name for them, of the same folder.
    """
    return "/".join(_encoded(part) for part in name.parts)


def from_folder(path: str) -> TableName:
    """The table of a folder that `folder` gave.

    Raises:
        ConfigError: the path has not the form of one.
    """
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if len(parts) == 3 and all(parts):
        return TableName(parts[0], parts[1], parts[2])
    if len(parts) == 2 and all(parts):
        return TableName(parts[0], "", parts[1])
    raise ConfigError(f"{path!r} is no table's folder", hint="tables lie at layer/name or layer/source/name")


def sql_name(name: TableName) -> str:
    """`"bronze"."shop"."orders"`, for SQL."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.parts)


def _new_name(original: str, taken: set[str]) -> str:
    name = _UNFIT.sub("_", unicodedata.normalize("NFC", original))
    fits = len(name.encode()) <= MAX_NAME_BYTES
    reserved = fold(name).startswith(RESERVED_PREFIX)
    if name == original and name and fits and not reserved and fold(name) not in taken:
        return name
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()
    if reserved or fold(f"{name}_").startswith(
        RESERVED_PREFIX
    ):  # with what is put behind it, `_asgard` is, too
        name = name.lstrip("_")
    for digits in range(HASH_DIGITS, len(digest) + 1):
        suffix = f"__{digest[:digits]}"
        candidate = _cut(name, MAX_NAME_BYTES - len(suffix)) + suffix
        if fold(candidate) not in taken:
            return candidate
    raise AssertionError("two names have one SHA-256")


def _cut(text: str, size_bytes: int) -> str:
    return text.encode()[:size_bytes].decode("utf-8", "ignore")


def _encoded(part: str) -> str:
    whole = _percent(unicodedata.normalize("NFC", part))
    if len(whole) <= MAX_PART_BYTES:
        return whole
    suffix = f"__{hashlib.sha256(part.encode()).hexdigest()[:16]}"
    kept = ""
    for character in unicodedata.normalize("NFC", part):
        if len(_percent(kept + character)) > MAX_PART_BYTES - len(suffix):
            break
        kept += character
    return _percent(kept + suffix)


def _percent(text: str) -> str:
    encoded = quote(text, safe="-_.~")
    if encoded[:1] in ("_", "."):  # lake readers take such folders for hidden
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return encoded[:-1] + "%2E" if encoded.endswith(".") else encoded  # some file systems drop it
