"""Which contests there are."""

from __future__ import annotations

from bench.contests import extract, install, startup
from bench.setting import Room

CONTESTS: dict[str, Room] = {
    "startup": startup.contests,
    "install": install.contests,
    "extract": extract.contests,
}
"""By name, in the order in which they run."""
