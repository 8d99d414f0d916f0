"""Page after page of one endpoint: how the next one is asked for, and when there is none.

A list that goes on unnoticed would be a table with rows missing, and one that never ends a run that never
does. So an answer that says it is not all, in a way that nobody told us to follow, is an error, and so is a
page that comes twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from asgard.core.config import Config
from asgard.core.errors import DataError, QueryError
from asgard.transport import json_text
from asgard.transport.http import Answer, HttpClient, Request

NEXT_PATHS = (
    "next", "next_url", "next_page_url", "nextPageUrl", "nextLink", "@odata.nextLink", "links.next",
    "_links.next", "_links.next.href", "links.next.href", "paging.next", "paging.next.link",
    "pagination.next", "pagination.next_url", "meta.next", "info.next",
)  # fmt: skip
"""Where answers have the URL of the next page."""
MORE_PATHS = (
    "has_more", "hasMore", "has_next", "hasNext", "next_page", "nextPage", "next_cursor", "nextCursor",
    "next_page_token", "nextPageToken", "cursor.next", "paging.next.after", "paging.cursors.after",
    "pagination.has_more", "pagination.next_cursor", "pagination.next_page", "meta.next_cursor",
    "meta.next_page", "response_metadata.next_cursor",
)  # fmt: skip
"""Where answers say that they are not all, without a URL."""
TOTAL_PATHS = (
    "total", "total_count", "totalCount", "total_results", "totalResults", "@odata.count", "meta.total",
    "pagination.total", "page.totalElements", "paging.total",
)  # fmt: skip


class NoPages(Config):
    """The first answer is everything, whatever it says."""

    type: Literal["none"]


class AutoPages(Config):
    """The Link header's `next`, or a URL that the answer has under a usual name."""

    type: Literal["auto", "link"] = "auto"


class NextUrlPages(Config):
    """The answer has the URL of the next page."""

    type: Literal["next_url"]
    path: str = Field(default="next", min_length=1, description="Where: names with dots between them.")


class PageNumbers(Config):
    """Pages are counted; the first without records ends them."""

    type: Literal["page"]
    param: str = Field(default="page", min_length=1, description="The parameter that has the number.")
    start: int = Field(default=1, ge=0, description="The number of the first page.")
    size_param: str | None = Field(default=None, description="The parameter for records of a page.")
    size: int | None = Field(default=None, ge=1, description="How many records to ask for.")
    total_pages: str | None = Field(default=None, description="Where the answer has the number of pages.")


class Offsets(Config):
    """Records are counted; the first page without any ends them."""

    type: Literal["offset"]
    param: str = Field(default="offset", min_length=1, description="The parameter for records to pass over.")
    size_param: str = Field(default="limit", min_length=1, description="The parameter for records of a page.")
    size: int = Field(default=100, ge=1, description="How many records to ask for.")


class CursorPages(Config):
    """The answer has a mark that the next request brings back."""

    type: Literal["cursor"]
    path: str = Field(min_length=1, description="Where the mark is: names with dots between them.")
    param: str = Field(default="cursor", min_length=1, description="The parameter that brings it back.")


Pagination = Annotated[
    NoPages | AutoPages | NextUrlPages | PageNumbers | Offsets | CursorPages, Field(discriminator="type")
]


@dataclass(frozen=True)
class Endpoint:
    """What is asked, and how its answers are to be read.

    Attributes:
        name: of the stream, for errors.
        records: path of the list of records; None to find it.
    """

    name: str
    request: Request
    records: str | None
    pagination: Any


@dataclass(frozen=True)
class Page:
    """One answer: what came, and the records in it."""

    content: bytes
    records: json_text.Records


def pages(client: HttpClient, endpoint: Endpoint) -> Iterator[Page]:
    """All pages of an endpoint, one request for each, lazily.

    Raises:
        DataError: an answer is no JSON, comes twice, or says that there is more than is asked for.
        QueryError: there are no records where they should be.
    """
    seen: dict[bytes, int] = {}
    request: Request | None = _first(endpoint)
    so_far = _SoFar()
    while request is not None:
        beyond = (404,) if isinstance(endpoint.pagination, PageNumbers) and so_far.pages else ()
        answer = client.send(request, wanted=beyond)
        if answer.status == 404:
            return
        document = _document(client, answer)
        records = page_records(document, endpoint)
        so_far = _SoFar(so_far.pages + 1, so_far.records + len(records), len(records))
        digest = _digest(answer, records, endpoint)
        if records and digest in seen:
            raise DataError(
                f"page {so_far.pages} is the same as page {seen[digest]}: the paging goes in circles",
                hint="set pagination to the way in which this API pages",
                where={"url": answer.url},
            )
        seen[digest] = so_far.pages
        yield Page(answer.content, records)
        request = _following(endpoint, request, answer, document, so_far)


