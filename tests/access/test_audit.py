"""The audit log only grows, and shows when it was tampered with."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asgard.app.access.access import Access, Principal, access_in, record
from asgard.app.access.audit import AuditWish, audit_entries, verify_audit
from asgard.app.access.credentials import new_credential
from asgard.app.access.users import create_user
from asgard.core.errors import ConfigError, DataError, Refused
from asgard.state.audit import PAGE_ENTRIES
from tests.access.ground import ADMIN, access_at, everything, jumped

COLUMNS = ("at_microseconds", "who", "action", "target", "address", "outcome", "detail", "hash")


def filled(access: Access, entries: int = 6) -> str:
    for number in range(entries):
        record(access, ADMIN, "runs.start", f"run {number}", detail={"n": number})
    return str(verify_audit(access, ADMIN)["head"])


def tamper(access: Access, *statements: str) -> None:
    with access.database.writing() as rows:
        for statement in statements:
            rows(statement)


def first_wrong(access: Access, expected: str | None = None) -> str:
    with pytest.raises(DataError) as found:
        verify_audit(access, ADMIN, expected)
    return found.value.where["entry"]


def test_entries_come_back_as_they_were_written(access: Access) -> None:
    who = Principal("ada by token 1", "editor", "2001:db8::1")
    record(access, who, "runs.start", "run ü", "failed", {"rows": 3, "why": None, "list": [1.5, "x"]})
    (entry,) = audit_entries(access, ADMIN, AuditWish()).items
    assert {name: value for name, value in entry.items() if name != "at"} == {
        "number": 1, "who": "ada by token 1", "action": "runs.start", "target": "run ü",
        "address": "2001:db8::1", "outcome": "failed", "detail": {"rows": 3, "why": None, "list": [1.5, "x"]},
    }  # fmt: skip


def test_pages_and_filters(access: Access) -> None:
    filled(access, 23)
    record(access, Principal("eve", "viewer", "192.0.2.1"), "runs.cancel", "run 1", "refused")
    seen: list[int] = []
    page = audit_entries(access, ADMIN, AuditWish(limit=5))
    while True:
        seen += [one["number"] for one in page.items]
        if page.next is None:
            break
        page = audit_entries(access, ADMIN, AuditWish(limit=5, before=page.next))
    assert seen == list(range(24, 0, -1))
    for wish in (AuditWish(who="eve"), AuditWish(action="runs.cancel"), AuditWish(outcome="refused")):
        assert [one["number"] for one in audit_entries(access, ADMIN, wish).items] == [24]
    with pytest.raises(Refused):
        audit_entries(access, Principal("eve", "editor", "192.0.2.1"), AuditWish())


def test_an_empty_log_and_a_long_one(access: Access) -> None:
    assert verify_audit(access, ADMIN) == {"entries": 0, "head": "0:"}
    with access.database.writing() as rows:
        for number in range(PAGE_ENTRIES + 1):
            access.audit.append(rows, _deed(number))
    assert verify_audit(access, ADMIN)["entries"] == PAGE_ENTRIES + 1
    tamper(access, f"UPDATE asgard_audit SET who = 'eve' WHERE number = {PAGE_ENTRIES}")
    assert first_wrong(access) == str(PAGE_ENTRIES)


def _deed(number: int) -> Any:
    from asgard.state.audit import Deed

    return Deed("ada", "runs.start", f"run {number}", "local")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("number", [1, 4, 6])
def test_a_changed_entry_is_found(access: Access, column: str, number: int) -> None:
    filled(access)
    value = "1" if column == "at_microseconds" else "'x'"
    tamper(access, f"UPDATE asgard_audit SET {column} = {value} WHERE number = {number}")
    assert first_wrong(access) == str(number)


@pytest.mark.parametrize(
    ("statements", "number"),
    [
        (["DELETE FROM asgard_audit WHERE number = 1"], "1"),
        (["DELETE FROM asgard_audit WHERE number = 3"], "3"),
        (["DELETE FROM asgard_audit WHERE number = 6"], "6"),
        (["DELETE FROM asgard_audit"], "1"),
        (["DELETE FROM asgard_audit WHERE number = 3",
          "UPDATE asgard_audit SET number = 3 WHERE number = 4",
          "UPDATE asgard_audit SET number = 4 WHERE number = 5"], "3"),
        (["UPDATE asgard_audit SET number = 99 WHERE number = 3",
          "UPDATE asgard_audit SET number = 3 WHERE number = 4",
          "UPDATE asgard_audit SET number = 4 WHERE number = 99"], "3"),
        (["INSERT INTO asgard_audit SELECT workspace, 7, at_microseconds, who, action, target, address,"
          " outcome, detail, hash FROM asgard_audit WHERE number = 6"], "7"),
        (["UPDATE asgard_audit SET workspace = 'other'"], "1"),
        (["DELETE FROM asgard_audit_head"], "7"),
        (["UPDATE asgard_audit_head SET hash = 'x'"], "6"),
    ],
)  # fmt: skip
def test_what_was_taken_away_moved_or_put_in_is_found(
    access: Access, statements: list[str], number: str
) -> None:
    filled(access)
    tamper(access, *statements)
    assert first_wrong(access) == number


def test_a_log_that_was_cut_off_or_written_anew_is_found_by_its_old_head(access: Access) -> None:
    head = filled(access)
    record(access, ADMIN, "runs.start", "later")
    assert verify_audit(access, ADMIN, head)["entries"] == 7
    tamper(access, "DELETE FROM asgard_audit", "DELETE FROM asgard_audit_head")
    filled(access, 3)
    assert first_wrong(access, head) == "6"
    filled(access, 9)
    assert first_wrong(access, head) == "6"
    with pytest.raises(ConfigError, match="no head"):
        verify_audit(access, ADMIN, "6:abc")


def test_workspaces_have_logs_of_their_own(access: Access) -> None:
    other = access_in(access.database, "other")
    filled(access, 3)
    filled(other, 2)
    assert verify_audit(access, ADMIN)["entries"] == 3
    tamper(access, "UPDATE asgard_audit SET who = 'eve' WHERE workspace = 'other'")
    assert verify_audit(access, ADMIN)["entries"] == 3
    assert first_wrong(other) == "1"


def test_a_clock_that_jumps_breaks_nothing(access: Access) -> None:
    for seconds in (0.0, 1e6, -1e6):
        record(jumped(access, seconds), ADMIN, "runs.start", f"{seconds}")
    assert verify_audit(access, ADMIN)["entries"] == 3


def test_no_secret_gets_in(access: Access) -> None:
    canary = "canary-4d1c88"
    _, token = new_credential("token")
    detail = {
        "password": canary,
        "config": {"api_key": canary, "host": "db"},
        "said": [token.get_secret_value()],
    }
    record(access, ADMIN, "sources.write", f"header {token.get_secret_value()}", detail=detail)
    told = everything(access)
    assert canary not in told
    assert token.get_secret_value() not in told
    (entry,) = audit_entries(access, ADMIN, AuditWish()).items
    assert entry["detail"]["config"]["host"] == "db"


def test_a_deed_that_fails_leaves_neither_itself_nor_an_entry(access: Access) -> None:
    create_user(access, ADMIN, "ada", "viewer")
    before = everything(access)
    with pytest.raises(ConfigError):
        create_user(access, ADMIN, "ada", "admin")
    assert everything(access) == before


# ---- two processes


def _write(address: dict[str, Any], who: str, entries: int) -> None:
    with access_at(address) as access:
        for number in range(entries):
            record(access, Principal(who, "admin", "local"), "runs.start", f"run {number}")


def test_racing_writers_make_one_chain_while_it_is_verified(access: Access, address: dict[str, Any]) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(address, f"w{number}", 60)) for number in range(2)]
    for writer in writers:
        writer.start()
    verified = {verify_audit(access, ADMIN)["entries"]}
    while any(writer.is_alive() for writer in writers):
        verified.add(verify_audit(access, ADMIN)["entries"])
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    assert verify_audit(access, ADMIN)["entries"] == 120
    assert len(verified) > 1
    found = audit_entries(access, ADMIN, AuditWish(limit=500)).items
    assert Counter(one["who"] for one in found) == {"w0": 60, "w1": 60}
    for who in ("w0", "w1"):
        assert [one["target"] for one in found if one["who"] == who][::-1] == [f"run {n}" for n in range(60)]


def test_a_file_that_is_no_store_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "access.db").write_bytes(b"no database " * 500)
    with pytest.raises(ConfigError) as refused, access_at({"file": str(tmp_path / "access.db")}):
        pass
    assert "backup" in refused.value.hint
