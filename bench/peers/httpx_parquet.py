"""httpx by hand. Arguments: MODE URL OUT; `bare` only fetches, `parquet` also parses and writes Parquet.

Reference: https://www.python-httpx.org/api/
"""

from __future__ import annotations

import sys
from typing import Any

import httpx  # type: ignore[import-not-found, unused-ignore]


def main(mode: str, url: str, out: str) -> None:
    """Follows `next` to the end, as a script would: types by the first records."""
    import orjson

    with httpx.Client() as client:
        following: int | None = 0
        held: list[Any] = []
        write = _writer(out) if mode == "parquet" else None
        while following is not None:
            content = client.get(url, params={"page": following}).content
            if write is None:
                tail = content[-12:]
                following = None if b"null" in tail else int(tail.rpartition(b":")[2].strip(b"}"))
                continue
            document = orjson.loads(content)
            held += document["data"]
            following = document["next"]
            if len(held) >= 20_000 or following is None:
                write(held)
                held = []
        if write is not None:
            write(None)


def _writer(out: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files: list[Any] = []

    def write(records: list[Any] | None) -> None:
        if records is None:
            files[0].close()
            return
        table = pa.Table.from_pylist(records)
        if not files:
            files.append(pq.ParquetWriter(f"{out}/part-0.parquet", table.schema, compression="zstd"))
        files[0].write_table(table)

    return write


if __name__ == "__main__":
    main(*sys.argv[1:])
