"""A stand-in for Redshift: PostgreSQL behind a front that greets, signs in and unloads as Redshift does.

The front says it is version 8.0.2, asks for passwords by MD5, knows the numbers of Redshift's own types and
its way with backslashes. UNLOAD runs its SELECT in the session's transaction and writes Parquet and a verbose
manifest to a stand-in for S3. What the real thing refuses and PostgreSQL does not is refused here where a
test would else be fooled.

    with redshift_front(server, store) as redshift: ...

Reference: https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from tests.servers.object_stores import ObjectServer, s3_request
from tests.servers.postgres import HOST, Server

ROLE = "arn:aws:iam::123456789012:role/unload"
OWN_TYPES = {"super": 4000, "varbyte": 6551, "geometry": 3000, "hllsketch": 2935}
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST, PROTOCOL = 80877103, 80877104, 80877102, 196608
SLICES = 2

CATALOG = """
CREATE SCHEMA rs;
{types}
CREATE FUNCTION rs.st_ashexewkb(rs.geometry) RETURNS varchar LANGUAGE sql AS 'SELECT $1::text::varchar';
CREATE FUNCTION rs.to_hex(rs.varbyte) RETURNS varchar LANGUAGE sql AS 'SELECT $1::text::varchar';
CREATE VIEW rs.svv_tables AS SELECT table_schema::varchar, table_name::varchar, table_type::varchar
  FROM information_schema.tables WHERE table_schema <> 'rs';
CREATE VIEW rs.svv_columns AS SELECT table_schema::varchar, table_name::varchar, column_name::varchar,
  CASE WHEN data_type <> 'USER-DEFINED' THEN data_type::varchar
  WHEN udt_name = 'varbyte' THEN 'binary varying'
  ELSE udt_name::varchar END AS data_type, ordinal_position::int, numeric_precision::int, numeric_scale::int
  FROM information_schema.columns WHERE table_schema <> 'rs';
CREATE VIEW rs.svv_table_info AS SELECT n.nspname::varchar AS schema, c.relname::varchar AS "table",
  c.reltuples::numeric(38, 0) AS tbl_rows, 1::bigint AS size
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname <> 'rs';
ALTER DATABASE "{name}" SET search_path = "$user", public, rs;
ALTER DATABASE "{name}" SET standard_conforming_strings = off;
ALTER DATABASE "{name}" SET escape_string_warning = off;
"""
TYPE = """
CREATE TYPE rs.{0};
CREATE FUNCTION rs.{0}_in(cstring) RETURNS rs.{0} LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION rs.{0}_out(rs.{0}) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE rs.{0} (INPUT = rs.{0}_in, OUTPUT = rs.{0}_out, LIKE = text);
CREATE CAST (rs.{0} AS text) WITHOUT FUNCTION;
"""


@dataclass
class RedshiftFront:
    """The stand-in; what tests set and see of it.

    Attributes:
        roles: whom UNLOAD may write as.
        denied: the roles may not write to the bucket.
        digest: passwords are kept as SHA-256: clients of PostgreSQL's cannot sign in.
        int96: writes times as 96 bits.
        lost_rows: so many rows less are in the last file than the manifest says.
        spoil: changes the manifest before it is written.
        hold_seconds: how long an UNLOAD waits between its files and its manifest.
        unloads: the statements that came.
        users: whoever signed in.
    """

    server: Server
    store: ObjectServer
    roles: set[str] = field(default_factory=lambda: {ROLE, "default"})
    denied: bool = False
    digest: bool = False
    int96: bool = False
    lost_rows: int = 0
    spoil: Callable[[dict[str, Any]], None] = lambda manifest: None
    hold_seconds: float = 0.0
    unloads: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    host: str = HOST
    port: int = 0
    _keys: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _sessions: dict[int, psycopg.Connection] = field(default_factory=dict)

    def create_database(self) -> str:
        """A new database with Redshift's own types and views."""
        name = self.server.create_database()
        types = "".join(TYPE.format(one) for one in OWN_TYPES)
        self.server.execute(CATALOG.format(types=types, name=name), name)
        return name

    def execute(self, sql: str, database: str) -> list[tuple[Any, ...]]:
        """Runs SQL beside the front."""
        return self.server.execute(sql, database)

    def config(self, database: str, **more: Any) -> dict[str, Any]:
        """What the connector wants to know; without a bucket."""
        return {
            "host": self.host,
            "port": self.port,
            "database": database,
            "username": self.server.user,
            "password": self.server.password,
            "ssl_mode": "disable",
            **more,
        }

    def serve(self, client: socket.socket) -> None:
        """One connection, to its end."""
        with client, suppress(OSError, EOFError, psycopg.Error):
            told = _greeting(client)
            if told is None:
                return
            if isinstance(told, int):
                with suppress(KeyError):
                    self._sessions[told].cancel_safe(timeout=5)
                return
            if self._signed_in(client, told):
                with _Session(self, client, told) as session:
                    session.run()

    def _signed_in(self, client: socket.socket, told: Mapping[str, str]) -> bool:
        user = told["user"]
        if self.digest:
            _send(client, b"R", struct.pack("!i", 13) + bytes(64))
            return False
        if user.startswith("IAM"):  # lent by the API, which alone knows the password
            _send(client, b"R", struct.pack("!i", 3))
            good = len(_message(client)[1].rstrip(b"\0")) >= 32
        else:
            salt = os.urandom(4)
            _send(client, b"R", struct.pack("!i", 5) + salt)
            plain = f"{self.server.password}{self.server.user}".encode()
            inner = hashlib.md5(plain, usedforsecurity=False).hexdigest().encode()
            wanted = hashlib.md5(inner + salt, usedforsecurity=False).hexdigest().encode()
            good = _message(client)[1].rstrip(b"\0") == b"md5" + wanted and user == self.server.user
        if not good:
            _fail(client, "28000", f'password authentication failed for user "{user}"', "FATAL")
        self.users.append(user)
        return good


