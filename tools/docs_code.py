"""Runs the code blocks of README.md and docs/: an example that does not run is not an example.

A page runs from top to bottom in a folder of its own that starts empty:

- ```` ```python ```` blocks share one namespace; what follows `>>>` is checked against its output;
- ```` ```bash run ```` blocks run in bash, which stops at the first command that fails;
- ```` ```yaml title="asgard.yml" ```` (or any language) writes the block into that file;
- ```` ```python no-run: needs a server ```` is shown and not run; it needs the reason;
- everything else is shown and not run.

Usage: python tools/docs_code.py [page ...]
"""

from __future__ import annotations

import ast
import doctest
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>[\w+-]*) *(?P<info>[^`]*)$")
NO_RUN = re.compile(r"no-run:?\s*(?P<reason>.*)")
TITLE = re.compile(r'title="(?P<name>[^"]+)"')
PAGE_SECONDS = 300


@dataclass(frozen=True)
class Block:
    """A fenced block: where its text begins, and what it is."""

    line: int
    language: str
    info: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    lines = page.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        number += 1
        if not opening:
            continue
        begin, indent = number, len(opening["indent"])
        while number < len(lines) and lines[number].strip() != opening["fence"]:
            number += 1
        text = "\n".join(line[indent:] for line in lines[begin:number]) + "\n"
        yield Block(begin + 1, opening["language"], opening["info"], text)
        number += 1


def run_page(path: Path) -> int:
    """Runs one page in the current folder; gives how many blocks ran. The first bad one ends it."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for block in blocks(path.read_text()):
        where = f"{path.relative_to(REPOSITORY)}:{block.line}"
        if title := TITLE.search(block.info):
            target = Path(title["name"])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        if unrun := NO_RUN.match(block.info):
            if not unrun["reason"]:
                raise SystemExit(f"{where}: no-run needs a reason: no-run: why")
        elif block.language in {"python", "py", "pycon"}:
            run_python(block, where, namespace)
            ran += 1
        elif block.language in {"bash", "sh"} and "run" in block.info.split():
            run_bash(block, where)
            ran += 1
    return ran


def run_python(block: Block, where: str, namespace: dict[str, object]) -> None:
    """Runs a python block, as a doctest if it is a console's text; errors name the page's own lines."""
    if block.text.lstrip().startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(block.text, namespace, where, where, block.line - 1)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        if runner.run(test, clear_globs=False).failed:
            raise SystemExit(f"{where}: the output is not what the page says")
        namespace.update(test.globs)
        return
    tree = ast.parse(block.text, where)
    ast.increment_lineno(tree, block.line - 1)
    exec(compile(tree, where.rpartition(":")[0], "exec"), namespace)


def run_bash(block: Block, where: str) -> None:
    """Runs a bash block with the project's own commands on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{where}: bash ended with {done.returncode}\n{done.stdout}{done.stderr}")


def pages() -> list[Path]:
    """README.md and everything in docs/, in order of their names."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def main(arguments: list[str]) -> int:
    """Runs the pages, each in a process and a folder of its own; gives the number of those that failed."""
    if arguments[:1] == ["--here"]:
        print(run_page(Path(arguments[1])))
        return 0
    failed = 0
    for page in [Path(argument).resolve() for argument in arguments] or pages():
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="asgard-docs-") as folder:
            done = subprocess.run(
                [sys.executable, "-W", "error", __file__, "--here", str(page)],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=PAGE_SECONDS,
                check=False,
            )
        name = page.relative_to(REPOSITORY)
        if done.returncode:
            failed += 1
            print(f"docs: {name} FAILED\n{done.stdout}{done.stderr}", file=sys.stderr)
        elif ran := int(done.stdout.splitlines()[-1]):
            print(f"docs: {name}: {ran} blocks ran in {time.monotonic() - begun:.1f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
