"""How an API's next page is asked for: the ways there are, and finding the way in an answer.

A way that was found is tried: a server that does not know the parameter answers with the same page again,
which is an error. So an answer that says it is not all is followed, or refused, and never taken for all.

Reference: https://www.rfc-editor.org/rfc/rfc8288 (Link),
https://relay.dev/graphql/connections.htm (pageInfo)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from asgard.core.config import Config
from asgard.core.errors import DataError, QueryError
from asgard.transport import json_text
from asgard.transport.http import Answer, Request

NEXT_PATHS = (
    "next", "next_url", "next_page_url", "nextPageUrl", "nextLink", "@odata.nextLink", "links.next",
    "_links.next", "_links.next.href", "links.next.href", "paging.next", "paging.next.link",
    "pagination.next", "pagination.next_url", "meta.next", "info.next",
)  # fmt: skip
"""Where answers have the URL of the next page."""
MARK_PATHS = {
    "paging.next.after": "after", "paging.cursors.after": "after", "response_metadata.next_cursor": "cursor",
    "next_cursor": "cursor", "nextCursor": "cursor", "meta.next_cursor": "cursor", "cursor.next": "cursor",
    "pagination.next_cursor": "cursor", "next_page_token": "page_token", "nextPageToken": "pageToken",
    "next_page": "page", "nextPage": "page", "pagination.next_page": "page", "meta.next_page": "page",
}  # fmt: skip
"""Where answers have a mark of the next page, and the parameter that brings it back."""
PAGE_PATHS = (
    ("page", "total_pages"), ("page", "pages"), ("page", "totalPages"), ("current_page", "last_page"),
    ("pagination.page", "pagination.total_pages"), ("pagination.page", "pagination.pages"),
    ("meta.page", "meta.total_pages"), ("meta.current_page", "meta.last_page"), ("info.page", "info.pages"),
)  # fmt: skip
"""Where answers have the number of the page and of the last one; the parameter is `page`."""
MORE_PATHS = ("has_more", "hasMore", "has_next", "hasNext", "pagination.has_more")
"""Where answers say that they are not all, without saying how it goes on."""
TOTAL_PATHS = (
    "total", "total_count", "totalCount", "total_results", "totalResults", "@odata.count", "meta.total",
    "pagination.total", "page.totalElements", "paging.total",
)  # fmt: skip
SIZE_PARAMS = ("limit", "per_page", "page_size", "pageSize", "size", "count")


class NoPages(Config):
    """The first answer is everything, whatever it says."""

    type: Literal["none"]


class AutoPages(Config):
    """What the answer shows: the Link header's `next`, a URL, a mark, pageInfo, numbered pages, offsets."""

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


class RelayPages(Config):
    """GraphQL: pageInfo has endCursor and hasNextPage; the mark goes into a variable."""

    type: Literal["relay"]
    path: str | None = Field(default=None, description="Where pageInfo is; found when left out.")
    variable: str = Field(default="after", min_length=1, description="The variable that brings it back.")


class KeysetPages(Config):
    """Each page is the first one behind the last record: `{last}` stands in params or body for what that
    record has under `field`. No record that comes or goes meanwhile shifts another one to a page that was
    read, and no cap on the pages of one query is met."""

    type: Literal["keyset"]
    field: str = Field(min_length=1, description="What records are sorted by: a number that grows.")
    start: str = Field(default="0", description="What {last} is for the first page.")


Pagination = Annotated[
    NoPages | AutoPages | NextUrlPages | PageNumbers | Offsets | CursorPages | RelayPages | KeysetPages,
    Field(discriminator="type"),
]


@dataclass(frozen=True)
class SoFar:
    """What came of one list: pages, records, and how many of them with the last page."""

    pages: int = 0
    records: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Seen:
    """An answer, as paging looks at it.

    Attributes:
        around: the objects in which the list of records lies, the innermost first: the next page's URL may
            be in any of them.
        last: what the last record has under a keyset's field; None when there is none.
    """

    answer: Answer
    document: Any
    around: Sequence[Any]
    so_far: SoFar
    last: str | None = None


def first_request(request: Request, pagination: Any) -> Request:
    """The request of the first page."""
    match pagination:
        case PageNumbers(param=param, start=start, size_param=size_param, size=size):
            sized = {size_param: size} if size_param and size else {}
            return with_values(request, {param: start, **sized})
        case Offsets(param=param, size_param=size_param, size=size):
            return with_values(request, {param: 0, size_param: size})
        case _:
            return request


def with_values(request: Request, values: Mapping[str, Any]) -> Request:
    """The request with parameters; those of a POST stand in its body, if it has one."""
    if request.method == "POST" and isinstance(request.body, dict):
        return replace(request, body={**request.body, **values})
    return replace(request, params={**request.params, **values})


