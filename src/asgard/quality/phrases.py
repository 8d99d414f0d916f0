"""How checks speak of good and bad rows: the words of each kind, in the singular and in the plural."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def some(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


Forms = tuple[str, str]
"""Of one, and of many."""


def being(what: str) -> tuple[Forms, Forms]:
    """Good and bad, where good is to be something."""
    return (f"is {what}", f"are {what}"), (f"is not {what}", f"are not {what}")


def range_text(options: Mapping[str, Any]) -> str:
    """`at least 5`, `above 0 and at most 7`, `between 1 and 2`."""
    low, high = options.get("min"), options.get("max")
    above = f"{'above' if options.get('strict_min') else 'at least'} {shown(low)}"
    below = f"{'below' if options.get('strict_max') else 'at most'} {shown(high)}"
    if low is None or high is None:
        return below if low is None else above
    strict = options.get("strict_min") or options.get("strict_max")
    return f"{above} and {below}" if strict else f"between {shown(low)} and {shown(high)}"


def listed(values: Sequence[Any]) -> str:
    """The first of them, and how many more there are."""
    texts = [shown(value) for value in values]
    more = f" and {len(texts) - 5} more" if len(texts) > 6 else ""
    return f"{', '.join(texts[:5] if more else texts)}{more}"


def shown(value: Any) -> str:
    """A value of a check as sentences show it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def duration(seconds: int) -> str:
    """In its two largest units."""
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:,} {name}")
    return " ".join(parts[:2]) or "0 s"
