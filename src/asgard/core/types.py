"""The canonical types: the Arrow types that the lake carries, and which type can be carried in which.

    source                                canonical                 asgard.type
    bool, arrow.bool8                     bool
    int8, int16, int32, int64             the same
    uint8, uint16, uint32                 int16, int32, int64
    uint64                                decimal128(20, 0)
    float16, float32, float64             float32, float32, float64
    decimal, any width, up to 38 digits   decimal128(p, s), 0 <= s <= p
    decimal beyond 38 digits              string, all its digits    decimal(p,s)
    date32, date64                        date32
    timestamp without zone, any unit      timestamp(us)
    timestamp with zone, any unit         timestamp(us, UTC)        (asgard.timezone: the zone)
    time32, time64                        string, 12:34:56.789      time
    duration                              string, PT93784.5S        duration
    month_day_nano_interval               string, P14M3DT-4.5S      interval
    string, large_string, string_view     string
    binary: large, view, fixed size too   binary
    arrow.uuid                            string, lower case        uuid
    arrow.json                            string, as it is          json
    null                                  string, all null          null
    list: large, view, fixed size too     list of canonical
    struct, map                           the same of canonical
    dictionary, run_end_encoded           canonical of the values
    other extension types                 canonical of the storage  the extension's name

Below the columns every field may be null: no format keeps "not null" there without harm. Unions, and structs
without fields, are refused by name. A source's own `asgard.type` stays.

Promise 2 is kept here and in `core.cast`: a value arrives as it was, or a DataError names the column; nothing
passes through a float, a timestamp object or a guess. What a source means by its values (infinite dates) is
the connector's business, how a table stores them the lake's.

Reference: https://arrow.apache.org/docs/format/Columnar.html,
https://github.com/delta-io/delta/blob/master/PROTOCOL.md#primitive-types
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.types as t

from asgard.core.cast import (
    MAX_DECIMAL_DIGITS,
    Misfit,
    convert,
    decimal_digits,
    is_binarylike,
    is_listlike,
    is_textlike,
)
from asgard.core.errors import DataError, SchemaChanged
from asgard.core.names import EXTRACTED_AT, RESERVED_PREFIX
from asgard.core.table import Evolution

TYPE = "asgard.type"
TIMEZONE = "asgard.timezone"

INTEGER_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}
"""Decimal digits that the integers of so many bits may have."""
FLOAT_MANTISSA_BITS = {32: 24, 64: 53}
TEXT_LABELS = frozenset({"decimal", "duration", "interval", "json", "numeric", "time", "uuid"})
"""Values of `asgard.type` that promise something about the text: other text does not belong beside it."""
UNSIGNED = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}


def metadata(field: pa.Field) -> dict[str, str]:
    """The field's metadata as text; empty when there is none."""
    return {key.decode(): value.decode("utf-8", "replace") for key, value in (field.metadata or {}).items()}


def with_metadata(field: pa.Field, entries: Mapping[str, str]) -> pa.Field:
    """The field with entries added or replaced."""
    return field.with_metadata({**metadata(field), **entries})


def canonical_type(type: pa.DataType) -> pa.DataType:
    """The type that the lake carries for an Arrow type; canonical types stay as they are.

    Raises:
        DataError: no lake type carries it.
    """
    return _canonical(type)[0]


def canonical_schema(schema: pa.Schema) -> pa.Schema:
    """The columns as the lake carries them: names, order, nullability and metadata stay.

    Field metadata gains `asgard.type` and `asgard.timezone` where the canonical type does not say them, and
    loses what only holds for the source's own encoding (extension names, Parquet field ids).

    Raises:
        DataError: a column's type cannot be carried (all such columns are named), or a name comes twice.
    """
    _refuse_twins(schema.names)
    fields: list[pa.Field] = []
    refused: dict[str, str] = {}
    for field in schema:
        try:
            fields.append(_canonical_field(field))
        except DataError as error:
            refused[field.name] = error.what
    if refused:
        raise DataError(
            "; ".join(f"{name}: {what}" for name, what in refused.items()),
            hint=f"leave it out, or carry it as text: {_as_text_hint(next(iter(refused)))}",
            where={"column": ", ".join(refused)},
        )
    return pa.schema(fields, metadata=schema.metadata)


