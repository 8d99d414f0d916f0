"""Page after page of one stream: its lists one after the other, those of each parent, until there is no more.

A list that goes on unnoticed would be a table with rows missing, and one that never ends a run that never
does. So an answer that says it is not all, in a way that nobody told us to follow, is an error, and so is a
page that comes twice. Where the reading stands is a `Mark`, so that it can go on in another process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from asgard.connectors._api.answers import Form, Records, around_records, document_of, records_of
from asgard.connectors._api.options import ApiStreamOptions, Parent
from asgard.connectors._api.paging import (
    KeysetPages,
    Offsets,
    PageNumbers,
    Seen,
    SoFar,
    first_request,
    following,
    told_total,
    value_at,
)
from asgard.core.errors import DataError, PositionLost, QueryError
from asgard.transport import json_text
from asgard.transport.http import Answer, HttpClient, Request

_PLACE = re.compile(r"\{(since|until|last|name|cursor|properties|parent\.[A-Za-z0-9_.-]+)\}")


@dataclass(frozen=True)
class Mark:
    """Where a reading stands: behind so many pages of one of its lists.

    Attributes:
        list: number of the list, from 0.
        request: the one to ask next, without secrets; None at the list's beginning.
    """

    list: int = 0
    request: Mapping[str, Any] | None = None
    pages: int = 0
    records: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a token keeps it."""
        return {"list": self.list, "request": self.request, "pages": self.pages, "records": self.records}

    @classmethod
    def from_json(cls, document: Any) -> Mark:
        """Reads a token's.

        Raises:
            PositionLost: it is none.
        """
        try:
            return cls(document["list"], document["request"], document["pages"], document["records"])
        except (KeyError, TypeError) as error:
            raise PositionLost(
                f"the position's page cannot be read: {error!r}", hint="asgard resync the table"
            ) from error


@dataclass(frozen=True)
class Page:
    """One answer.

    Attributes:
        content: as it came.
        form: how it is read.
        extra: columns of the parent's record.
        records: what is in it.
        total: how many records there are altogether, if the answer says so.
        date: the server's clock, as its header says it.
        onward: where the reading goes on; None at its end.
        marked: whether `onward` can be gone on from later: pages of children cannot.
    """

    content: bytes = field(repr=False)
    form: Form
    extra: Mapping[str, Any]
    records: Records = field(repr=False)
    total: int | None
    date: str
    onward: Mark | None
    marked: bool


@dataclass(frozen=True)
class _List:
    """One list of a stream: what its first page is asked with."""

    request: Request
    pagination: Any
    form: Form


@dataclass(frozen=True)
class Reading:
    """A stream that is read.

    Attributes:
        values: what placeholders stand for: `since`, `until`, `properties`, ...
    """

    client: HttpClient
    name: str
    options: ApiStreamOptions
    values: Mapping[str, Any] = field(default_factory=dict)

    def pages(self, start: Mark | None = None) -> Iterator[Page]:
        """All pages from a mark on, one request for each, lazily.

        Raises:
            DataError: an answer is no JSON, comes twice, or says that there is more than is asked for.
            QueryError: there are no records where they should be.
        """
        lists = self._lists()
        start = start or Mark()
        for number in range(start.list, len(lists)):
            mark = start if number == start.list else Mark(number)
            behind = Mark(number + 1) if number + 1 < len(lists) else None
            if self.options.parent is None:
                yield from self._pages(lists[number], mark, behind, {})
            else:
                yield from self._children(lists[number], self.options.parent, behind)

    def _lists(self) -> list[_List]:
        """One for each pass; the first ones are replaced where only changes are asked for."""
        options, increment = self.options, self.options.incremental
        own = Request(
            self.name if options.path is None else options.path,
            options.method,
            options.params,
            options.body,
            repeatable=options.repeatable,
        )
        form = Form(self.name, options.records, options.format, options.lift, options.errors)
        passes = [
            _List(replace(own, params={**own.params, **params}), options.pagination, form)
            for params in options.passes or ({},)
        ]
        if increment is None or "since" not in self.values:
            return passes
        request = Request(
            own.url if increment.path is None else increment.path,
            increment.method or own.method,
            {**(own.params if increment.path is None else {}), **(increment.params or {})},
            own.body if increment.body is None else increment.body,
            repeatable=own.repeatable or increment.body is not None,
        )
        bounds = {increment.param: self.values["since"]} if increment.param else {}
        if increment.end_param and "until" in self.values:
            bounds[increment.end_param] = self.values["until"]
        in_body = request.method == "POST" and isinstance(request.body, dict)
        request = (
            replace(request, body={**request.body, **bounds})
            if in_body
            else replace(request, params={**request.params, **bounds})
        )
        pagination = options.pagination if increment.pagination is None else increment.pagination
        own_form = replace(form, records=increment.records or form.records)
        return [_List(request, pagination, own_form), *passes[increment.first_passes :]]

    def _children(self, listed: _List, parent: Parent, behind: Mark | None) -> Iterator[Page]:
        """The list of every record of the parent's."""
        assert parent.path is not None
        above = Reading(
            self.client,
            parent.path,
            ApiStreamOptions(
                path=parent.path, params=parent.params, records=parent.records, pagination=parent.pagination
            ),
        )
        for page in above.pages():
            for record in page.records:
                extra = {column: value_at(record, path) for column, path in parent.include.items()}
                for child in self._pages(listed, Mark(), behind, {"parent": record}, extra):
                    yield replace(child, marked=False)

    def _pages(
        self,
        listed: _List,
        mark: Mark,
        behind: Mark | None,
        values: Mapping[str, Any],
        extra: Mapping[str, Any] | None = None,
    ) -> Iterator[Page]:
        keyset = listed.pagination if isinstance(listed.pagination, KeysetPages) else None
        last = keyset.start if keyset else ""
        template = listed.request
        first = _asked(template, {**self._values, **values, "last": last})
        request: Request | None = first_request(first, listed.pagination)
        if mark.request is not None:
            request = replace(first, **mark.request)
        seen: dict[bytes, int] = {}
        so_far = SoFar(mark.pages, mark.records)
        while request is not None:
            numbered = isinstance(listed.pagination, PageNumbers) and so_far.pages
            answer = self.client.send(request, wanted=(404,) if numbered else ())
            if answer.status == 404:
                answer = replace(answer, content=b"")
            document = self._document(answer, listed.form)
            records = records_of(document, listed.form, extra) if answer.content.strip() else []
            so_far = SoFar(so_far.pages + 1, so_far.records + len(records), len(records))
            _refuse_circle(seen, request, (answer, records), listed.pagination, so_far.pages)
            if keyset:
                last = _behind(last, records, keyset, answer)
                values_of_next = {**self._values, **values, "last": last}
                request = _asked(template, values_of_next) if records else None
            elif answer.status == 404:
                request = None
            else:
                around = around_records(document, listed.form)
                request = following(request, listed.pagination, Seen(answer, document, around, so_far))
            onward = behind if request is None else self._mark(mark.list, request, so_far)
            yield Page(
                answer.content, listed.form, extra or {}, records, told_total(document),
                answer.headers.get("date", ""), onward, True,
            )  # fmt: skip

    @property
    def _values(self) -> Mapping[str, Any]:
        increment = self.options.incremental
        return {
            "name": self.options.label or self.name,
            "properties": list(self.options.properties),
            "cursor": increment and increment.cursor,
            **self.values,
        }

    def _mark(self, number: int, request: Request, so_far: SoFar) -> Mark:
        asked = {
            "url": self.client.without_secrets(request.url),
            "params": dict(request.params),
            "body": request.body,
        }
        return Mark(number, asked, so_far.pages, so_far.records)

    def _document(self, answer: Answer, form: Form) -> Any:
        try:
            return document_of(answer.content, form)
        except QueryError as error:
            raise error.at(url=answer.url) from error
        except DataError as error:
            if form.format != "json":
                raise error.at(url=answer.url) from error
            kind = answer.headers.get("content-type", "no content type").partition(";")[0]
            raise DataError(
                f"the answer is no JSON ({kind}): {self.client.excerpt(answer.content)}",
                hint="look at base_url and path: is it the API, or a page for people?",
                where={"url": answer.url},
            ) from error


