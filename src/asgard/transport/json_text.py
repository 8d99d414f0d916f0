"""JSON in, Python values out, exactly and in pieces: integers of any size, and every digit of other numbers.

Numbers with a point become Decimals, or doubles where no digit can get lost on the way: the text of such a
double is the number that was written. Reads JSON Lines, and documents of any length as long as one record
fits into memory. Of a name that comes twice in one object the last value counts, as in every common parser.
Leaves types to `json_records`.

Reference: https://www.rfc-editor.org/rfc/rfc8259, https://jsonlines.org
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import orjson

from asgard.core.budget import MEBIBYTE
from asgard.core.errors import DataError, QueryError

MOST_VALUE_CHARACTERS = 256 * MEBIBYTE
"""How long one value may be: one record, or a document in which the records are still to be found."""

Records = list[Any]
_GOES_ON = re.compile(r"[-+.0-9eE]*")
"""What may still be part of a number, if it is the last that is held."""


EXACT_DIGITS = 15
"""Every decimal of so many digits comes back unchanged from a double, if it is not close to zero."""


def _refuse_constant(word: str) -> None:
    raise ValueError(f"the word {word} is no JSON number")


DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)
_DIGITS = bytes.maketrans(b"123456789.", b"0000000000")
_TINY = re.compile(rb"[eE]-[0-9]{3}")


def is_plain(text: bytes) -> bool:
    """Whether a parser that makes doubles gives every number of the text back: none has more digits than
    every double carries, none is close to zero. Long digits in strings count too: that only costs time."""
    if b"0" * (EXACT_DIGITS + 1) in text.translate(_DIGITS):
        return False
    return (b"e-" not in text and b"E-" not in text) or not _TINY.search(text)


def parse(text: bytes | str, name: str) -> Any:
    """One document. Numbers with a point are doubles where the whole document `is_plain`, else Decimals.

    Raises:
        DataError: it is no JSON; with line and column.
    """
    if isinstance(text, bytes) and is_plain(text):
        with suppress(orjson.JSONDecodeError):  # the slower parser knows more words for what is wrong
            return orjson.loads(text)
    try:
        plain = text if isinstance(text, str) else text.decode("utf-8-sig")
        return DECODER.decode(plain)
    except json.JSONDecodeError as error:
        raise broken(name, error.msg, error.lineno, error.colno) from error
    except (ValueError, RecursionError) as error:
        raise broken(name, str(error)) from error


def dumps(value: Any) -> str:
    """The value as compact JSON text, names in their order.

    Numbers of up to 15 digits are in their shortest form, which is the same number; longer ones stand as they
    were written. So the text does not depend on the parser.
    """
    try:
        return orjson.dumps(value, default=_as_written).decode()
    except TypeError:  # integers beyond 64 bits, lone surrogates, hundreds of levels
        return _dumps_slowly(value)


_BETWEEN = "\0between\0"
_WRITTEN_BETWEEN = b"," + orjson.dumps(_BETWEEN)


def dump_all(values: Sequence[Any]) -> list[bytes]:
    """The UTF-8 texts of values as `dumps` writes them, all at one go."""
    mixed = [_BETWEEN] * (2 * len(values))
    mixed[::2] = values
    try:
        whole = orjson.dumps(mixed, default=_as_written)
    except TypeError:
        return [dumps(value).encode() for value in values]
    parts = whole[1:-1].removesuffix(_WRITTEN_BETWEEN).split(_WRITTEN_BETWEEN + b",")
    if len(parts) != len(values):  # somebody has that very text in a list
        return [dumps(value).encode() for value in values]
    return parts


def _as_written(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value) if _is_short(value) else orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)


def _dumps_slowly(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_dumps_slowly(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dumps_slowly, value)) + "]"
    return dumps(value) if isinstance(value, Decimal) else json.dumps(value)


def _is_short(number: Decimal) -> bool:
    return len(number.as_tuple().digits) <= EXACT_DIGITS and -290 < number.adjusted() < 290


def lines(stream: Any, name: str, piece_bytes: int) -> Iterator[Records]:
    """The values of JSON Lines, in pieces of about so many bytes of text; blank lines are none.

    Raises:
        DataError: a line is no JSON; with line and column.
    """
    rest, number = b"", 0
    for block in iter(lambda: stream.read(piece_bytes), b""):
        whole = rest + block if rest else block
        end = whole.rfind(b"\n") + 1
        rest = whole[end:]
        if len(rest) > MOST_VALUE_CHARACTERS:
            raise broken(name, "the line is too long for one record", number + 1)
        if end:
            yield _values(whole[: end - 1].split(b"\n"), name, number)
            number += whole.count(b"\n", 0, end)
    if rest:
        yield _values([rest], name, number)


def _values(texts: Sequence[bytes], name: str, before: int) -> Records:
    plain = is_plain(b"\n".join(texts))
    values = []
    for number, text in enumerate(texts, before + 1):
        if plain:
            try:
                values.append(orjson.loads(text))
                continue
            except orjson.JSONDecodeError:
                pass  # the slower parser knows more words for what is wrong
        try:
            line = text.decode("utf-8-sig" if number == 1 else "utf-8")
            if line and not line.isspace():
                values.append(DECODER.decode(line))
        except json.JSONDecodeError as error:
            raise broken(name, error.msg, number, error.colno) from error
        except (ValueError, RecursionError) as error:
            raise broken(name, str(error), number) from error
    return values


def records(stream: Any, name: str, path: str | None, piece_bytes: int) -> Iterator[Records]:
    """The records of a document: the elements of the list at `path`, or of the list that `found_records`
    finds, or the documents themselves where several follow each other.

    Args:
        path: names with dots between them, for example `data.items`; empty for the document itself.

    Raises:
        DataError: it is no JSON, or cut off; with line and column.
        QueryError: there is nothing at the path, or several lists could be meant.
    """
    text = _Text(stream, name, piece_bytes)
    piece: Records = []
    read = 0
    for record in _records(text, path):
        piece.append(record)
        if text.passed - read >= piece_bytes:
            yield piece
            piece, read = [], text.passed
    if piece:
        yield piece


def _records(text: _Text, path: str | None) -> Iterator[Any]:
    if path:
        yield from _at(text, path.split("."), path)
    elif text.peek() == "[":
        yield from _elements(text)
    elif text.peek():
        first = text.value()
        if not text.peek():
            yield from found_records(first, text.name)
            return
        yield first
    while text.peek():
        yield from _elements(text) if text.peek() == "[" and not path else (text.value(),)


def _elements(text: _Text) -> Iterator[Any]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.take(",]") == "]":
            return


def _at(text: _Text, keys: Sequence[str], path: str) -> Iterator[Any]:
    """The records at a path; reads the rest of the document too, so that a cut-off one is noticed."""
    if not keys:
        yield from _elements(text) if text.peek() == "[" else (text.value(),)
        return
    found = False
    if text.peek() == "{":
        text.take("{")
        while text.peek() != "}":
            key = text.value()
            text.take(":")
            if key == keys[0] and not found:
                found = True
                yield from _at(text, keys[1:], path)
            else:
                text.value()
            if text.peek() == ",":
                text.take(",")
        text.take("}")
    if not found:
        raise QueryError(
            f"{text.name} has nothing at {path!r}",
            hint="set records to the path of the list, or leave it out",
        )


def found_records(document: Any, name: str) -> Records:
    """The records of a parsed document without a path: its elements if it is a list, the elements of the
    only list of objects in it, else the document itself as the one record.

    Raises:
        QueryError: several lists of objects are in it; the hint names their paths.
    """
    if isinstance(document, list):
        return document
    found = list(_lists(document, ""))
    if len(found) > 1:
        raise QueryError(
            f"{name} has several lists of records: {', '.join(path for path, _ in found)}",
            hint=f"say which one: `records: {found[0][0]}`",
        )
    if found:
        return found[0][1]
    empty = [value for value in document.values() if value == []] if isinstance(document, dict) else []
    return [] if len(empty) == 1 else [document]


def _lists(value: Any, path: str) -> Iterator[tuple[str, Records]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lists(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and all(isinstance(element, dict) for element in value):
        yield path, value


def at_path(document: Any, path: str, name: str) -> Any:
    """What a parsed document has at a path of names with dots between them.

    Raises:
        QueryError: nothing is there; the hint names what is.
    """
    value = document
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            names = ", ".join(map(str, value)) if isinstance(value, dict) else f"a {type(value).__name__}"
            raise QueryError(
                f"{name} has nothing at {path!r}", hint=f"where {key!r} is looked for is {names}"
            )
        value = value[key]
    return value


class _Text:
    """A document that is read piece by piece."""

    def __init__(self, stream: Any, name: str, piece_bytes: int) -> None:
        self.name = name
        self._stream = stream
        self._piece_bytes = piece_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._held, self._at, self._ended = "", 0, False
        self._before = 0  # characters before the held ones
        self._line, self._column = 1, 1  # of the first held character

    @property
    def passed(self) -> int:
        """How many characters were read over."""
        return self._before + self._at

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            rest = self._held[self._at : self._at + 1]
            if rest and rest not in " \t\r\n":
                return rest
            if rest:
                match = json.decoder.WHITESPACE.match(self._held, self._at)  # type: ignore[attr-defined]
                self._at = match.end()
            elif not self._more():
                return ""

    def take(self, characters: str) -> str:
        """Passes one of the characters; what else comes is an error."""
        found = self.peek()
        if not found or found not in characters:
            wanted = " or ".join(repr(character) for character in characters)
            raise self._broken(f"Expecting {wanted}", self._at)
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._held, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._held) - 16
                if not (cut and self._more()):
                    raise self._broken(error.msg, error.pos) from error
                continue
            except (ValueError, RecursionError) as error:
                raise self._broken(str(error), self._at) from error
            if not _GOES_ON.fullmatch(self._held, end) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        if self._ended:
            return False
        if len(self._held) - self._at > MOST_VALUE_CHARACTERS:
            raise self._broken("one value is too long; set records to the path of the list", self._at)
        # As much as is held: a value that needs many pieces is parsed anew a few times, not once a piece.
        block = self._stream.read(max(self._piece_bytes, len(self._held) - self._at))
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise self._broken(str(error), len(self._held)) from error
        self._ended = not block
        self._line, self._column = self._place(self._at)
        self._before += self._at
        self._held, self._at = self._held[self._at :] + text, 0
        return True

    def _place(self, index: int) -> tuple[int, int]:
        newlines = self._held.count("\n", 0, index)
        if not newlines:
            return self._line, self._column + index
        return self._line + newlines, index - self._held.rfind("\n", 0, index)

    def _broken(self, what: str, index: int) -> DataError:
        return broken(self.name, what, *self._place(index))


def broken(name: str, what: str, line: int | None = None, column: int | None = None) -> DataError:
    """The error about text that is no JSON."""
    place = ":".join(str(part) for part in (name, line, column) if part is not None)
    return DataError(
        f"this is no JSON: {what[:1].lower()}{what[1:]}",
        hint="mend it there; a file that was cut off has to be fetched again",
        where={"file": place},
    )
