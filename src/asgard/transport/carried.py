"""Our errors on their way through a library that keeps an exception's text and forgets its class.

DuckDB calls a file system of ours, and what that raises comes out at the other end as an error of DuckDB's.
Inside, `carried` puts a mark in the error's place; outside, `taken_back` knows the error by it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from asgard.core.errors import AsgardError

MOST_CARRIED = 100
_MARK = re.compile(r"asgard-error-[0-9a-f]{32}")
_carried: OrderedDict[str, AsgardError] = OrderedDict()


@contextmanager
def carried() -> Iterator[None]:
    """Raises OSError with a mark in the place of an error of ours."""
    try:
        yield
    except AsgardError as error:
        mark = f"asgard-error-{uuid4().hex}"
        _carried[mark] = error
        while len(_carried) > MOST_CARRIED:
            _carried.popitem(last=False)
        raise OSError(mark) from error


def taken_back(error: BaseException) -> AsgardError | None:
    """The error that was carried in this one; None if none was."""
    mark = _MARK.search(str(error))
    return _carried.get(mark[0]) if mark else None