class _Session:
    """A client that has signed in, and its session at PostgreSQL."""

    def __init__(self, front: RedshiftFront, client: socket.socket, told: Mapping[str, str]) -> None:
        self.front = front
        self.client = client
        self.key = next(front._keys)
        try:
            self.upstream = front.server.connect(told["database"])
        except psycopg.OperationalError as error:
            text = str(error).rpartition("FATAL:")[2].strip()
            _fail(client, "3D000", text, "FATAL")
            raise
        rows = self.upstream.execute(
            "SELECT typname, oid FROM pg_type WHERE typname = ANY (%s)", [[*OWN_TYPES]]
        )
        self.numbers = {oid: OWN_TYPES[name] for name, oid in rows.fetchall()}
        # The session is PostgreSQL's client library's; what it is asked goes by it, unseen.
        self.wire = socket.socket(fileno=os.dup(self.upstream.pgconn.socket))
        self.wire.setblocking(True)
        self.unloaded = -1

    def __enter__(self) -> _Session:
        self.front._sessions[self.key] = self.upstream
        return self

    def __exit__(self, *_: object) -> None:
        self.front._sessions.pop(self.key, None)
        self.wire.close()
        self.upstream.close()

    def run(self) -> None:
        _send(self.client, b"R", struct.pack("!i", 0))
        told = {"server_version": "8.0.2", "client_encoding": "UNICODE", "server_encoding": "UNICODE"}
        told |= {"DateStyle": "ISO, MDY", "TimeZone": "UTC", "is_superuser": "off"}
        for name, value in told.items():
            _send(self.client, b"S", f"{name}\0{value}\0".encode())
        _send(self.client, b"K", struct.pack("!ii", self.key, self.key))
        _send(self.client, b"Z", b"I")
        while True:
            kind, body = _message(self.client)
            if kind == b"X":
                return
            if kind == b"Q":
                self._query(body.rstrip(b"\0").decode())
                continue
            _send(self.wire, kind, body)
            if kind == b"S":
                self._pass_on()

    def _query(self, sql: str) -> None:
        if re.match(r"\s*UNLOAD\b", sql, re.IGNORECASE):
            self.front.unloads.append(sql)
            self._unload(sql)
            return
        sql = sql.replace("pg_last_unload_count()", f"{self.unloaded}::bigint")
        sql = sql.replace("enable_case_sensitive_identifier", "redshift.enable_case_sensitive_identifier")
        _send(self.wire, b"Q", sql.encode() + b"\0")
        self._pass_on()

    def _pass_on(self) -> None:
        kind = b""
        while kind != b"Z":
            kind, body = _message(self.wire)
            if kind == b"T":
                body = self._renumbered(body)
            if kind != b"S":
                _send(self.client, kind, body)

    def _renumbered(self, body: bytes) -> bytes:
        """A description of rows with Redshift's numbers of types."""
        told = bytearray(body)
        for _, place in _fields(body):
            [oid] = struct.unpack_from("!I", body, place)
            struct.pack_into("!I", told, place, self.numbers.get(oid, oid))
        return bytes(told)

    # ---- UNLOAD

    def _unload(self, sql: str) -> None:
        try:
            select, url, role = _parsed(sql)
        except ValueError as error:
            self._fail("42601", f'syntax error at or near "{error}"')
            return
        if role not in self.front.roles:
            user = f"arn:aws:redshift:us-east-1:123456789012:dbuser:shop/{self.front.server.user}"
            self._fail("XX000", f"User {user} is not authorized to assume IAM Role {role}")
            return
        _send(self.wire, b"Q", select.encode() + b"\0")
        description, rows, status = b"", [], b"I"
        while True:
            kind, body = _message(self.wire)
            if kind == b"T":
                description = body
            elif kind == b"D":
                rows.append(_values(body))
            elif kind == b"E":
                _send(self.client, kind, body)
            elif kind == b"Z":
                status = body
                break
        if not description or status == b"E":
            _send(self.client, b"Z", status)
            return
        try:
            self._write(description, rows, url.removeprefix("s3:/"))
        except AssertionError as error:
            code = re.search(r"<Code>(\w+)<", str(error))
            told = f"S3ServiceException:{error},Status 404,Error {code[1] if code else ''}"
            self._fail("XX000", told[:300])
            return
        self.unloaded = len(rows)
        text = f"UNLOAD completed, {len(rows)} record(s) unloaded successfully."
        _send(self.client, b"N", f"SINFO\0C00000\0M{text}\0\0".encode())
        _send(self.client, b"C", b"UNLOAD\0")
        _send(self.client, b"Z", status)

    def _fail(self, code: str, text: str) -> None:
        """An error, in the transaction too."""
        _send(self.wire, b"Q", b"SELECT 1 / 0\0")
        status = b"I"
        while (message := _message(self.wire))[0] != b"Z":
            pass
        status = message[1]
        _fail(self.client, code, text)
        _send(self.client, b"Z", status)

    def _write(self, description: bytes, rows: list[list[str | None]], path: str) -> None:
        front = self.front
        assert not front.denied, "Access Denied <Code>AccessDenied<"
        entries: list[dict[str, Any]] = []
        names, types = self._types(description)
        for number in range(SLICES if rows else 0):
            part = rows[number::SLICES]
            arrays = [_array([row[n] for row in part], kind) for n, kind in enumerate(types)]
            table = pa.table(dict(zip(names, arrays, strict=True)))
            if number == SLICES - 1:
                table = table.slice(0, table.num_rows - front.lost_rows)
            data = io.BytesIO()
            pq.write_table(table, data, row_group_size=1000, use_deprecated_int96_timestamps=front.int96)
            s3_request(front.store, "PUT", f"{path}{number:04}_part_00.parquet", body=data.getvalue())
            about = {"content_length": data.tell(), "record_count": len(part)}
            entries.append({"url": f"s3:/{path}{number:04}_part_00.parquet", "meta": about})
        time.sleep(front.hold_seconds)
        whole = {
            "content_length": sum(e["meta"]["content_length"] for e in entries),
            "record_count": len(rows),
        }
        manifest = {"entries": entries, "schema": {"elements": []}, "meta": whole,
                    "author": {"name": "Amazon Redshift", "version": "1.0.0"}}  # fmt: skip
        front.spoil(manifest)
        s3_request(front.store, "PUT", f"{path}manifest", body=json.dumps(manifest).encode())

    def _types(self, description: bytes) -> tuple[list[str], list[tuple[int, int]]]:
        names, types = [], []
        for name, place in _fields(description):
            oid, _, mod = struct.unpack_from("!IhI", description, place)
            names.append(name)
            types.append((self.numbers.get(oid, oid), mod))
        return names, types


