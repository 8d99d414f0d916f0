"""The application that runs inside a Spark cluster: one SELECT over tables, written as one Delta commit.

It is one file on purpose, with the standard library and pyspark alone, so that every Spark image that has
Delta's jars can run it: `spark-submit spark_job.py --request '<JSON>'`. It knows neither Asgard's project nor
where its request came from.

The request:

    {"format": 1, "run_id": "3f2a9c01",
     "sql": "SELECT ... FROM `bronze.shop.orders` AS orders",
     "tables": [{"name": "bronze.shop.orders", "uri": "s3a://lake/bronze/shop/orders", "format": "delta",
                 "version": 12}],
     "source_data": "s3a://lake/bronze/shop/orders",
     "result": {"uri": "s3a://lake/silver/revenue", "mode": "overwrite", "format": "delta"},
     "metrics_uri": "s3a://lake/_asgard/metrics/3f2a9c01.json"}

`sql` is one SELECT in Spark's SQL. Each table is a view of its whole name, dots and all, so the SQL writes it
as one quoted name; `source_data` is one more view of that name. `format` of a table is delta or parquet;
`version` (of a Delta table), `source_data` and `metrics_uri` may be left out or null. `mode` is overwrite or
append.

On success the last line of its output is one line of JSON:

    {"format": 1, "run_id": "3f2a9c01", "state": "succeeded", "rows_out": 3, "bytes_out": 1402, "version": 4,
     "duration_seconds": 2.81}

and on failure `{"format": 1, "run_id": ..., "state": "failed", "error": {"type", "what"}}`, with what went
wrong in plain words on its error output. A figure that is not known is left out. The same line goes to
`metrics_uri`. Exit codes: 0 done, 2 the request or its SQL is wrong, 3 access was refused, 4 the data cannot
be calculated so, 5 Spark or the storage did not answer, 70 something else.

Killed at any instant it leaves nothing visible: the rows appear with Delta's commit. An append is told by
Delta's transaction identifier `asgard/job/<run_id>`: the same run, started again, appends nothing twice.

Reference: https://spark.apache.org/docs/latest/submitting-applications.html,
https://docs.delta.io/latest/delta-batch.html#idempotent-writes
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.runSQLOnFiles": "false",
    "spark.sql.mapKeyDedupPolicy": "EXCEPTION",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.enableVectorizedReader": "true",
}
"""What a session must have for a SELECT to mean the same everywhere: instants in UTC, overflow and bad casts
as errors and not as nulls, names without regard to case, the calendar that everybody else has; and a SELECT
reads tables, not files by their path."""

RUNS_CODE = frozenset({"reflect", "java_method", "try_reflect"})
"""Functions that call any Java method of the driver."""

TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|(?P<text>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\")|`(?P<name>(?:[^`]|``)*)`"
    r"|(?P<word>\w+)|(?P<mark>[^\s\w])",
    re.DOTALL,
)


class Failed(Exception):
    """The job cannot be done; the text says why.

    Attributes:
        kind: the name of Asgard's error of the same meaning.
        exit_code: what the process ends with.
    """

    def __init__(self, kind: str, what: str, exit_code: int) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.exit_code = exit_code


def as_query(sql: str) -> str:
    """The statement, made so that nothing but a query over tables runs, whatever it says.

    It becomes a named part of another SELECT: there Spark's own grammar takes queries alone, no INSERT, no
    DROP, no second statement. What a query itself could do besides is refused here: scripts (`TRANSFORM ...
    USING 'command'`) and calls of Java methods.

    Raises:
        Failed: Refused, with the word that is.
    """
    sql = sql.strip().rstrip(";")
    tokens = [found for found in TOKEN.finditer(sql) if found.lastgroup]
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        word = (token["word"] or token["name"] or "").casefold()
        if word in RUNS_CODE and following is not None and following["mark"] == "(":
            raise Failed("Refused", f"{word} is refused in a query: it calls any method of the driver", 3)
        if token["word"] and word == "using" and following is not None and following["text"]:
            raise Failed(
                "Refused", f"USING {following['text']} is refused in a query: it starts a program", 3
            )
    return f"WITH `_asgard_query` AS (\n{sql}\n)\nSELECT * FROM `_asgard_query`"


DATA_CONDITIONS = frozenset(
    (
        *("ARITHMETIC_OVERFLOW", "BINARY_ARITHMETIC_OVERFLOW", "INTERVAL_ARITHMETIC_OVERFLOW"),
        *("CAST_INVALID_INPUT", "CAST_OVERFLOW", "NUMERIC_VALUE_OUT_OF_RANGE", "DATETIME_OVERFLOW"),
        *("DIVIDE_BY_ZERO", "REMAINDER_BY_ZERO", "CANNOT_PARSE_TIMESTAMP", "DATETIME_FIELD_OUT_OF_BOUNDS"),
        *("INVALID_ARRAY_INDEX", "INVALID_ARRAY_INDEX_IN_ELEMENT_AT", "DUPLICATED_MAP_KEY"),
        *("SCALAR_SUBQUERY_TOO_MANY_ROWS", "USER_RAISED_EXCEPTION", "FAILED_READ_FILE"),
    )
)
"""Error conditions of Spark that the values of a table cause, or a damaged file of it."""

REFUSED = re.compile(r"AccessControl|AccessDenied|Access Denied|Forbidden|[Ss]tatus [Cc]ode:? 40[13]")
UNREACHABLE = re.compile(r"ConnectException|UnknownHost|SocketTimeout|NoRouteToHost|StatusCode.UNAVAILABLE")


def explained(error: BaseException) -> Failed:
    """What an exception of Spark means, in its own words without the stack."""
    if isinstance(error, Failed):
        return error
    name, whole = type(error).__name__, str(error)
    thrown, text = _root(whole)
    found = re.search(r"\[([A-Z][A-Z0-9_]+)(?:\.[A-Z0-9_]+)*\]", text)
    condition = found[1] if found else ""
    text = readable(text) or name
    if REFUSED.search(f"{thrown} {text}"):
        return Failed("Refused", text, 3)
    if condition in DATA_CONDITIONS:
        return Failed("DataError", text, 4)
    if UNREACHABLE.search(f"{thrown} {text}"):
        return Failed("Unreachable", text, 5)
    if name in ("AnalysisException", "ParseException") or "AnalysisException" in thrown:
        return Failed("QueryError", text, 2)
    if name in ("ArithmeticException", "NumberFormatException", "DateTimeException", "SparkRuntimeException"):
        return Failed("DataError", text, 4)
    return Failed("Bug", text, 70)


def _root(text: str) -> tuple[str, str]:
    """The class and the message of the exception that began it all, out of a stack of causes."""
    causes = re.findall(
        r"^(?:Caused )?(?:by)?: ([\w.$]+): (.*?)(?=^\s+at |\Z)", text, re.DOTALL | re.MULTILINE
    )
    told = [cause for cause in causes if re.match(r"\[[A-Z]", cause[1])] or causes
    return told[-1] if told else ("", text)


def readable(text: str) -> str:
    """Spark's message without class, condition, stack and advice; its lines are those of the statement."""
    text = re.split(r"\n\s*at [\w.$/]+\(|\n\nJVM stacktrace|\n== |;\n'|\nDriver stacktrace", text)[0]
    text = re.sub(r"^(?:[\w.]+(?:Exception|Error): )+", "", text.strip())
    text = re.sub(r"\[[A-Z0-9_]+(?:\.[A-Z0-9_]+)*\]\s*", "", text)
    text = re.sub(r"\s*(Use [`']try_\w+[`'] to|If necessary set) .*?(instead|this error)\.", "", text)
    text = re.sub(r"\s*SQLSTATE: \w{5}", "", text)
    # The statement stands one line below its frame (`as_query`).
    return re.sub(r"\bline (\d+)(,? pos)", lambda found: f"line {int(found[1]) - 1}{found[2]}", text.strip())


