"""Lake names: what stays, what changes, and that no two originals ever meet."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgard.core.errors import ConfigError
from asgard.core.names import (
    MAX_NAME_BYTES,
    MAX_PART_BYTES,
    fold,
    folder,
    from_folder,
    lake_names,
    sql_name,
    stream_table,
)
from asgard.core.table import TableName

PLAIN = [
    "id",
    "Customer",
    "größe",
    "名前",
    "a-b",
    "percent%",
    "x__y",
    "select",
    "column#1",
    "a:b",
    "price_€",
    "_id",
]
ODD = {
    "": "",
    "order id": "order_id",
    "a.b": "a_b",
    "a,b": "a_b",
    "a;b": "a_b",
    "{a}": "_a_",
    "f(x)": "f_x_",
    "a\nb\tc": "a_b_c",
    "a=b": "a_b",
    'say "hi"': "say__hi_",
    "it's": "it_s",
    "back`tick": "back_tick",
    "path/to\\x": "path_to_x",
    "nul\x00": "nul_",
    "\x7f\x85": "__",
    "\u2028": "_",
    "extracted_at": "extracted_at",
    "Extracted_At": "Extracted_At",
    "_asgard_run_id": "asgard_run_id",
    "_ASGARD_x": "ASGARD_x",
    "cafe\u0301": "café",
    "half\ud800": "half_",
}
names = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [*PLAIN, *ODD, "A", "a", "ſ", "s", "K"]
)


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_that_everything_can_carry_stays(name: str) -> None:
    assert lake_names([name]) == {name: name}


@pytest.mark.parametrize(("name", "stem"), ODD.items())
def test_an_odd_name_becomes_its_stem_and_six_digits_of_its_hash(name: str, stem: str) -> None:
    (changed,) = lake_names([name]).values()
    head, _, digits = changed.rpartition("__")
    assert head == stem
    assert len(digits) == 6
    assert set(digits) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "twins", [("Id", "ID"), ("straße", "STRASSE"), ("ı", "I"), ("K", "k"), ("ς", "Σ"), ("é", "É")]
)
def test_of_names_that_differ_only_by_case_the_first_stays(twins: tuple[str, str]) -> None:
    given_names = lake_names(twins)
    assert given_names[twins[0]] == twins[0]
    assert given_names[twins[1]].startswith(f"{twins[1]}__")


def test_a_name_once_given_stays_when_a_twin_comes_before_it() -> None:
    first = lake_names(["total", "Total"])
    assert lake_names(["TOTAL", "Total", "total"], known=first) == {
        **first,
        "TOTAL": lake_names(["TOTAL"], {"x": "total"})["TOTAL"],
    }


def test_a_name_stays_taken_after_its_column_is_gone() -> None:
    assert lake_names(["Total"], known={"total": "total"})["Total"] != "Total"


def test_an_original_that_looks_like_the_answer_to_another_does_not_meet_it() -> None:
    answer = lake_names(["a b"])["a b"]
    both = lake_names([answer, "a b"])
    assert both[answer] == answer
    assert both["a b"].startswith(answer)
    assert fold(both["a b"]) != fold(answer)


def test_who_has_no_metadata_columns_keeps_extracted_at() -> None:
    assert lake_names(["extracted_at"], reserved=()) == {"extracted_at": "extracted_at"}


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_255_bytes_stay(name: str) -> None:
    assert lake_names([name])[name] == name


@pytest.mark.parametrize("name", ["n" * 256, "é" * 128, "𝒳" * 1000])
def test_more_than_255_bytes_are_cut_between_characters(name: str) -> None:
    cut = lake_names([name])[name]
    assert len(cut.encode()) <= MAX_NAME_BYTES
    assert name.startswith(cut[:-8])


@given(st.lists(names, max_size=12), st.lists(names, max_size=6))
@example(["a b", "a_b", "a\tb", "A B"], [])
def test_no_two_originals_meet_and_none_changes_later(originals: list[str], before: list[str]) -> None:
    known = lake_names(before)
    given_names = lake_names(originals, known)
    together = {**known, **given_names}
    assert list(given_names) == list(dict.fromkeys(originals))
    assert len({fold(name) for name in together.values()}) == len(together)
    assert all(given_names[name] == known[name] for name in originals if name in known)
    assert lake_names(originals, together) == given_names
    assert lake_names(reversed(originals), together) == {
        name: given_names[name] for name in reversed(given_names)
    }


@given(names)
@example(";ASGARD")
def test_a_lake_name_has_nothing_that_delta_forbids_and_is_its_own_lake_name(name: str) -> None:
    (lake_name,) = lake_names([name]).values()
    assert lake_name
    assert not set(lake_name) & set(" ,;{}()\n\t=.\"'`\\/")
    assert all(unicodedata.category(character) not in ("Cc", "Cs") for character in lake_name)
    assert len(lake_name.encode()) <= MAX_NAME_BYTES
    assert lake_names([lake_name]) == {lake_name: lake_name}


@pytest.mark.parametrize(
    ("namespace", "name", "table"),
    [
        ("public", "orders", "orders"),
        ("", "t", "t"),
        ("sales", "orders", "sales__orders"),
        ("PUBLIC", "t", "PUBLIC__t"),
    ],
)
def test_the_default_namespace_is_not_told(namespace: str, name: str, table: str) -> None:
    assert stream_table(namespace, name) == table


def test_a_source_may_have_default_namespaces_of_its_own() -> None:
    assert stream_table("crm", "t", default_namespaces=("crm",)) == "t"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (TableName("bronze", "shop", "orders"), "bronze/shop/orders"),
        (TableName("gold", "", "revenue"), "gold/revenue"),
        (TableName("bronze", "my shop", "größe"), "bronze/my%20shop/gr%C3%B6%C3%9Fe"),
        (TableName("bronze", "_x", ".hidden"), "bronze/%5Fx/%2Ehidden"),
        (TableName("bronze", "..", "."), "bronze/%2E%2E/%2E"),
        (TableName("bronze", "a", "end."), "bronze/a/end%2E"),
        (TableName("bronze", "a/b", "c%d"), "bronze/a%2Fb/c%25d"),
        (TableName("bronze", "k=v", "a:b"), "bronze/k%3Dv/a%3Ab"),
    ],
)
def test_a_table_lies_in_a_plain_folder(name: TableName, path: str) -> None:
    assert folder(name) == path
    assert from_folder(path) == name


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=150), st.booleans())
@example("é" * 100, True)
@example("." + "x" * 199, True)
def test_a_folder_leads_back_to_its_table(text: str, has_source: bool) -> None:
    name = TableName("bronze", text if has_source else "", text)
    path = folder(name)
    parts = path.split("/")
    assert folder(from_folder(path)) == path
    assert path.isascii()
    assert len(parts) == len(name.parts)
    for part in parts:
        assert 0 < len(part) <= MAX_PART_BYTES
        assert part[0] not in "_."
        assert part[-1] != "."
    if len(parts[-1]) < MAX_PART_BYTES - 20:
        assert from_folder(path) == TableName(
            "bronze", *(unicodedata.normalize("NFC", p) for p in (name.source, text))
        )


@given(st.lists(names, min_size=2, max_size=8))
@settings(max_examples=50)
def test_tables_that_differ_lie_apart_where_case_is_not_told(originals: list[str]) -> None:
    tables = lake_names(originals, reserved=()).values()
    paths = {folder(TableName("bronze", "s", table)).casefold() for table in tables}
    assert len(paths) == len(set(originals))


@pytest.mark.parametrize("path", ["", "bronze", "a/b/c/d", "a//b", "/"])
def test_other_paths_are_no_folders_of_tables(path: str) -> None:
    with pytest.raises(ConfigError, match="no table's folder"):
        from_folder(path)


def test_sql_names_are_quoted() -> None:
    assert sql_name(TableName("bronze", "shop", 'a"b')) == '"bronze"."shop"."a""b"'
    assert sql_name(TableName("gold", "", "revenue")) == '"gold"."revenue"'
