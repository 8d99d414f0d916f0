"""Durations and sizes as people write them: `90s`, `1h30m`, `1d`; `512MB`, `1GiB`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from asgard.core.errors import ConfigError

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")
DURATION_PATTERN = r"^(\d+(\.\d+)?\s*(ms|[smhdw])\s*)+$"
_BYTES = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "ki": 2**10, "kib": 2**10,
    "m": 10**6, "mb": 10**6, "mi": 2**20, "mib": 2**20,
    "g": 10**9, "gb": 10**9, "gi": 2**30, "gib": 2**30,
    "t": 10**12, "tb": 10**12, "ti": 2**40, "tib": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
SIZE_PATTERN = r"^\d+(\.\d+)?\s*([kKmMgGtT]?[bB]?|[kKmMgGtT][iI][bB]?)$"


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `5m`, `1h30m`, `1.5h`, `2w`, `250ms`; units of one duration add up.

    Raises:
        ConfigError: it is not a duration; a bare number is none, because its unit is not known.

    >>> parse_duration("1h30m")
    5400.0
    """
    wanted = text.strip().lower()
    parts = _DURATION_PART.findall(wanted)
    units = [unit for _, unit in parts]
    if not parts or _DURATION_PART.sub("", wanted) or len(set(units)) != len(units):
        raise ConfigError(f"{text!r} is not a duration", hint="write it as 90s, 5m, 1h30m, 1d or 2w")
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def parse_size(text: str | int) -> int:
    """Bytes of `512MB`, `1GiB`, `1.5G`; a bare number is bytes, MB is 10^6 and MiB is 2^20.

    Raises:
        ConfigError: it is not a size.

    >>> parse_size("512MB"), parse_size("1GiB")
    (512000000, 1073741824)
    """
    found = _SIZE.fullmatch(str(text).strip())
    factor = _BYTES.get(found[2].lower()) if found else None
    if found is None or factor is None:
        raise ConfigError(f"{text!r} is not a size", hint="write it as 512MB or 1GiB")
    return int(float(found[1]) * factor) if "." in found[1] else int(found[1]) * factor


def _size(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return _valued(parse_size, value)
    raise ValueError("must be a size such as 512MB or 1GiB")


def _lag(value: Any) -> Any:
    if not isinstance(value, str) or re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return value
    return _valued(parse_duration, value)


def _valued(parse: Any, value: Any) -> Any:
    """pydantic knows the field only of a ValueError."""
    try:
        return parse(value)
    except ConfigError as error:
        raise ValueError(f"{error.what}; {error.hint}") from error


Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", "minimum": 0}]}
    ),
]
"""Bytes, written as `512MB` or a number."""

Lag = Annotated[
    float,
    BeforeValidator(_lag),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"type": "number", "minimum": 0}]}
    ),
]
"""Seconds, written as a duration; or a number in the unit of what it is about."""