def registered(spark: Any, name: str, frame: Any) -> None:
    """Makes a frame readable under one name, dots and all."""
    frame.createOrReplaceTempView("`" + name.replace("`", "``") + "`")


def run(spark: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Does what the request says, and tells its figures.

    Raises:
        Failed: with the reason.
    """
    from pyspark.sql import Observation, functions

    started = time.monotonic()
    result, run_id = request["result"], request["run_id"]
    try:
        for key, value in SETTINGS.items():
            spark.conf.set(key, value)
        for table in request.get("tables") or ():
            registered(spark, table["name"], _frame(spark, table))
        if request.get("source_data"):
            registered(spark, "source_data", _frame(spark, {"uri": request["source_data"]}))
        seen = Observation()
        rows = spark.sql(as_query(request["sql"])).observe(
            seen, functions.count(functions.lit(1)).alias("rows")
        )
        writer = (
            rows.write.format("delta").mode(result["mode"]).option("userMetadata", f"asgard/job/{run_id}")
        )
        if result["mode"] == "overwrite":
            writer = writer.option("overwriteSchema", "true")
        else:
            writer = writer.option("txnAppId", f"asgard/job/{run_id}").option("txnVersion", 1)
        writer.save(result["uri"])
        figures = _figures(spark, result["uri"], run_id)
    except Exception as error:
        raise explained(error) from error
    return {
        **{"format": 1, "run_id": run_id, "state": "succeeded"},
        **figures,
        "duration_seconds": round(time.monotonic() - started, 3),
    }


def _frame(spark: Any, table: Mapping[str, Any]) -> Any:
    kind = table.get("format") or ("delta" if _is_delta(spark, table["uri"]) else "parquet")
    reader = spark.read.format(kind)
    if table.get("version") is not None:
        reader = reader.option("versionAsOf", int(table["version"]))
    return reader.load(table["uri"])


def _is_delta(spark: Any, uri: str) -> bool:
    return bool(spark._jvm.io.delta.tables.DeltaTable.isDeltaTable(spark._jsparkSession, uri))


def _figures(spark: Any, uri: str, run_id: str) -> dict[str, Any]:
    """What the commit of this run tells of itself; nothing where it was another run's."""
    table = spark._jvm.io.delta.tables.DeltaTable.forPath(spark._jsparkSession, uri)
    for row in table.history(20).toJSON().collectAsList():
        commit = json.loads(row)
        if commit.get("userMetadata") == f"asgard/job/{run_id}":
            told = commit.get("operationMetrics") or {}
            figures = {"rows_out": told.get("numOutputRows"), "bytes_out": told.get("numOutputBytes")}
            known = {name: int(value) for name, value in figures.items() if value is not None}
            return {**known, "version": int(commit["version"])}
    return {}


def checked(text: str) -> dict[str, Any]:
    """The request, read and looked over.

    Raises:
        Failed: it is no request of this format; says what is missing.
    """
    try:
        request = json.loads(text)
    except ValueError as error:
        raise Failed("ConfigError", f"the request is no JSON: {error}", 2) from error
    if not isinstance(request, dict) or request.get("format") != 1:
        raise Failed("ConfigError", "the request must have format 1: another version of Asgard wrote it", 2)
    for key, kind in (("run_id", str), ("sql", str), ("result", dict)):
        if not isinstance(request.get(key), kind):
            raise Failed("ConfigError", f"the request has no {key}", 2)
    result = request["result"]
    if not result.get("uri") or result.get("mode") not in ("overwrite", "append"):
        raise Failed("ConfigError", "result needs a uri, and a mode: overwrite or append", 2)
    if result.get("format", "delta") != "delta":
        raise Failed(
            "ConfigError", f"result is delta, not {result['format']}: nothing else commits at once", 2
        )
    for table in request.get("tables") or ():
        if not table.get("name") or not table.get("uri") or table.get("format") not in ("delta", "parquet"):
            raise Failed("ConfigError", "each of tables needs name, uri, and format: delta or parquet", 2)
    return request


def main(arguments: Sequence[str] | None = None) -> int:
    """The whole life of the application; gives its exit code."""
    parser = argparse.ArgumentParser(description="One SELECT over tables, written as one Delta commit.")
    parser.add_argument("--request", required=True, help="what to do, as JSON")
    text = parser.parse_args(arguments).request
    request: dict[str, Any] = {}
    spark = None
    try:
        request = checked(text)
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.appName(f"asgard-{request['run_id']}").getOrCreate()
        told = run(spark, request)
        code = 0
    except Exception as error:
        failed = explained(error)
        print(f"{failed.kind}: {failed.what}", file=sys.stderr)
        about = {"type": failed.kind, "what": failed.what}
        told = {"format": 1, "run_id": request.get("run_id"), "state": "failed", "error": about}
        code = failed.exit_code
    line = json.dumps(told)
    if spark is not None:
        if request.get("metrics_uri"):
            _write(spark, request["metrics_uri"], line)
        spark.stop()
    print(line, flush=True)
    return code


def _write(spark: Any, uri: str, line: str) -> None:
    path = spark._jvm.org.apache.hadoop.fs.Path(uri)
    stream = path.getFileSystem(spark._jsc.hadoopConfiguration()).create(path, True)
    stream.write(bytearray(line.encode()))
    stream.close()


if __name__ == "__main__":
    sys.exit(main())