def _refuse_circle(
    seen: dict[bytes, int], request: Request, page: tuple[Answer, Records], pagination: Any, number: int
) -> None:
    """Refuses a page that came before, and a request that was asked before: the parameter that should tell
    pages apart is not heard."""
    answer, records = page
    if not records:
        return
    counted = isinstance(pagination, PageNumbers | Offsets)
    came = json_text.dumps(records).encode() if counted else answer.content
    asked = json_text.dumps([request.url, dict(request.params), request.body]).encode()
    for digest in (hashlib.sha256(came).digest(), hashlib.sha256(asked).digest()):
        if digest in seen:
            raise DataError(
                f"page {number} is the same as page {seen[digest]}: the paging goes in circles",
                hint="set pagination to the way in which this API pages",
                where={"url": answer.url},
            )
        seen[digest] = number


def _behind(last: str, records: Records, keyset: KeysetPages, answer: Answer) -> str:
    """What the last record is sorted by.

    Raises:
        DataError: the records do not grow from one to the next: going on behind the last would skip some.
    """
    for record in records:
        here = value_at(record, keyset.field)
        if not re.fullmatch(r"\d{1,40}", str(here)) or int(str(here)) <= int(last):
            raise DataError(
                f"the records are not sorted by {keyset.field}: {here!r} comes behind {last!r}",
                hint="ask for that order in params or body",
                where={"url": answer.url},
            )
        last = str(here)
    return last


def _asked(template: Request, values: Mapping[str, Any]) -> Request:
    """The request with values in the place of placeholders."""
    return replace(
        template,
        url=_PLACE.sub(lambda found: quote(_text(_value(found[1], values, found[0])), safe=""), template.url),
        params={
            name: _param(value, values)
            for name, value in template.params.items()
            if not _is_open(value, values)
        },
        body=_filled(template.body, values),
    )


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """The value with placeholders filled; one that is all of a text keeps its type."""
    if isinstance(value, str):
        if whole := _PLACE.fullmatch(value):
            return _value(whole[1], values, value)
        return _PLACE.sub(lambda found: _text(_value(found[1], values, found[0])), value)
    if isinstance(value, dict):
        return {name: _filled(inner, values) for name, inner in value.items() if not _is_open(inner, values)}
    return [_filled(inner, values) for inner in value] if isinstance(value, list) else value


def _is_open(value: Any, values: Mapping[str, Any]) -> bool:
    """Whether it stands for a bound that there is none of: a first load asks without it."""
    return value in ("{since}", "{until}") and value[1:-1] not in values


def _value(name: str, values: Mapping[str, Any], written: str) -> Any:
    if not name.startswith("parent."):
        return values.get(name, written)
    found = value_at(values.get("parent"), name.removeprefix("parent."))
    if found is None:
        raise DataError(
            f"a parent's record has nothing at {name.removeprefix('parent.')!r}",
            hint="look at what its records have: asgard discover, or sample the parent",
        )
    return found


def _param(value: Any, values: Mapping[str, Any]) -> Any:
    filled = _filled(value, values)
    return _text(filled) if isinstance(value, str) and isinstance(filled, list) else filled


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
