"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgard.app.config.quantities import parse_duration, parse_size
from asgard.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400), ("2w", 1209600), ("1.5h", 5400),
     ("250ms", 0.25),     (" 1H 30M ", 5400), ("0s", 0), ("1d12h", 129600)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5x", "5m3", "-5m", "1h1h", "1h 2", "1,5h", "five minutes", "１h x"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration") as caught:
        parse_duration(text)
    assert caught.value.hint == "write it as 90s, 5m, 1h30m, 1d or 2w"


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512_000_000), ("1GiB", 1 << 30), ("1.5G", 1_500_000_000), ("64Mi", 64 << 20),
     ("10 kb", 10_000),     ("7", 7), (7, 7), ("2tib", 2 << 40), ("0B", 0)],
)  # fmt: skip
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "5XB", "-5MB", "1,5GB", "5 5MB", -5])
def test_what_is_no_size(text: str | int) -> None:
    with pytest.raises(ConfigError, match="is not a size") as caught:
        parse_size(text)
    assert caught.value.hint == "write it as 512MB or 1GiB"


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59))
def test_the_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@given(st.integers(0, 2**62))
def test_sizes_are_exact(size: int) -> None:
    assert parse_size(str(size)) == size
    assert parse_size(f"{size}KiB") == size * 1024
