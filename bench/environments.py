"""Peers in environments of their own below .cache/bench, from the package registry, in pinned versions.

What cannot be installed is a contender that failed, with the reason: it is never left out in silence.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache" / "bench"
PEERS = REPOSITORY / "bench" / "peers"

REQUIREMENTS = {
    "duckdb": ("duckdb==1.5.5", "duckdb-extension-postgres-scanner==1.5.5", "duckdb-extension-tpch==1.5.5"),
    "ducklake": ("duckdb==1.5.5", "duckdb-extension-ducklake==1.5.5"),
    "connectorx": ("connectorx==0.4.6", "pyarrow==26.0.1"),
    "adbc": ("adbc-driver-postgresql==1.13.0", "pyarrow==26.0.1"),
    "duckdb-mysql": ("duckdb==1.5.5", "duckdb-extension-mysql-scanner==1.5.5"),
    "duckdb-s3": ("duckdb==1.5.5", "duckdb-extension-httpfs==1.5.5"),
    "dlt": (
        "dlt[sql_database,parquet,filesystem,deltalake]==1.31.0",
        "psycopg2-binary==2.9.12",
        "connectorx==0.4.6",
    ),
    "dlt-mysql": (
        "dlt[sql_database,parquet,filesystem]==1.31.0",
        "pymysql==1.2.4",
        "connectorx==0.4.6",
    ),
    "dlt-mongodb": ("dlt[parquet,filesystem]==1.31.0", "pymongo==4.20.0", "pymongoarrow==1.15.0"),
    "dlt-kafka": ("dlt[parquet,filesystem]==1.31.0", "confluent-kafka==2.16.1"),
    "dlt-s3": ("dlt[parquet,filesystem,s3]==1.31.0", "duckdb==1.5.5", "pandas==3.1.1"),
    "httpx": ("httpx==0.28.1", "orjson==3.11.4", "pyarrow==26.0.1"),
    # From 1.1.22 on the wheel fetches its program when it is first called.
    "ingestr": ("ingestr==1.1.21",),
    "obstore": ("obstore==0.12.1", "pyarrow==26.0.1"),
    "pymongo": ("pymongo==4.20.0", "pymongoarrow==1.15.0", "pyarrow==25.0.1"),
    "pointblank": ("pointblank==1.1.1", "ibis-framework[duckdb]==12.0.0", "duckdb==1.5.5", "polars==2.1.0"),
    # The wheel `sling` fetches its program when it is first called; this one holds it.
    "sling": ("sling-linux-amd64==1.4.11",),
}

# Nobody is to be told that a benchmark ran, no time is to be spent on telling, and nothing is to be fetched.
QUIET = {
    "DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "INGESTR_DISABLE_TELEMETRY": "true",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "SLING_DISABLE_TELEMETRY": "true",
    # It would fetch DuckDB's shell to write Parquet; with the registry's shell it lost rows without a word.
    "SLING_DUCKDB_COMPUTE": "false",
}


@dataclass(frozen=True)
class Environment:
    """A peer as installed.

    Attributes:
        name: of REQUIREMENTS.
        folder: the environment.
        failure: why it is not there; empty when it is.
    """

    name: str
    folder: Path
    failure: str = ""

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    def script(self, name: str, *arguments: object) -> tuple[str, ...]:
        """The call of a script of bench/peers."""
        return (self.python, str(PEERS / f"{name}.py"), *(str(argument) for argument in arguments))

    def file(self, pattern: str) -> Path | None:
        """The first of its files that fits."""
        return next(iter(sorted(self.folder.glob(pattern))), None)

    def size_bytes(self) -> int:
        """What it takes on the disk, the interpreter itself left out."""
        return disk_bytes(self.folder)

    def versions(self) -> dict[str, str]:
        """Every package and its version."""
        listed = subprocess.run(
            [uv(), "pip", "list", "--format", "json", "--python", self.python],
            capture_output=True,
            text=True,
            check=True,
        )
        return {one["name"]: one["version"] for one in json.loads(listed.stdout)}


def environment(name: str) -> Environment:
    """The peer's environment, made if it is not there or its requirements have changed."""
    return made(name, REQUIREMENTS[name])


@cache
def own(extra: str = "") -> Environment:
    """Asgard as users install it, from this repository, with one extra or none: peers have no more either."""
    wanted = f"asgard-platform[{extra}] @ {REPOSITORY.as_uri()}" if extra else str(REPOSITORY)
    return made(f"asgard-{extra}" if extra else "asgard", (wanted,), anew=True)


def asgard(extra: str = "") -> str:
    """The path of its command.

    Raises:
        SystemExit: it could not be installed.
    """
    if own(extra).failure:
        raise SystemExit(f"bench: asgard is {own(extra).failure}")
    return str(own(extra).folder / "bin" / "asgard")


def made(name: str, requirements: tuple[str, ...], anew: bool = False) -> Environment:
    """An environment with these requirements."""
    folder = CACHE / "venvs" / name
    note = folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if not anew and note.exists() and note.read_text() == wanted:
        return Environment(name, folder)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"bench: installing {name}: {' '.join(requirements)}", file=sys.stderr, flush=True)
    install = ("pip", "install", "--quiet", "--compile-bytecode")
    steps = [
        [uv(), "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv(), *install, "--python", str(folder / "bin" / "python"), *requirements],
    ]
    for step in steps:
        done = subprocess.run(step, env=as_pip_does(), capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            return Environment(name, folder, f"not installed: {' '.join(lines)[:300]}")
    note.write_text(wanted)
    return Environment(name, folder)


def uv() -> str:
    """The uv that `make setup` brought, or one of the machine's."""
    own = REPOSITORY / ".tools" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if not found:
        raise SystemExit("bench: there is no uv to install the peers with: make setup")
    return found


def disk_bytes(folder: Path) -> int:
    """What a folder takes on the disk: whole blocks, a file with several names once."""
    seen: set[int] = set()
    total = 0
    for file in folder.rglob("*"):
        status = file.lstat()
        if status.st_ino not in seen:
            seen.add(status.st_ino)
            total += status.st_blocks * 512
    return total


def as_pip_does() -> dict[str, str]:
    """The environment for uv: what pip was told about mirrors and certificates holds for uv too."""
    told = dict(os.environ)
    for ours, theirs in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE")):
        if ours in told:
            told.setdefault(theirs, told[ours])
    return {**told, "UV_HTTP_TIMEOUT": told.get("UV_HTTP_TIMEOUT", "180"), "UV_PYTHON_DOWNLOADS": "never"}
