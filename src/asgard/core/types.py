"""The canonical types: the Arrow types that the lake carries, and the lossless ways into them.

    source                                canonical                 asgard.type
    bool, bool8                           bool
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
    binary, large, view, fixed size       binary
    arrow.uuid                            string, lower case        uuid
    arrow.json                            string, as it is          json
    null                                  string, all null          null
    list, large, view, fixed size         list of canonical
    struct, map                           the same of canonical
    dictionary, run_end_encoded           canonical of the values
    other extension types                 canonical of the storage  the extension's name

Everything else (unions, structs without fields) is refused by name. Texts are ISO 8601 without trailing zeros
in the fraction, so that they do not depend on the unit and times sort as texts do.

Promise 2 is kept here: a value arrives as it was, or a DataError names the column; nothing passes through a
float, a timestamp object or a guess. What a source means by its values (infinite dates, 24:00 in other
guises) is the connector's business, how a table stores them the lake's.

Reference: https://arrow.apache.org/docs/format/Columnar.html,
https://github.com/delta-io/delta/blob/master/PROTOCOL.md#primitive-types
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.types as t

from asgard.core.convert import Misfit, convert
from asgard.core.errors import DataError, SchemaChanged
from asgard.core.table import Evolution

TYPE_KEY = b"asgard.type"
TIMEZONE_KEY = b"asgard.timezone"
EXTRACTED_AT = "extracted_at"
RESERVED_PREFIX = "_asgard_"
```
