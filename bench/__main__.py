"""The benchmark's command: `python -m bench [CONTEST ...]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import machine, page, programme, report
from bench.contest import Contest, document, run
from bench.environments import CACHE
from bench.setting import Setting

RESULTS = CACHE / "results"


def main(arguments: Sequence[str]) -> int:
    """Runs contests, prints their tables, keeps every figure as JSON. Gives 1 if a bar was missed."""
    asked = _parser().parse_args(arguments)
    if asked.list:
        for name, room in programme.CONTESTS.items():
            what = (sys.modules[room.__module__].__doc__ or "").split("\n", 1)[0]
            print(f"{name:10s} {what}")
        return 0
    if asked.write_docs:
        page.write(RESULTS)
        return 0
    unknown = [name for name in asked.contests if name not in programme.CONTESTS]
    if unknown:
        print(f"bench: there is no contest {' '.join(unknown)}; see --list", file=sys.stderr)
        return 2
    repeats = asked.repeats or (1 if asked.quick else 5)
    setting = Setting(repeats, asked.quick, tuple(asked.only or ()))
    results: dict[str, Any] = {
        "format": 1,
        "command": " ".join(["python -m bench", *arguments]),
        "quick": asked.quick,
        "machine": machine.described(),
        "contests": {},
    }
    file = RESULTS / f"{results['machine']['at'].replace(':', '').replace('+0000', 'Z')}.json"
    missed = 0
    for name in asked.contests or programme.CONTESTS:
        for contest in programme.CONTESTS[name](setting):
            done = _run(contest, setting)
            results["contests"][contest.name] = done
            _keep(file, results)
            missed += sum(met is False for _, _, met in report.judged(done))
    print(f"bench: every run is in {file}", file=sys.stderr)
    return 1 if missed else 0


def _run(contest: Contest, setting: Setting) -> dict[str, Any]:
    if setting.only:
        kept = [
            one
            for one in contest.contenders
            if one.name.startswith((*setting.only, contest.reference or "\0"))
        ]
        contest = replace(contest, contenders=kept)
    print(f"bench: {contest.name}: {contest.title}", file=sys.stderr, flush=True)
    done = document(contest, run(contest, setting.repeats))
    parts = [
        f"## {contest.title}",
        report.contest_table(done),
        report.bars_table(done),
        report.disturbances(done),
    ]
    print("\n\n".join(part.strip() for part in parts if part.strip()), end="\n\n", flush=True)
    return done


def _keep(file: Path, results: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    part.rename(file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m bench", description="Figures, ours and others', made on this machine."
    )
    parser.add_argument("contests", nargs="*", metavar="CONTEST", help="which to run; without any: all")
    parser.add_argument("--list", action="store_true", help="say which contests there are")
    parser.add_argument("--repeats", type=int, metavar="N", help="runs of each contender (5)")
    parser.add_argument(
        "--quick", action="store_true", help="one run on small tables, to try the benchmark itself"
    )
    parser.add_argument("--only", action="append", metavar="PREFIX", help="contenders whose names begin so")
    parser.add_argument(
        "--write-docs", action="store_true", help="write docs/benchmarks.md from the newest figures"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
