"""Passwords, the sessions that they open, and how often one may try."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asgard.app.access.access import (
    MOST_PER_ADDRESS,
    MOST_PER_USER,
    MOST_PER_USER_AND_ADDRESS,
    SESSION_SECONDS,
    WINDOW_SECONDS,
    Access,
    Denied,
    Principal,
    SignedIn,
    authenticate,
    sign_in,
    sign_out,
)
from asgard.app.access.audit import AuditWish, audit_entries
from asgard.app.access.users import (
    change_password,
    change_role,
    create_user,
    disable_user,
    end_sessions,
    set_password,
    user,
)
from asgard.core.errors import ConfigError, Refused
from asgard.secrets import passwords
from tests.access.ground import ADMIN, PASSWORD, access_at, everything, header, jumped

HERE = "192.0.2.7"
WRONG = "user or password is wrong"


def enters(access: Access, name: str = "ada", password: str = PASSWORD, address: str = HERE) -> SignedIn:
    found = sign_in(access, name, password, address)
    assert isinstance(found, SignedIn), found
    return found


def stays_out(access: Access, name: str = "ada", password: str = "wrong", address: str = HERE) -> Denied:
    found = sign_in(access, name, password, address)
    assert isinstance(found, Denied), found
    return found


def is_in(access: Access, entered: SignedIn) -> bool:
    return isinstance(authenticate(access, header(entered.session), HERE), Principal)


@pytest.fixture
def ada(access: Access, quick: list[str]) -> Access:
    create_user(access, ADMIN, "ada", "editor", PASSWORD)
    return access


# ---- passwords, hashed for real


def test_argon2id_with_a_salt_of_its_own() -> None:
    one, other = passwords.hashed(PASSWORD), passwords.hashed(PASSWORD)
    assert one.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert one != other
    assert passwords.matches(one, PASSWORD)
    assert passwords.matches(other, PASSWORD)
    assert not passwords.is_outdated(one)
    assert not passwords.matches(one, PASSWORD + " ")
    assert not passwords.matches(one, "x" * 5000)
    assert not passwords.matches(None, "nobody has this password")
    assert not passwords.matches("no hash", PASSWORD)


def test_the_same_letters_are_the_same_password() -> None:
    assert passwords.matches(passwords.hashed("cafe\u0301 cafe\u0301 ok"), "caf\u00e9 caf\u00e9 ok")


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 1025])
def test_passwords_that_are_too_short_or_too_long(access: Access, password: str) -> None:
    with pytest.raises(ConfigError, match="12 to 1024 characters"):
        create_user(access, ADMIN, "ada", "viewer", password)
    assert "ada" not in everything(access)


def test_a_hash_of_older_parameters_is_made_anew(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2 import PasswordHasher

    create_user(access, ADMIN, "ada", "editor")
    weak = PasswordHasher(time_cost=1, memory_cost=64).hash(PASSWORD)
    with access.database.writing() as rows:
        access.users.set_password(rows, "ada", weak)
    enters(access)
    with access.database.reading() as rows:
        written = access.users.password(rows, "ada")
    assert written is not None
    assert "m=65536" in written
    enters(access)


# ---- sessions


def test_a_session_is_who_signed_in(ada: Access) -> None:
    entered = enters(ada)
    found = authenticate(ada, header(entered.session), "192.0.2.8")
    assert found == Principal("ada", "editor", "192.0.2.8", "session", "ada", entered.principal.credential)
    assert entered.session.get_secret_value().split("_")[2] not in everything(ada)
    change_role(ada, ADMIN, "ada", "viewer")
    now = authenticate(ada, header(entered.session), HERE)
    assert isinstance(now, Principal)
    assert now.role == "viewer"


def test_sign_out_ends_one_session_for_good(ada: Access) -> None:
    one, other = enters(ada), enters(ada)
    sign_out(ada, one.principal)
    assert (is_in(ada, one), is_in(ada, other)) == (False, True)
    with pytest.raises(Refused):
        sign_out(ada, ADMIN)


def test_an_admin_ends_all_sessions_of_a_user(ada: Access) -> None:
    create_user(ada, ADMIN, "bob", "viewer", PASSWORD)
    opened, bobs = [enters(ada) for _ in range(3)], enters(ada, "bob")
    with pytest.raises(Refused):
        end_sessions(ada, bobs.principal, "ada")
    assert len(user(ada, ADMIN, "ada")["sessions"]) == 3
    assert end_sessions(ada, ADMIN, "ada") == 3
    assert [is_in(ada, one) for one in opened] == [False] * 3
    assert is_in(ada, bobs)


def test_a_disabled_user_is_out_and_cannot_come_in(ada: Access) -> None:
    entered = enters(ada)
    disable_user(ada, ADMIN, "ada")
    assert not is_in(ada, entered)
    assert stays_out(ada, password=PASSWORD).error.what == WRONG


def test_another_password_ends_sessions(ada: Access) -> None:
    entered = enters(ada)
    set_password(ada, ADMIN, "ada", "another horse battery")
    assert not is_in(ada, entered)
    assert stays_out(ada, password=PASSWORD).error.what == WRONG
    assert is_in(ada, enters(ada, password="another horse battery"))


def test_who_changes_their_own_password_stays_in(ada: Access) -> None:
    here, elsewhere = enters(ada), enters(ada)
    with pytest.raises(Refused, match="old password is wrong"):
        change_password(ada, here.principal, "wrong", "another horse battery")
    change_password(ada, here.principal, PASSWORD, "another horse battery")
    assert (is_in(ada, here), is_in(ada, elsewhere)) == (True, False)
    for _ in range(5):
        with pytest.raises(Refused, match="old password is wrong"):
            change_password(ada, here.principal, PASSWORD, PASSWORD)
    with pytest.raises(Refused, match="too many"):
        change_password(ada, here.principal, "another horse battery", PASSWORD)
    with pytest.raises(Refused, match="only who is signed in"):
        change_password(ada, ADMIN, PASSWORD, PASSWORD)


def test_sessions_end_by_the_clock_of_the_store(ada: Access) -> None:
    entered = enters(ada)
    assert is_in(jumped(ada, SESSION_SECONDS - 5), entered)
    assert not is_in(jumped(ada, SESSION_SECONDS + 5), entered)
    assert not is_in(ada, entered), "what has expired is not revived by a clock that is set back"
    assert not is_in(jumped(ada, -3600), enters(ada)), "a session of the future would last too long"


def test_a_password_that_changes_while_it_is_looked_at(ada: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    right = passwords.matches

    def slow(written: str | None, password: str) -> bool:
        set_password(ada, ADMIN, "ada", "another horse battery")
        return right(written, password)

    monkeypatch.setattr(passwords, "matches", slow)
    assert stays_out(ada, password=PASSWORD).error.what == WRONG


# ---- how often one may try


def test_a_wrong_user_looks_like_a_wrong_password(ada: Access, quick: list[str]) -> None:
    create_user(ada, ADMIN, "ci", "viewer")
    told = [stays_out(ada, name, PASSWORD) for name in ("nobody", "ci", "' OR 1=1 --")]
    told.append(stays_out(ada))
    assert {(one.error.what, one.error.hint, one.retry_after_seconds) for one in told} == {
        (WRONG, told[0].error.hint, None)
    }
    assert quick == [PASSWORD] * 3 + ["wrong"], "each takes the time of a hash"


def test_a_password_where_the_name_goes_is_nowhere(ada: Access) -> None:
    stays_out(ada, "hunter2 hunter2", "ada")
    assert "hunter2" not in everything(ada)


def test_five_tries_for_a_user_from_an_address(ada: Access, quick: list[str]) -> None:
    for _ in range(MOST_PER_USER_AND_ADDRESS):
        assert stays_out(ada).error.what == WRONG
    held = stays_out(ada, password=PASSWORD)
    assert "too many wrong tries" in held.error.what
    assert WINDOW_SECONDS - 60 < (held.retry_after_seconds or 0) <= WINDOW_SECONDS
    assert len(quick) == MOST_PER_USER_AND_ADDRESS, "who is held back costs no hash"
    enters(ada, address="192.0.2.8")
    enters(jumped(ada, WINDOW_SECONDS + 1))


def test_who_gets_in_starts_anew_but_earns_no_tries_at_others(ada: Access) -> None:
    for _ in range(3):
        for _ in range(MOST_PER_USER_AND_ADDRESS - 1):
            stays_out(ada)
        enters(ada)
    for _ in range(MOST_PER_ADDRESS - 3 * (MOST_PER_USER_AND_ADDRESS - 1)):
        stays_out(ada, "bob")
        if stays_out(ada, "carl").retry_after_seconds:
            break
    assert stays_out(ada, "dora").retry_after_seconds, "the address is held back, whoever it asks for"


def test_many_addresses_try_one_user(ada: Access) -> None:
    for number in range(MOST_PER_USER):
        assert stays_out(ada, address=f"198.51.100.{number}").error.what == WRONG
    assert stays_out(ada, password=PASSWORD, address="203.0.113.1").retry_after_seconds
    enters(jumped(ada, WINDOW_SECONDS + 1), address="203.0.113.1")


def test_a_clock_that_is_set_back_holds_nobody_for_longer(ada: Access) -> None:
    for _ in range(MOST_PER_USER_AND_ADDRESS):
        stays_out(jumped(ada, 1e6))
    held = stays_out(ada)
    assert 0 < (held.retry_after_seconds or 0) <= WINDOW_SECONDS
    enters(jumped(ada, WINDOW_SECONDS + 1))


def _attack(address: dict[str, Any], start: Any, results: Any) -> None:
    looked_at: list[str] = []
    inside = threading.Barrier(2, timeout=1)

    def matches(written: str | None, password: str) -> bool:
        looked_at.append(password)
        try:
            inside.wait()  # as long as it takes, so that all who got past the count are here together
        except threading.BrokenBarrierError:
            return False
        return False

    passwords.matches = matches
    with access_at(address) as access, ThreadPoolExecutor(8) as pool:
        start.wait()
        list(pool.map(lambda number: sign_in(access, "ada", f"try {number}", HERE), range(24)))
    results.put(len(looked_at))


def test_a_hundred_at_the_same_time_are_a_hundred(ada: Access, address: dict[str, Any]) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    attackers = [context.Process(target=_attack, args=(address, start, results)) for _ in range(2)]
    for attacker in attackers:
        attacker.start()
    looked_at = sum(results.get(timeout=120) for _ in attackers)
    for attacker in attackers:
        attacker.join(60)
        assert attacker.exitcode == 0
    assert looked_at == MOST_PER_USER_AND_ADDRESS
    refused = audit_entries(ada, ADMIN, AuditWish(action="sign-in", limit=100)).items
    assert len(refused) == MOST_PER_USER_AND_ADDRESS


@pytest.mark.parametrize("name", ["", "a b", "-x", "a\n", "ä", "x" * 101, "a'--"])
def test_names_that_cannot_be(access: Access, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        create_user(access, ADMIN, name, "viewer")


def test_users_are_there_once(ada: Access) -> None:
    with pytest.raises(ConfigError, match="there is a user 'ada'"):
        create_user(ada, ADMIN, "ada", "admin")
    with pytest.raises(ConfigError, match="no role 'king'"):
        change_role(ada, ADMIN, "ada", "king")
    with pytest.raises(ConfigError, match="no user 'bob'"):
        change_role(ada, ADMIN, "bob", "viewer")
    assert user(ada, ADMIN, "ada")["role"] == "editor"
