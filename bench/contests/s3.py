"""From S3 to the lake: lineitem in 100 objects, Parquet and CSV, beside bare clients, DuckDB, dlt, ingestr.

The store is MinIO on this machine, so that bytes are near. Asgard runs a real project with its default
settings and five checks to a committed Delta table, and proves the types of CSV over every value.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from bench.carriers import Carriers, bars, ingestr
from bench.contest import Contender, Contest
from bench.contests.extract import LINEITEM_CHECKS
from bench.contests.mysql import SCALE_FACTOR
from bench.contests.orders import worker
from bench.setting import Setting
from bench.tables import lineitem_file
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, ObjectServer, new_bucket, object_store

REFERENCE = "pyarrow to parquet"
FILES = 100


@dataclass(frozen=True)
class Filled:
    """A bucket with the objects of one format, below a prefix of its name."""

    server: ObjectServer
    bucket: str
    form: str


def contests(setting: Setting) -> Iterator[Contest]:
    """Parquet, then CSV."""
    file = lineitem_file(round(1 / 60 if setting.quick else SCALE_FACTOR, 4))
    with file.open("rb") as lines:
        rows = sum(1 for _ in lines)
    with _filled(str(file)) as (server, bucket):
        for form, called in (("parquet", "Parquet"), ("csv", "CSV")):
            source = Filled(server, bucket, form)
            to = Carriers(setting.folder / f"s3-{form}", rows)
            contenders = [*_ours(to, source), *_others(to, source)]
            title = f"S3 to the lake: TPC-H lineitem, {rows:,} rows in {FILES} objects of {called}"
            measure = (contenders, bars(contenders), rows, REFERENCE)
            yield Contest(f"s3-{form}", title, *measure, server_pid=server.pid)


@contextmanager
def _filled(csv: str) -> Iterator[tuple[ObjectServer, str]]:
    with object_store("minio") as server:
        bucket = new_bucket(server)
        fill = worker("fill_bucket", server.url, bucket, ACCESS_KEY, SECRET_KEY, csv, FILES)
        subprocess.run(fill, check=True)
        yield server, bucket


def _ours(to: Carriers, source: Filled) -> Iterator[Contender]:
    shop = {"type": "s3", **source.server.s3_config(source.bucket)}
    table = {"name": "lineitem", "path": f"{source.form}/*.{source.form}"}
    note = "asgard run, 5 checks, committed Delta, default settings"
    yield to.asgard("asgard", note, shop, {**table, "checks": LINEITEM_CHECKS})
    yield to.asgard("asgard, no checks", "the same without checks", shop, table)


def _others(to: Carriers, source: Filled) -> Iterator[Contender]:
    where = (source.form, source.server.url, source.bucket, ACCESS_KEY, SECRET_KEY)
    yield to.limit_of(
        "obstore",
        "limit: bare obstore",
        "every object fetched whole, eight at a time, into nothing",
        lambda env, _: env.script("bare_bucket", *where),
    )
    yield to.peer(
        "obstore",
        REFERENCE,
        "pyarrow's own S3 client and data set; its writer, zstd 1; CSV typed by the first block",
        lambda env, folder: env.script("bare_bucket", *where, folder / "out"),
    )
    yield to.peer(
        "duckdb-s3",
        "duckdb httpfs to parquet",
        "bare Parquet, zstd 1, order not kept, 2 threads; CSV typed by a sample",
        lambda env, folder: env.script("duckdb_bucket", *where, folder / "out"),
    )
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "endpoint_url": source.server.url}
    yield to.peer(
        "ingestr",
        "ingestr to parquet",
        "1.1.21 (newer ones fetch their program), snappy, which is fixed",
        ingestr(f"s3://?{urlencode(keys)}", f"{source.bucket}/{source.form}/*.{source.form}"),
    )
    yield to.peer(
        "dlt-s3",
        "dlt filesystem to parquet",
        "Arrow, 100,000 rows a chunk; CSV by DuckDB",
        lambda env, folder: env.script("dlt_bucket", *where, folder / "out", folder / "scratch"),
    )