def canonical_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in a target schema of canonical types, losslessly.

    Columns are matched by name and brought into the target's order; columns that did not come are null.
    Columns that have the target's type already are not copied. Between numbers the values decide: an int64
    that fits goes into an int32 or a float64 that holds it exactly.

    Raises:
        DataError: a value does not fit its column, a null comes into a column without nulls, or the batch has
            a column that the target does not have.
    """
    _refuse_twins(batch.schema.names)
    strangers = [name for name in batch.schema.names if schema.get_field_index(name) < 0]
    if strangers:
        raise DataError(
            f"the rows have columns that their table does not have: {', '.join(strangers)}",
            hint="the schema changed during the run: run again",
            where={"column": ", ".join(strangers)},
        )
    columns = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        array = batch.column(index) if index >= 0 else pa.nulls(batch.num_rows, field.type)
        columns.append(_carried(array, field))
    return pa.RecordBatch.from_arrays(columns, schema=schema) if columns else batch.select([])


def widened(table_type: pa.DataType, incoming_type: pa.DataType) -> bool:
    """Whether every value of the incoming type is carried in the table's type without loss.

    Both are canonical. Text is carried by text only. Nullability is not a question of the type:
    `canonical_batch` refuses a null where none may be.
    """
    if table_type == incoming_type:
        return True
    if is_listlike(table_type) and is_listlike(incoming_type):
        return widened(table_type.value_type, incoming_type.value_type)
    if t.is_map(table_type) and t.is_map(incoming_type):
        pairs = ("key_type", "item_type")
        return all(widened(getattr(table_type, part), getattr(incoming_type, part)) for part in pairs)
    if t.is_struct(table_type) and t.is_struct(incoming_type):
        there = {field.name: field.type for field in table_type}
        return all(field.name in there and widened(there[field.name], field.type) for field in incoming_type)
    return _number_widened(table_type, incoming_type)


def reconcile(table: pa.Schema, incoming: pa.Schema, allow_missing: bool = False) -> Evolution:
    """How the incoming columns differ from the table's, when they can be carried in it.

    Args:
        table: the table's schema.
        incoming: the schema of what comes, made canonical here. A column that the source knows no type of
            (null) fits every column.
        allow_missing: columns of the table that do not come become null. Metadata columns (`_asgard_...`,
            `extracted_at`) always may.

    Raises:
        SchemaChanged: some columns do not fit; all of them are named, with the types.
    """
    incoming = canonical_schema(incoming)
    misfits: list[tuple[str, str]] = []
    changed: dict[str, tuple[str, str]] = {}
    there = {name.casefold(): name for name in table.names}
    added = tuple(name for name in incoming.names if table.get_field_index(name) < 0)
    for name in added:
        if name.casefold() in there:
            misfits.append((name, f"differs only by case from the table's column {there[name.casefold()]}"))
    missing = tuple(
        name for name in table.names if incoming.get_field_index(name) < 0 and not is_metadata_column(name)
    )
    for name in missing:
        if not allow_missing:
            misfits.append((name, f"the table has {_shown(table.field(name))}, it does not come any more"))
        elif not table.field(name).nullable:
            misfits.append((name, "it does not come any more, and the table allows no nulls in it"))
    for field in incoming:
        if field.name in added:
            continue
        have = table.field(field.name)
        if not _fits(have, field):
            misfits.append((field.name, f"the table has {_shown(have)}, {_shown(field)} comes"))
        elif not widened(field.type, have.type):  # wider for good, not only without its "not null"s
            changed[field.name] = (str(field.type), str(have.type))
    if misfits:
        _refuse(misfits, bool(missing) and not allow_missing)
    return Evolution(added=added, widened=changed, missing=missing)


def is_metadata_column(name: str) -> bool:
    """Whether Asgard writes the column itself."""
    return name == EXTRACTED_AT or name.startswith(RESERVED_PREFIX)


def fingerprint(schema: pa.Schema) -> str:
    """16 hex digits that are equal for equal names, types, nullability and `asgard.type`, in this order."""
    document = [_field_document(field) for field in schema]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


def _canonical(type: pa.DataType) -> tuple[pa.DataType, dict[str, str]]:
    """The canonical type, and what of the source's type it does not say."""
    if isinstance(type, pa.BaseExtensionType):
        return _canonical_extension(type)
    if t.is_dictionary(type) or t.is_run_end_encoded(type):
        return _canonical(type.value_type)
    if is_listlike(type):
        return pa.list_(_canonical_field(type.value_field).with_nullable(True)), {}
    if t.is_map(type):
        values = _canonical_field(type.item_field).with_nullable(True)
        return pa.map_(_canonical_field(type.key_field), values), {}
    if t.is_struct(type) and type.num_fields:
        _refuse_twins([field.name for field in type])
        return pa.struct([_canonical_field(field).with_nullable(True) for field in type]), {}
    return _canonical_flat(type)


def _canonical_flat(type: pa.DataType) -> tuple[pa.DataType, dict[str, str]]:
    if t.is_boolean(type) or t.is_signed_integer(type) or t.is_float32(type) or t.is_float64(type):
        return type, {}
    if t.is_unsigned_integer(type):
        return UNSIGNED[type.bit_width], {}
    if t.is_float16(type):
        return pa.float32(), {}
    if t.is_decimal(type):
        precision, scale = decimal_digits(type)
        if precision <= MAX_DECIMAL_DIGITS:
            return pa.decimal128(precision, scale), {}
        return pa.string(), {TYPE: f"decimal({type.precision},{type.scale})"}
    if t.is_date(type):
        return pa.date32(), {}
    if t.is_timestamp(type):
        zone = {} if type.tz in (None, "UTC") else {TIMEZONE: type.tz}
        return pa.timestamp("us", type.tz and "UTC"), zone
    if is_binarylike(type):
        return pa.binary(), {}
    return pa.string(), _text_label(type)