@dataclass(frozen=True)
class _SoFar:
    """What came: pages, records, and how many of them with the last page."""

    pages: int = 0
    records: int = 0
    rows: int = 0


def _digest(answer: Answer, records: json_text.Records, endpoint: Endpoint) -> bytes:
    """What two pages have in common if the parameter that should tell them apart is not heard."""
    counted = isinstance(endpoint.pagination, PageNumbers | Offsets)
    return hashlib.sha256(json_text.dumps(records).encode() if counted else answer.content).digest()


def page_records(document: Any, endpoint: Endpoint) -> json_text.Records:
    """The records of one answer.

    Raises:
        QueryError: there is nothing at the path, or several lists could be meant.
    """
    if endpoint.records is None:
        return json_text.found_records(document, endpoint.name)
    found = json_text.at_path(document, endpoint.records, endpoint.name)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def parsed(content: bytes, name: str) -> Any:
    """The document of an answer; an empty answer is an empty list."""
    return json_text.parse(content, name) if content.strip() else []


def _document(client: HttpClient, answer: Answer) -> Any:
    try:
        return parsed(answer.content, answer.url)
    except DataError as error:
        kind = answer.headers.get("content-type", "no content type").partition(";")[0]
        raise DataError(
            f"the answer is no JSON ({kind}): {client.excerpt(answer.content)}",
            hint="look at base_url and path: is it the API, or a page for people?",
            where={"url": answer.url},
        ) from error


def _first(endpoint: Endpoint) -> Request:
    match endpoint.pagination:
        case PageNumbers(param=param, start=start, size_param=size_param, size=size):
            sized = {size_param: size} if size_param and size else {}
            return _with(endpoint.request, {param: start, **sized})
        case Offsets(param=param, size_param=size_param, size=size):
            return _with(endpoint.request, {param: 0, size_param: size})
        case _:
            return endpoint.request


def _with(request: Request, params: Mapping[str, Any]) -> Request:
    """The request with parameters; those of a POST stand in its body, if it has one."""
    if request.method == "POST" and isinstance(request.body, dict):
        return Request(request.url, request.method, request.params, {**request.body, **params})
    return Request(request.url, request.method, {**request.params, **params}, request.body)


def _following(
    endpoint: Endpoint, request: Request, answer: Answer, document: Any, so_far: _SoFar
) -> Request | None:
    match endpoint.pagination:
        case NoPages():
            return None
        case PageNumbers(param=param, start=start, total_pages=total):
            last = _at(document, total) if total else None
            ended = not so_far.rows or (isinstance(last, int) and so_far.pages >= last)
            return None if ended else _with(request, {param: start + so_far.pages})
        case Offsets(param=param):
            return _with(request, {param: so_far.records}) if so_far.rows else None
        case CursorPages(path=path, param=param):
            mark = _at(document, path)
            if mark in (None, "", False):
                return None
            if not isinstance(mark, str | int):
                raise QueryError(f"what is at {path!r} is no mark: {json_text.dumps(mark)[:80]}")
            return _with(request, {param: mark})
        case NextUrlPages(path=path):
            link = _at(document, path)
        case _:
            link = answer.next_link or _found_link(document)
            if link is None and so_far.pages == 1:
                _refuse_unfollowed(document, so_far.rows, answer)
    if not link:
        return None
    return Request(answer.at(str(link)), request.method, {}, request.body)


def _at(document: Any, path: str) -> Any:
    value = document.get(path) if isinstance(document, dict) else None
    if value is not None:
        return value  # names may have dots in them, as @odata.nextLink has
    try:
        return json_text.at_path(document, path, "")
    except QueryError:
        return None


def _found_link(document: Any) -> str | None:
    for path in NEXT_PATHS:
        link = _at(document, path)
        if isinstance(link, str) and link.startswith(("http://", "https://", "/", "?")):
            return link
    return None


def _refuse_unfollowed(document: Any, rows: int, answer: Answer) -> None:
    for path in MORE_PATHS:
        more = _at(document, path)
        if more not in (None, "", False, 0) and not isinstance(more, dict | list):
            raise _unfollowed(f"{path}: {json.dumps(str(more))}", rows, answer)
    for path in TOTAL_PATHS:
        total = _at(document, path)
        if isinstance(total, int) and not isinstance(total, bool) and total > rows:
            raise _unfollowed(f"{path}: {total}", rows, answer)


def _unfollowed(told: str, rows: int, answer: Answer) -> DataError:
    return DataError(
        f"the answer has {rows} records and says that there are more ({told})",
        hint="set pagination, for example {type: page}, {type: offset}, {type: cursor, path: next_cursor, "
        "param: cursor}; {type: none} if one page is all that is wanted",
        where={"url": answer.url},
    )