# ---- the wire


def _greeting(client: socket.socket) -> dict[str, str] | int | None:
    """Parameters of a start; the key of a cancel."""
    while True:
        [length, code] = struct.unpack("!ii", _exactly(client, 8))
        body = _exactly(client, length - 8)
        if code in (SSL_REQUEST, GSS_REQUEST):
            client.sendall(b"N")
        elif code == CANCEL_REQUEST:
            return int(struct.unpack("!ii", body)[0])
        elif code >> 16 == PROTOCOL >> 16:
            parts = body.decode().split("\0")
            return dict(zip(parts[::2], parts[1::2], strict=False))
        else:
            return None


def _exactly(wire: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = wire.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _message(wire: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(wire, 5)
    return head[:1], _exactly(wire, struct.unpack("!i", head[1:])[0] - 4)


def _send(wire: socket.socket, kind: bytes, body: bytes) -> None:
    wire.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def _fail(client: socket.socket, code: str, text: str, severity: str = "ERROR") -> None:
    _send(client, b"E", f"S{severity}\0C{code}\0M{text}\0\0".encode())


def _fields(description: bytes) -> Iterator[tuple[str, int]]:
    """Names of the columns, and where the number of their type stands."""
    [count], place = struct.unpack_from("!h", description), 2
    for _ in range(count):
        end = description.index(b"\0", place)
        yield description[place:end].decode(), end + 7
        place = end + 19


def _values(body: bytes) -> list[str | None]:
    [count], place = struct.unpack_from("!h", body), 2
    values: list[str | None] = []
    for _ in range(count):
        [length] = struct.unpack_from("!i", body, place)
        place += 4
        values.append(None if length < 0 else body[place : place + length].decode())
        place += max(length, 0)
    return values


# ---- what UNLOAD says, and writes

_STRING = r"'((?:[^'\\]|''|\\.)*)'"
_UNLOAD = re.compile(rf"UNLOAD \({_STRING}\) TO {_STRING} IAM_ROLE (?:(default)|{_STRING})(.*)", re.DOTALL)
_OPTIONS = re.compile(
    rf"(FORMAT AS PARQUET|MANIFEST VERBOSE|MAXFILESIZE \d+ MB|ROWGROUPSIZE \d+ MB|"
    rf"KMS_KEY_ID {_STRING} ENCRYPTED|REGION {_STRING})\s*"
)


def _parsed(sql: str) -> tuple[str, str, str]:
    found = _UNLOAD.fullmatch(sql.strip())
    if not found:
        raise ValueError("UNLOAD")
    if rest := _OPTIONS.sub("", found[5].strip()):
        raise ValueError(rest)
    select = _plain(found[1])
    if re.search(r"\blimit\s+\d+\s*$", select, re.IGNORECASE):
        raise ValueError("LIMIT")
    return select, _plain(found[2]), found[3] or _plain(found[4])


def _plain(text: str) -> str:
    return re.sub(r"''|\\(.)", lambda part: part[1] or "'", text, flags=re.DOTALL)


def _array(values: list[str | None], kind: tuple[int, int]) -> pa.Array:
    oid, mod = kind
    texts = pa.array(values, pa.string())
    if oid == 16:
        return pa.array([None if value is None else value == "t" for value in values], pa.bool_())
    if oid == 1700:
        type = pa.decimal128((mod - 4) >> 16, (mod - 4) & 0xFFFF)
        return pa.array([None if value is None else Decimal(value) for value in values], type)
    if oid == 4000:
        return pa.ExtensionArray.from_storage(pa.json_(pa.string()), texts)
    if oid == 6551:
        return pa.array([None if value is None else bytes.fromhex(value) for value in values], pa.binary())
    plain = {20: pa.int64(), 21: pa.int32(), 23: pa.int32(), 700: pa.float32(), 701: pa.float64(),
             1082: pa.date32(), 1114: pa.timestamp("us")}  # fmt: skip
    if oid in plain:
        return texts.cast(plain[oid])
    assert oid in (25, 1042, 1043), f"UNLOAD to Parquet knows no type {oid}"
    return texts


@contextmanager
def redshift_front(server: Server, store: ObjectServer) -> Iterator[RedshiftFront]:
    """The stand-in in front of a server that speaks no TLS."""
    front = RedshiftFront(server, store)
    listener = socket.create_server((HOST, 0), backlog=64)
    front.port = listener.getsockname()[1]

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=front.serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield front
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
