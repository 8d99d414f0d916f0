"""`${...}`: what is replaced, where it is looked up, where a mistake is said to stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.references import References, resolve_tree
from asgard.app.config.yaml_text import parse_yaml


@pytest.fixture
def look(tmp_path: Path) -> References:
    (tmp_path / ".env").write_text(
        "# not this one\n\nFROM_FILE=file\nBOTH='of the file'\nEMPTY=\nQUOTED=\"a\\tb\"\n"
        "RAW='$5 ${FROM_FILE} \"x\"'\nMIXED=${FROM_FILE}-${HOME_TOWN}-${NOWHERE:-there}\n"
        "export WORD=exported # why\n"
    )
    (tmp_path / "secret").write_text("from the file\n\n")
    (tmp_path / "windows").write_bytes(b"line\r\n")
    return References(tmp_path, {"BOTH": "of the environment", "HOME_TOWN": "Asgard", "BLANK": ""})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${HOME_TOWN}", "Asgard"),
        ("${env:HOME_TOWN}", "Asgard"),
        ("${FROM_FILE}", "file"),
        ("${BOTH}", "of the environment"),
        ("${EMPTY}", ""),
        ("${BLANK}", ""),
        ("${BLANK:-full}", "full"),
        ("${EMPTY:-full}", "full"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("${env:NONE:-x y}", "x y"),
        ("${NONE:-${HOME_TOWN}!}", "Asgard!"),
        ("${NONE:-${NEITHER:-deep}}", "deep"),
        ("${file:secret}", "from the file\n"),
        ("${file:windows}", "line"),
        ("jdbc:${HOME_TOWN}:${FROM_FILE}/x", "jdbc:Asgard:file/x"),
        ("$${HOME_TOWN}", "${HOME_TOWN}"),
        ("$${a} ${HOME_TOWN} $$", "${a} Asgard $$"),
        ("$HOME_TOWN $1 {x} }{", "$HOME_TOWN $1 {x} }{"),
        ("${QUOTED}", "a\tb"),
        ("${RAW}", '$5 ${FROM_FILE} "x"'),
        ("${MIXED}", "file-Asgard-there"),
        ("${WORD}", "exported"),
        ("", ""),
    ],
)
def test_what_a_reference_gives(look: References, text: str, value: str) -> None:
    resolved = look.resolve(text)
    assert (resolved.text, resolved.mistakes) == (value, [])


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            "${NONE}",
            "the variable NONE is not set",
            "export NONE=..., put it into .env beside the project file",
        ),
        ("${HOME_TOWM}", "the variable HOME_TOWM is not set", "did you mean HOME_TOWN?"),
        ("${a b}", "${a b} is no reference", "write ${NAME} or ${NAME:-default}"),
        ("${}", "${} is no reference", "write ${NAME}"),
        ("${env:}", "${env:} is no reference", "write ${NAME}"),
        ("x ${HOME_TOWN", "a reference has no closing }", "write $${ for a plain ${"),
        ("${file:none}", "the file none cannot be read: No such file or directory", "looked for at /"),
        ("${file:.}", "the file . cannot be read: Is a directory", "looked for at /"),
        ("${vault:a/b#c}", "the variable VAULT_ADDR is not set", "VAULT_ADDR=https://"),
        ("${vault:#c}", "the reference names no secret", "write ${vault:secret/shop#password}"),
        ("${vault:a/b#c:-x}", "a reference to vault takes no default", "leave the :- "),
        ("${store:a}", "the store has no secret 'a'", "asgard secrets set a"),
        ("${azure:a}", "the reference names no secret", "write ${azure:vault/name}"),
        ("${gcp:a}", "the variable GOOGLE_CLOUD_PROJECT is not set", "projects/p/secrets/s"),
        ("${k8s:a}", "the reference names no secret", "${k8s:namespace/secret/key}"),
        ("${k8s:n/a/b}", "the variable KUBERNETES_SERVICE_HOST is not set", "inside of a pod"),
        ("${valt:a}", "'valt' is no kind of reference", "env, file, aws, azure, gcp, k8s, store, vault"),
    ],
)
def test_what_cannot_be_replaced(look: References, text: str, what: str, hint: str) -> None:
    resolved = look.resolve(text)
    assert len(resolved.mistakes) == 1
    _, told, remedy = resolved.mistakes[0]
    assert what in told
    assert hint in remedy


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xfc")
    (tmp_path / "huge").write_bytes(b"x" * ((1 << 20) + 1))
    look = References(tmp_path, {})
    assert [look.resolve(f"${{file:{name}}}").mistakes[0][1] for name in ("latin", "huge")] == [
        "the file latin is not UTF-8 text",
        "the file huge has more than 1,048,576 bytes",
    ]


def test_a_line_of_dotenv_that_cannot_be_read_is_told_where_a_variable_is_missed(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n'B=2\nC=3\n")
    look = References(tmp_path, {})
    assert look.resolve("${A}").text == "1"
    assert look.resolve("${B}").mistakes[0][1:] == (
        "the variable B is not set",
        "line 2 of .env cannot be read; write NAME=value",
    )


def test_every_lookup_is_known_in_its_order(look: References) -> None:
    looked = [
        (lookup.place, lookup.found) for lookup in look.resolve("${NONE:-${BOTH}} ${FROM_FILE}").lookups
    ]
    assert looked == [
        ("environment variable NONE", False),
        (".env", False),
        ("default in the reference", True),
        ("environment variable BOTH", True),
        ("environment variable FROM_FILE", False),
        (".env:3", True),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: ${NONE}", "a.yml:1:4"),
        ("a: 'x ${NONE}'", "a.yml:1:7"),
        ('a: "\\t ${NONE}"', "a.yml:1:8"),
        ("a: |\n  one\n  two ${NONE}\n", "a.yml:3:7"),
        ("a: >\n  one ${NONE}\n  two\n", "a.yml:2:7"),
        ("a: one\n  two ${NONE}\n", "a.yml:2:7"),
        ("ä: ['ü', 'ö ${NONE}']", "a.yml:1:13"),
        ('a: "x \\x24{NONE}"', "a.yml:1:4"),
    ],
)
def test_a_mistake_stands_where_the_reference_does(look: References, text: str, place: str) -> None:
    mistakes = Mistakes()
    node = parse_yaml(text, "a.yml", mistakes)
    assert node is not None
    resolve_tree(node, look, mistakes)
    assert [str(mistake.place) for mistake in mistakes] == [place]


def test_keys_and_numbers_are_left_alone(look: References) -> None:
    mistakes = Mistakes()
    node = parse_yaml("${HOME_TOWN}: 5\nb: [1.5, true, null, '${FROM_FILE}']\n", "a.yml", mistakes)
    assert node is not None
    resolved = resolve_tree(node, look, mistakes)
    assert resolved.plain() == {"${HOME_TOWN}": 5, "b": [1.5, True, None, "file"]}
    assert [child.referred for child in resolved.value["b"].value] == [False, False, False, True]


@given(st.text())
def test_what_is_escaped_comes_back(text: str) -> None:
    escaped = text.replace("${", "$${")
    resolved = References(Path("nowhere"), {}).resolve(escaped)
    assert (resolved.text, resolved.referred) == (text, False)


@given(st.text(alphabet="${}:-envfileAB \n"))
def test_no_text_raises_anything(text: str) -> None:
    References(Path("nowhere"), {"A": "1"}).resolve(text)
