"""Loads of tables in a bucket: announced there, and swept behind a commit when they are lost.

A bucket has no locks, so a ticket says which process wrote it: the running system, its namespace of
processes, number and start. A load is lost when its process is no more, when it said itself that it gave up,
or when its ticket is older than the longest load, by the store's clock.

A killed process may leave its last request on the way, and a request without an answer may be carried out
later. So files that a commit may name are deleted behind a fence: a commit is a put where nothing lies yet,
of the version after the one that its writer saw. Who looked for lost loads, then opened the table, and then
committed, has taken the only version that a lost load could still have taken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from asgard.core.errors import AsgardError
from asgard.lake.folder import Ticket
from asgard.lake.leftovers import FOREIGN_SECONDS, FORMAT, LOADS, delete_load, machine

if TYPE_CHECKING:
    from asgard.lake.bucket import BucketFolder


@dataclass
class BucketTicket(Ticket):
    """The announcement of a load that lives, in a bucket.

    Attributes:
        load: the load's name.
        folder: the table's.
        version: the table's before the load.
    """

    load: str
    folder: BucketFolder = field(repr=False)
    version: int
    given: set[str] = field(default_factory=set)
    _doubted: bool = False

    is_final = False

    @property
    def name(self) -> str:
        """The ticket's own."""
        return f"{self.load}.json"

    def doubt(self) -> None:
        """As Ticket."""
        self._doubted = True

    def close(self) -> None:
        """As Ticket."""
        if self._doubted:
            self.leave()
        else:
            (self.folder / LOADS).delete(self.name)

    def leave(self) -> None:
        """As Ticket: says that the load is over. Where that cannot be said, the process's end shows it."""
        with suppress(AsgardError):
            (self.folder / LOADS).put(self.name, _document(self.version, owner=None))


def announce(folder: BucketFolder, version: int) -> BucketTicket:
    """Writes a ticket."""
    ticket = BucketTicket(uuid4().hex, folder, version)
    (folder / LOADS).put(ticket.name, _document(version, this_process()))
    return ticket


@dataclass(frozen=True)
class _Found:
    """A ticket: whether its load is lost for certain, and when it was stored."""

    load: str
    version: int
    is_lost: bool
    stored_at: datetime


@dataclass(frozen=True)
class BucketLoads:
    """The loads that were lost, or old, when they were looked for."""

    folder: BucketFolder
    found: tuple[_Found, ...]

    def sweep(self, ticket: Ticket) -> Sequence[str]:
        """As LostLoads."""
        place, swept = self.folder / LOADS, []
        own = None
        for one in self.found:
            if not one.is_lost:
                # The store's clock: our own ticket is of now.
                own = own or place.objects.about(f"{ticket.load}.json")
                if own is None or (own.stored_at - one.stored_at).total_seconds() < FOREIGN_SECONDS:
                    continue
            swept += delete_load(self.folder, one.load, one.version)
            place.delete(f"{one.load}.json")
        return swept


def lost_loads(folder: BucketFolder) -> BucketLoads:
    """Looks at all tickets."""
    place = folder / LOADS
    found = []
    for about in place.objects.objects():
        try:
            document = json.loads(place.read(about.name))
        except FileNotFoundError:
            continue  # the load ended meanwhile
        except ValueError:
            document = {}
        if document.get("format", FORMAT) != FORMAT:
            continue  # Promise 10: a newer version knows what it means
        owner = document.get("owner", "")
        lost = owner is None or _is_gone(owner)
        load = about.name.removesuffix(".json")
        if owner != this_process():
            found.append(_Found(load, document.get("version", -1), lost, about.stored_at))
    return BucketLoads(folder, tuple(found))


def _document(version: int, owner: str | None) -> bytes:
    return json.dumps({"format": FORMAT, "version": version, "owner": owner}).encode()


def this_process() -> str:
    """What no other process is called, ever: not the same number after a restart or in another container."""
    return _called(os.getpid())


@cache
def _called(pid: int) -> str:
    return f"{machine()}/{_namespace()}/{pid}/{_start(pid)}"


def _is_gone(owner: str) -> bool:
    """Whether a process of this machine is no more; False for those that cannot be seen from here."""
    here, namespace, pid, start = [*owner.split("/"), "", "", "", ""][:4]
    if here != machine() or namespace != _namespace() or not pid.isdigit() or not start:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it is somebody else's, and may not be looked at
    return _start(int(pid)) not in ("", start)


def _namespace() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return ""


def _start(pid: int) -> str:
    """When a process began, in ticks since this system did; empty where that is not known."""
    with suppress(OSError, IndexError):
        # Behind the program's name, which may have blanks and brackets of its own.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