def _text_label(type: pa.DataType) -> dict[str, str]:
    if is_textlike(type):
        return {}
    if t.is_time(type):
        return {TYPE: "time"}
    if t.is_duration(type):
        return {TYPE: "duration"}
    if type == pa.month_day_nano_interval():
        return {TYPE: "interval"}
    if t.is_null(type):
        return {TYPE: "null"}
    raise DataError(f"the lake cannot carry the type {type}", hint=_as_text_hint("name"))


def _canonical_extension(type: pa.BaseExtensionType) -> tuple[pa.DataType, dict[str, str]]:
    name = type.extension_name
    if name == "arrow.bool8":
        return pa.bool_(), {}
    if name == "arrow.uuid":
        return pa.string(), {TYPE: "uuid"}
    canonical, told = _canonical(type.storage_type)
    return canonical, {**told, TYPE: "json" if name == "arrow.json" else name}


def _canonical_field(field: pa.Field) -> pa.Field:
    canonical, told = _canonical(field.type)
    known = metadata(field)
    extension = known.get("ARROW:extension:name")  # of a type that this process does not know
    kept = {key: value for key, value in known.items() if not key.startswith(("ARROW:", "PARQUET:"))}
    entries = {**({TYPE: extension} if extension else {}), **told, **kept}
    return pa.field(field.name, canonical, field.nullable, entries or None)


def _carried(array: pa.Array, field: pa.Field) -> pa.Array:
    try:
        carried = convert(array, field.type)
    except Misfit as misfit:
        value = "" if misfit.value is None else f" value {misfit.value!r}"
        raise DataError(
            f"the {misfit.source}{value} cannot be carried as {misfit.target}",
            hint=_as_text_hint(field.name),
            where={"column": field.name + misfit.path},
        ) from misfit
    if carried.null_count and not field.nullable:
        raise DataError(
            "a row has null, and the table allows no nulls in it",
            hint="fill it at the source, or load the table anew: asgard resync",
            where={"column": field.name},
        )
    return carried


def _fits(have: pa.Field, comes: pa.Field) -> bool:
    label, incoming = (metadata(field).get(TYPE, "").split("(")[0].strip().lower() for field in (have, comes))
    if incoming == "null" and t.is_string(comes.type):
        return True
    if t.is_string(have.type) and t.is_string(comes.type) and {label, incoming} & TEXT_LABELS:
        return label in (incoming, "null") if incoming else False
    return widened(have.type, comes.type)


def _number_widened(table: pa.DataType, incoming: pa.DataType) -> bool:
    if t.is_signed_integer(incoming):
        if t.is_signed_integer(table):
            return bool(incoming.bit_width <= table.bit_width)
        if t.is_decimal(table):
            return bool(table.precision - table.scale >= INTEGER_DIGITS[incoming.bit_width])
        # the sign is no part of the mantissa
        return bool(t.is_floating(table) and incoming.bit_width - 1 <= FLOAT_MANTISSA_BITS[table.bit_width])
    if t.is_decimal(incoming):
        whole = incoming.precision - incoming.scale
        if t.is_decimal(table):
            return bool(table.scale >= incoming.scale and table.precision - table.scale >= whole)
        if not t.is_signed_integer(table):
            return False
        return bool(incoming.scale == 0 and whole < INTEGER_DIGITS[table.bit_width])
    return bool(t.is_float32(incoming) and t.is_float64(table))


def _refuse(misfits: list[tuple[str, str]], vanished: bool) -> None:
    names = list(dict.fromkeys(name for name, _ in misfits))
    lines = "; ".join(f"{name}: {why}" for name, why in misfits)
    ways = ["allow_missing: true fills vanished columns with null"] if vanished else []
    raise SchemaChanged(
        f"{len(names)} column{'s do' if len(names) > 1 else ' does'} not fit the table: {lines}",
        hint="; ".join([*ways, "asgard resync reads the table anew with the new types"]),
        where={"column": ", ".join(names)},
    )


def _refuse_twins(names: list[str]) -> None:
    if len(set(names)) < len(names):
        twins = sorted(name for name, count in Counter(names).items() if count > 1)
        raise DataError(
            f"the name {twins[0]!r} comes twice",
            hint="give each column a name of its own, for example with AS in a query",
            where={"column": twins[0]},
        )


def _as_text_hint(name: str) -> str:
    return f"`columns: {{{name}: text}}` in asgard.yml carries it as text"


def _shown(field: pa.Field) -> str:
    label = metadata(field).get(TYPE)
    return f"{field.type} ({label})" if label and label != str(field.type) else str(field.type)


def _field_document(field: pa.Field) -> list[object]:
    return [field.name, _type_document(field.type), field.nullable, metadata(field).get(TYPE)]


def _type_document(type: pa.DataType) -> object:
    if is_listlike(type):  # the name of a list's field says nothing and differs between writers
        size = getattr(type, "list_size", None)
        return [str(type).split("<")[0], size, _field_document(type.value_field)[1:]]
    if t.is_map(type):
        return ["map", _field_document(type.key_field)[1:], _field_document(type.item_field)[1:]]
    if t.is_struct(type):
        return ["struct", *(_field_document(field) for field in type)]
    return str(type)
