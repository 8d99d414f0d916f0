"""`load_data(backend="dask")`: partitions are splits, read when they are computed, by whatever process."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path

import dask.dataframe as dd
import pyarrow as pa
import pytest

import asgard
from asgard.app.frames.dask_frames import Part
from asgard.app.sources.elsewhere import Reading, described
from asgard.app.sources.written_source import WrittenSource
from asgard.core.errors import ConfigError, ValidationError
from asgard.core.stream import Split
from asgard.testing.content import content_hash
from tests.integrations.written import PASSWORD, many_pages, parquet_files, postgres_options, sqlite_file
from tests.servers.postgres import Server

HELD = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%'"


def as_arrow(frame: dd.DataFrame, scheduler: str = "threads") -> pa.Table:
    return pa.Table.from_pandas(frame.compute(scheduler=scheduler), preserve_index=False)


def test_postgres_is_read_in_parts_of_one_snapshot(pg16: Server, pg_database: str, tmp_path: Path) -> None:
    many_pages(pg16, pg_database)
    options = postgres_options(pg16, pg_database, tmp_path)
    frame = asgard.load_data(options, table="orders", backend="dask", partitions=3)
    assert frame.npartitions == 3
    literal = {**options, "password": PASSWORD}
    before = asgard.load_data(literal, table="orders", backend="arrow")
    pig = asgard.load_data(literal, table="orders", backend="pandas")
    assert frame.dtypes.equals(pig.dtypes)
    pg16.execute("DELETE FROM orders WHERE id % 2 = 0; UPDATE orders SET name = 'other'", pg_database)
    assert content_hash(as_arrow(frame)) == content_hash(before)

    small = frame[frame["id"] <= 3]["id"]  # what is made of a frame keeps its plan
    del frame
    gc.collect()
    assert pg16.execute(HELD, pg_database) == [(1,)]
    assert sorted(small.compute(scheduler="threads")) == [1, 2, 3]
    del small
    gc.collect()
    assert pg16.execute(HELD, pg_database) == [(0,)]


def test_other_processes_read_it(pg16: Server, pg_database: str, tmp_path: Path) -> None:
    many_pages(pg16, pg_database)
    options = postgres_options(pg16, pg_database, tmp_path)
    frame = asgard.load_data(options, table="orders", backend="dask", partitions=2)
    there = as_arrow(frame, "processes")
    assert content_hash(there) == content_hash(as_arrow(frame))
    assert there.num_rows == 26_000


def test_files_have_a_partition_each(tmp_path: Path) -> None:
    folder = parquet_files(tmp_path)
    config = {"type": "parquet", "source": f"{folder}/*.parquet"}
    frame = asgard.load_data(config, backend="dask")
    assert frame.npartitions == 2
    whole = asgard.load_data(config, backend="arrow")
    assert content_hash(as_arrow(frame)) == content_hash(whole)
    assert frame.dtypes.equals(asgard.load_data(config, backend="pandas").dtypes)


def test_a_source_without_splits_has_one_partition(tmp_path: Path) -> None:
    config = {"type": "sqlite", "database": str(sqlite_file(tmp_path))}
    frame = asgard.load_data({**config, "backend": "dask"})
    assert frame.npartitions == 1
    assert content_hash(as_arrow(frame)) == content_hash(asgard.load_data(config, backend="arrow"))
    few = asgard.load_data(config, backend="dask", limit=7)
    assert len(few.compute()) == 7
    some = asgard.load_data(config, backend="dask", query="SELECT note FROM notes WHERE id < 5")
    assert list(some.columns) == ["note"]
    assert len(some.compute()) == 5


def test_no_rows_have_their_columns(tmp_path: Path, pg16: Server, pg_database: str) -> None:
    pg16.execute("CREATE TABLE nothing (id int, price numeric(9, 2))", pg_database)
    frame = asgard.load_data(postgres_options(pg16, pg_database, tmp_path), table="nothing", backend="dask")
    assert [str(kind) for kind in frame.compute().dtypes] == ["int32[pyarrow]", "decimal128(9, 2)[pyarrow]"]


def test_a_yaml_file_keeps_its_references(
    tmp_path: Path, pg16: Server, pg_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pg16.execute("CREATE TABLE words (word text); INSERT INTO words VALUES ('one')", pg_database)
    postgres_options(pg16, pg_database, tmp_path)
    monkeypatch.setenv("WORDS_DATABASE", pg_database)
    file = tmp_path / "words.yml"
    file.write_text(
        f"data:\n  type: postgres\n  backend: dask\n  query: SELECT * FROM words\n  connection:\n"
        f"    host: {pg16.host}\n    port: {pg16.port}\n    database: ${{WORDS_DATABASE}}\n"
        "    username: reads_elsewhere\n    password: ${file:password}\n    ssl_mode: disable\n"
    )
    frame = asgard.load_data(file)
    assert frame.compute(scheduler="threads")["word"].tolist() == ["one"]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"type": "postgres", "host": "h", "database": "d", "password": "plain-text"}, "password"),
        (
            {"type": "postgres", "connection": {"host": "h", "database": "d", "password": "plain-text"}},
            "connection.password",
        ),
        ({"type": "mongodb", "url": "mongodb://u:plain-text@h/d"}, "url"),
        ({"type": "rest", "base_url": "http://h", "headers": {"X-Key": "plain-text"}}, "headers.X-Key"),
        ({"type": "s3", "bucket": "b", "secret_key": "plain-text"}, "secret_key"),
    ],
)
def test_secrets_in_clear_do_not_travel(config: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asgard.load_data(config, backend="dask")
    assert caught.value.what.startswith(f"{named}:")
    assert "plain-text" not in str(caught.value)


def test_what_travels_holds_no_secret(pg16: Server, pg_database: str, tmp_path: Path) -> None:
    many_pages(pg16, pg_database, rows=10)
    source = WrittenSource.of_options(postgres_options(pg16, pg_database, tmp_path))
    reading = described(Reading(source, "orders"))
    sent = pickle.dumps(Part("frame", reading, Split("1", "orders"), lease=None))
    assert PASSWORD.encode() not in sent
    assert b"${file:" in sent


def test_wishes_that_lazy_frames_cannot_grant(tmp_path: Path) -> None:
    config = {"type": "sqlite", "database": str(sqlite_file(tmp_path))}
    with pytest.raises(ConfigError, match="cache_seconds"):
        asgard.load_data(config, backend="dask", cache_seconds=5)
    with pytest.raises(ConfigError, match="partitions is 0"):
        asgard.load_data(config, backend="dask", partitions=0)
    with pytest.raises(ValidationError, match="no column 'nothing'"):
        asgard.load_data(config, backend="dask", target_column="nothing")
