"""Which contests there are."""

from __future__ import annotations

from bench.contests import (
    api,
    checks,
    commits,
    extract,
    install,
    kafka,
    memory,
    merge,
    mongodb,
    mysql,
    s3,
    startup,
)
from bench.setting import Room

CONTESTS: dict[str, Room] = {
    "startup": startup.contests,
    "install": install.contests,
    "checks": checks.contests,
    "commits": commits.contests,
    "merge": merge.contests,
    "extract": extract.contests,
    "mysql": mysql.contests,
    "mongodb": mongodb.contests,
    "s3": s3.contests,
    "kafka": kafka.contests,
    "api": api.contests,
    "memory": memory.contests,
}
"""By name, in the order in which they run."""
