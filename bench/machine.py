"""What the figures were made on: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("asgard-platform", "deltalake", "duckdb", "pyarrow", "psycopg", "sqlglot")


def described() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, and how busy the machine was before the first run."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": _field("/etc/os-release", "PRETTY_NAME", "="),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load_average": os.getloadavg()[0],
    }


def _field(file: str, name: str, separator: str = ":") -> str:
    path = Path(file)
    for line in path.read_text().splitlines() if path.exists() else []:
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return value.strip().strip('"')
    return "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