def following(request: Request, pagination: Any, seen: Seen) -> Request | None:
    """The request of the next page; None when there is none. Of a keyset, the caller knows it.

    Raises:
        DataError: the answer says that there is more, and not how to ask for it.
        QueryError: what should be a mark is none.
    """
    so_far, document = seen.so_far, seen.document
    match pagination:
        case NoPages() | KeysetPages():
            return None
        case PageNumbers(param=param, start=start, total_pages=total):
            last = value_at(document, total) if total else None
            ended = not so_far.rows or (isinstance(last, int) and so_far.pages >= last)
            return None if ended else with_values(request, {param: start + so_far.pages})
        case Offsets(param=param):
            return with_values(request, {param: so_far.records}) if so_far.rows else None
        case CursorPages(path=path, param=param):
            return _with_mark(request, value_at(document, path), path, param)
        case NextUrlPages(path=path):
            return _at_link(request, seen.answer, _first_at(seen.around, path))
        case RelayPages(path=path, variable=variable):
            info = value_at(document, path) if path else next(_page_infos(document), None)
            return _with_end_cursor(request, info, variable, seen)
    return _found(request, seen)


def value_at(document: Any, path: str) -> Any:
    """What is at a path of names with dots between them; None where nothing is."""
    value = document.get(path) if isinstance(document, dict) else None
    if value is not None:
        return value  # names may have dots in them, as @odata.nextLink has
    for key in path.split("."):
        if not isinstance(document, dict) or key not in document:
            return None
        document = document[key]
    return document


def told_total(document: Any) -> int | None:
    """How many records there are, if the answer says so."""
    for path in TOTAL_PATHS:
        total = value_at(document, path)
        if isinstance(total, int) and not isinstance(total, bool):
            return total
    return None


def _first_at(places: Sequence[Any], path: str) -> Any:
    return next((found for place in places if (found := value_at(place, path)) is not None), None)


def _at_link(request: Request, answer: Answer, link: Any) -> Request | None:
    return replace(request, url=answer.at(str(link)), params={}) if link else None


def _with_mark(request: Request, mark: Any, path: str, param: str) -> Request | None:
    if mark in (None, "", False):
        return None
    if not isinstance(mark, str | int):
        raise QueryError(
            f"what is at {path!r} is no mark: {json_text.dumps(mark)[:80]}",
            hint="set pagination.path to where the mark of the next page is",
        )
    return with_values(request, {param: mark})


def _page_infos(document: Any) -> Iterator[Mapping[str, Any]]:
    """Every pageInfo of a GraphQL answer, outer ones first; what is inside of lists has pages of its own."""
    if isinstance(document, dict):
        if isinstance(document.get("pageInfo"), dict):
            yield document["pageInfo"]
        for value in document.values():
            yield from _page_infos(value)


def _with_end_cursor(request: Request, info: Any, variable: str, seen: Seen) -> Request | None:
    if not isinstance(info, dict):
        return None
    if not info.get("hasNextPage"):
        return None
    end = info.get("endCursor")
    if not isinstance(end, str) or not isinstance(request.body, dict):
        raise _unfollowed("pageInfo.hasNextPage: true", seen)
    variables = {**(request.body.get("variables") or {}), variable: end}
    return replace(request, body={**request.body, "variables": variables})


def _found(request: Request, seen: Seen) -> Request | None:
    """The next page in a way that the answer shows; the surest first."""
    link = seen.answer.next_link or _found_link(seen.around)
    if link is not None:
        return _at_link(request, seen.answer, link)
    if isinstance(request.body, dict) and "query" in request.body:
        info = next(_page_infos(seen.document), None)
        if info is not None:
            return _with_end_cursor(request, info, "after", seen)
    for path, param in MARK_PATHS.items():
        mark = _first_at(seen.around, path)
        if isinstance(mark, str | int) and not isinstance(mark, bool) and mark != "":
            return with_values(request, {param: mark})
    if (numbered := _numbered(request, seen)) is not None:
        return numbered
    _refuse_unfollowed(request, seen)
    return None


def _found_link(places: Sequence[Any]) -> str | None:
    for path in NEXT_PATHS:
        for place in places:
            link = value_at(place, path)
            if isinstance(link, str) and link.startswith(("http://", "https://", "/", "?")):
                return link
    return None


def _numbered(request: Request, seen: Seen) -> Request | None:
    for here, last in PAGE_PATHS:
        page, pages = _first_at(seen.around, here), _first_at(seen.around, last)
        if type(page) is int and type(pages) is int and page < pages:
            return with_values(request, {"page": page + 1})
    offset, total = _first_at(seen.around, "offset"), told_total(seen.document)
    if type(offset) is int and total is not None and seen.so_far.rows and offset + seen.so_far.rows < total:
        return with_values(request, {"offset": offset + seen.so_far.rows})
    return None


def _refuse_unfollowed(request: Request, seen: Seen) -> None:
    for path in MORE_PATHS:
        if (more := _first_at(seen.around, path)) not in (None, "", False, 0) and not isinstance(
            more, dict | list
        ):
            raise _unfollowed(f"{path}: {json.dumps(more)}", seen)
    total = told_total(seen.document)
    if total is not None and total > seen.so_far.records:
        raise _unfollowed(f"total: {total}", seen)


def _unfollowed(told: str, seen: Seen) -> DataError:
    return DataError(
        f"the answer has {seen.so_far.rows} records and says that there are more ({told})",
        hint="set pagination, for example {type: page}, {type: offset}, {type: cursor, path: next_cursor, "
        "param: cursor}; {type: none} if one page is all that is wanted",
        where={"url": seen.answer.url},
    )
