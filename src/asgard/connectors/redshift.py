"""Amazon Redshift, clusters and serverless: tables, views, external tables and queries.

What is large is unloaded as Parquet to S3, in one transaction, and read from there by several workers; what
is small comes over the wire. The parts: `_redshift.access` finds the server and signs in, `_redshift.catalog`
says what there is, `_redshift.types` how each type is carried, `_redshift.cursor` which rows are new,
`_redshift.plan` and `_redshift.unload` who reads what. Decision: docs/decisions/0098.

Reference: https://docs.aws.amazon.com/redshift/latest/dg/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, model_validator

from asgard.connectors._redshift.access import Access, Where
from asgard.connectors._redshift.catalog import Catalog, Relation
from asgard.connectors._redshift.plan import Planner, RedshiftPlan, Wish
from asgard.connectors._redshift.reader import RedshiftReader, Way
from asgard.connectors._redshift.types import Attribute, Reading, reading_of
from asgard.connectors._redshift.unload import Unloading, UnloadSettings
from asgard.core.config import Config, LocalPath
from asgard.core.errors import AsgardError, ConfigError, QueryError, SchemaChanged
from asgard.core.position import Position, Token
from asgard.core.secret import Secret
from asgard.core.source import Example, Feature, Plan, Reader, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.cloud_s3 import S3Connection
from asgard.transport.column_types import ColumnTypes, refuse_unknown
from asgard.transport.objects import Bucket
from asgard.transport.sql_plan import SchemaNames, StreamPlan


class RedshiftConfig(Config):
    """Which cluster or workgroup, who asks, and where it may unload to."""

    cluster_identifier: str | None = Field(
        default=None, description="The cluster; its address is asked of AWS unless host says it."
    )
    workgroup: str | None = Field(
        default=None,
        validation_alias=AliasChoices("workgroup", "workgroup_name"),
        description="The workgroup of Redshift Serverless, instead of a cluster.",
    )
    host: str | None = Field(default=None, description="The server's address, where AWS need not be asked.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="The port that AWS tells, or 5439, when left out."
    )
    database: str = Field(min_length=1, description="The database.")
    username: str | None = Field(default=None, validation_alias=AliasChoices("username", "user"))
    password: Secret | None = Field(
        default=None, description="Left out, IAM lends one that ends by itself, for our AWS keys."
    )
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="require",
        description="As libpq means it: require encrypts and verifies nobody, verify-full does both.",
    )
    ssl_root_cert: LocalPath | None = Field(
        default=None, description="PEM file of the authorities to trust; the system's when left out."
    )
    connection_timeout_seconds: int = Field(
        default=30,
        ge=1,
        validation_alias=AliasChoices("connection_timeout_seconds", "connection_timeout"),
        description="How long to wait for the server to answer.",
    )
    schemas: SchemaNames = Field(
        default=(),
        validation_alias=AliasChoices("schemas", "schema"),
        description="Only these schemas; all but the system's when left out. One may stand without a list.",
        json_schema_extra={"type": ["array", "string"]},
    )
    region: str | None = Field(
        default=None, description="Where the cluster is; AWS_REGION, the profile's, or us-east-1."
    )
    access_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("access_key", "access_key_id", "aws_access_key_id"),
        description="Access key, for AWS's answers and for the bucket; left out, the environment, a profile "
        "or the machine's role gives one.",
    )
    secret_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("secret_key", "secret_access_key", "aws_secret_access_key"),
        description="The access key's secret.",
    )
    session_token: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("session_token", "aws_session_token"),
        description="The token of temporary keys.",
    )
    profile: str | None = Field(
        default=None, description="A profile of ~/.aws/config and ~/.aws/credentials."
    )
    role_arn: str | None = Field(default=None, description="A role that we assume with the keys.")
    external_id: str | None = Field(default=None, description="What the role's owner wants to hear.")
    unload: str | None = Field(
        default=None,
        description="s3://bucket/prefix: what is large goes there as Parquet, and is removed when read.",
    )
    iam_role: str | None = Field(
        default=None, description="The role that Redshift writes there as: its ARN, or default."
    )
    kms_key_id: str | None = Field(
        default=None, description="The KMS key that encrypts what is unloaded; the bucket's way otherwise."
    )
    unload_region: str | None = Field(
        default=None, description="Where the bucket is, if not where the cluster is."
    )
    unload_rows: int = Field(default=50_000, ge=0, description="From so many rows on a table is unloaded.")
    unload_keep_hours: float = Field(
        default=24.0,
        gt=0,
        description="What a killed run unloaded is removed by a later run, once it is so old.",
    )
    redshift_endpoint_url: str | None = Field(default=None, description="Redshift's API elsewhere.")
    s3_endpoint_url: str | None = Field(default=None, description="S3 elsewhere, such as a private endpoint.")
    sts_endpoint_url: str | None = Field(default=None, description="STS elsewhere, for assuming role_arn.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.host or self.cluster_identifier or self.workgroup):
            raise ValueError("cluster_identifier, workgroup or host is missing")
        if self.cluster_identifier and self.workgroup:
            raise ValueError("it is a cluster_identifier or a workgroup, not both")
        if self.unload is not None and not self.iam_role:
            raise ValueError("unload needs iam_role: the role that Redshift writes as, or default")
        if self.unload is not None and urlsplit(self.unload).scheme != "s3":
            raise ValueError("unload is s3://bucket/prefix")
        return self

    @property
    def s3(self) -> S3Connection:
        """The bucket that is unloaded to."""
        url = urlsplit(self.unload or "")
        return S3Connection(
            bucket=url.netloc,
            prefix=url.path,
            endpoint_url=self.s3_endpoint_url,
            region=self.unload_region or self.region,
            access_key=self.access_key,
            secret_key=self.secret_key,
            session_token=self.session_token,
            profile=self.profile,
            role_arn=self.role_arn,
            external_id=self.external_id,
            sts_endpoint_url=self.sts_endpoint_url,
        )

    @property
    def where(self) -> Where:
        """The server."""
        # Keys are read as S3's are: there is one set of them.
        keys = S3Connection.model_validate(
            {
                "bucket": "none",
                "region": self.region,
                "access_key": self.access_key,
                "secret_key": self.secret_key,
                "session_token": self.session_token,
                "profile": self.profile,
                "role_arn": self.role_arn,
                "external_id": self.external_id,
                "sts_endpoint_url": self.sts_endpoint_url,
            }
        )
        return Where(
            host=self.host,
            cluster=self.cluster_identifier,
            workgroup=self.workgroup,
            port=self.port,
            database=self.database,
            username=self.username,
            password=self.password,
            ssl_mode=self.ssl_mode,
            ssl_root_cert=self.ssl_root_cert,
            connection_timeout_seconds=self.connection_timeout_seconds,
            identity=keys.identity,
            endpoint_url=self.redshift_endpoint_url,
        )


class RedshiftStreamOptions(Config):
    """How one table is read."""

    columns: ColumnTypes = Field(
        default_factory=dict,
        description="Types of columns that shall not come as they would: text (the source's own), "
        "decimal(p, s), int64, float64, ... A value that does not fit refuses the load.",
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Columns that are not read.")
    where: str | None = Field(default=None, description="An SQL condition: only these rows are read.")
    read: Literal["auto", "unload", "direct"] = Field(
        default="auto",
        description="By UNLOAD or over the wire; auto unloads queries, views and tables of unload_rows rows.",
    )


class RedshiftSource(Source):
    """One database of a cluster or workgroup."""

    type = "redshift"
    Config = RedshiftConfig
    StreamOptions = RedshiftStreamOptions
    features = Feature.SPLITS | Feature.CURSOR | Feature.QUERY | Feature.LENDS
    extra = "redshift"
    examples = (
        Example(
            "A cluster by its name",
            {
                "type": "redshift",
                "cluster_identifier": "${REDSHIFT_CLUSTER_ID}",
                "database": "${REDSHIFT_DATABASE}",
                "port": 5439,
                "username": "${REDSHIFT_USERNAME}",
                "password": "${REDSHIFT_PASSWORD}",
                "schema": "public",
                "tables": [
                    {"name": "marketing_campaigns", "source": "google_ads_api", "frequency": "hourly"},
                    {"name": "web_analytics", "source": "google_analytics_4", "frequency": "daily"},
                ],
            },
            note="AWS is asked for the address, in AWS_REGION and with the keys of the environment.",
        ),
        Example(
            "Large tables through S3",
            {
                "type": "redshift",
                "host": "shop.abc123.eu-central-1.redshift.amazonaws.com",
                "database": "shop",
                "username": "${REDSHIFT_USERNAME}",
                "password": "${REDSHIFT_PASSWORD}",
                "unload": "s3://shop-unload/asgard",
                "iam_role": "arn:aws:iam::123456789012:role/unload",
                "tables": [
                    {"name": "orders", "mode": "merge", "primary_key": "id", "cursor": "updated_at",
                     "cursor_lag": 3600},
                    {"name": "totals", "query": "SELECT day, sum(total) AS total FROM orders GROUP BY day"},
                ],
            },
            note="Redshift writes as iam_role; our own keys read the files, and remove them.",
        ),
        Example(
            "Serverless, without a password",
            {
                "type": "redshift",
                "workgroup": "analytics",
                "database": "dev",
                "region": "eu-central-1",
                "tables": [{"name": "public.*"}],
            },
            note="IAM lends a password for as long as it is needed.",
        ),
    )  # fmt: skip

    @cached_property
    def _access(self) -> Access:
        return Access(self.config.where, self.settings.cancel)

    @cached_property
    def _bucket(self) -> Bucket | None:
        if self.config.unload is None:
            return None
        bucket: Bucket = self.config.s3.open(self.settings.cancel)
        return bucket

    def check(self) -> None:
        """Signs in; also sees that the schemas exist, and that the bucket may be listed."""
        with self._access.connected() as connection:
            rows = connection.rows("SELECT nspname::varchar FROM pg_namespace ORDER BY 1")
        known = [name for (name,) in rows]
        if missing := [name for name in self.config.schemas if name not in known]:
            raise ConfigError(
                f"database {self.config.database} has no schema {', '.join(missing)}",
                hint=f"there are {', '.join(name for name in known if not name.startswith('pg_'))}",
            )
        if self._bucket is not None:
            self._bucket.check()

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """Tables and views that may be read, external ones too."""
        with self._access.connected() as connection:
            relations = list(Catalog(connection, self.config.schemas).matching(pattern))
        for relation in relations:
            yield relation.stream(self.config.database)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One table, view or query as configured."""
        with self._access.connected("BEGIN READ ONLY") as connection:
            catalog = Catalog(connection, self.config.schemas)
            relation = None if query else catalog.relation(name)
            with catalog.exact_names(relation):
                attributes = _attributes(catalog, name, _source_of(relation, query))
        schema = _reading(name, attributes, options).schema()
        if relation is not None:
            return relation.stream(self.config.database, schema)
        return Stream(f"{self.config.database}?{name}", name, "", schema)

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """Finds the bounds, and unloads what is large: that takes as long as Redshift takes. `until` is a
        value of the cursor as text; rows below it are read.

        Raises:
            SchemaChanged: a table's columns changed since it was described.
            Refused: the role may not write to the bucket.
        """
        unloading, warnings = self._unloading()
        plans: dict[str, StreamPlan] = {}
        try:
            with self._access.connected("BEGIN") as connection:
                planner = Planner(connection, unloading, self.config.unload_rows)
                catalog = Catalog(connection, self.config.schemas)
                for selection in selections:
                    with _at(selection.stream):
                        self._plan_one(planner, catalog, selection, (plans, since, until))
        except BaseException:
            RedshiftPlan({}, unloading, ()).close()
            raise
        return RedshiftPlan(plans, unloading, warnings)

    def open(self, split: Split, since: Token | None = None) -> Reader:
        """A Reader of a file, or with a connection of its own."""
        return RedshiftReader(Way(self._access, lambda: self._bucket, self.settings), split)

    def _plan_one(
        self,
        planner: Planner,
        catalog: Catalog,
        selection: Selection,
        asked: tuple[dict[str, StreamPlan], Mapping[str, Position], Token | None],
    ) -> None:
        plans, since, until = asked
        stream = selection.stream
        options = selection.options or RedshiftStreamOptions()
        relation = None if selection.query else catalog.relation(stream.full_name)
        source = _source_of(relation, selection.query)
        with catalog.exact_names(relation):
            attributes = _attributes(catalog, stream.full_name, source)
            wanted = [selection.cursor] if selection.cursor else []
            refuse_unknown([*wanted, *selection.primary_key], [a.name for a in attributes], stream.full_name)
            reading = _reading(stream.full_name, attributes, options)
            if reading.schema() != stream.schema:
                raise SchemaChanged(
                    f"the columns of {stream.full_name} changed while the run began",
                    hint="run again: the new columns are taken up",
                )
            wish = Wish(selection, reading, attributes, relation, source, options.read)
            plans[stream.id] = planner.plan(wish, since.get(stream.id), until)

    def _unloading(self) -> tuple[Unloading | None, list[str]]:
        """A folder for a plan, and what is to be said of those of earlier ones."""
        if self._bucket is None:
            return None, []
        config = self.config
        settings = UnloadSettings(
            config.iam_role or "", config.kms_key_id, config.unload_region, config.unload_keep_hours
        )
        unloading = Unloading(self._bucket, settings)
        return unloading, unloading.sweep()


def _source_of(relation: Relation | None, query: str | None) -> str:
    """What stands behind FROM: the table, or the user's query, which may end in a comment."""
    return relation.sql if relation else f"({(query or '').strip().rstrip(';')}\n) AS query"


def _attributes(catalog: Catalog, name: str, source: str) -> list[Attribute]:
    attributes = catalog.columns(source)
    if not attributes:
        raise QueryError(f"{name} has no columns", hint="exclude it, or add a column", where={"stream": name})
    names = [attribute.name for attribute in attributes]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise QueryError(
            f"the query gives {', '.join(twice)} several times",
            hint="name its columns apart: SELECT a.id AS a_id, ...",
            where={"stream": name},
        )
    return attributes


def _reading(name: str, attributes: Sequence[Attribute], options: RedshiftStreamOptions | None) -> Reading:
    options = options or RedshiftStreamOptions()
    return reading_of(name, attributes, options.columns, options.exclude_columns, options.where or "")


@contextmanager
def _at(stream: Stream) -> Iterator[None]:
    try:
        yield
    except AsgardError as error:
        raise error.at(stream=stream.full_name) from error


CONNECTOR = RedshiftSource
