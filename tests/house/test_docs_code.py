"""The runner of the docs' code blocks runs what it says, and fails where it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

RUNNER = REPOSITORY / "tools" / "docs_code.py"
FENCE = "```"


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    page = REPOSITORY / ".cache" / f"page-{folder.name}.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(text.replace("'''", FENCE))
    try:
        return subprocess.run([sys.executable, RUNNER, page], capture_output=True, text=True, check=False)
    finally:
        page.unlink()


GOOD = """
'''yaml title="conf/a.yml"
a: 1
'''

'''python
from pathlib import Path

text = Path("conf/a.yml").read_text()
'''

1. in a list

    '''pycon
    >>> text
    'a: 1\\n'
    '''

'''bash run
grep -q 'a: 1' conf/a.yml
'''

'''python no-run: it divides by zero
1 / 0
'''

'''bash
exit 1
'''
"""


def test_a_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    done = run(GOOD, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 blocks ran" in done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("'''python\nx = 1\n1 / 0\n'''\n", 'line 3, in <module>\nZeroDivisionError'),
        ("'''python\n>>> 1 + 1\n3\n'''\n", ":2: the output is not what the page says"),
        ("'''bash run\nfalse\ntrue\n'''\n", ":2: bash ended with 1"),
        ("'''python no-run\n1\n'''\n", ":2: no-run needs a reason"),
        ("'''python\nimport warnings\nwarnings.warn('old')\n'''\n", "UserWarning: old"),
    ],
)  # fmt: skip
def test_a_bad_block_fails_its_page(text: str, says: str, tmp_path: Path) -> None:
    done = run(text, tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
