"""The table of docs/explanation/faults.md: each row with the test that proves it.

`python -m tests.faults.matrix` writes it into the page; a test fails where page and rows differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGE = REPOSITORY / "docs" / "explanation" / "faults.md"
BEGIN, END = "<!-- the table: python -m tests.faults.matrix -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Row:
    """What happens, where, and what becomes of it.

    Attributes:
        ends: exit codes of the run that it happens to, and how it says so.
        then: how all is well again.
        proof: file and function of the test.
    """

    fault: str
    where: str
    ends: str
    then: str
    proof: str


MACHINE, HANDS, NET = "test_machine.py", "test_hands.py", "test_connections.py"
NEXT, SPACE = "the next run", "free space; the next run"
ROWS = (
    Row("The disk is full", "lake: rows, position record, log",
        "5, OutOfSpace", SPACE, f"{MACHINE}::test_the_disk_of_the_lake_is_full"),
    Row("", "lake, after the commit",
        "0, or 5: the commit stands", SPACE,
        f"{MACHINE}::test_the_disk_of_the_lake_is_full_when_the_commit_is_there"),
    Row("", "quarantine", "5, OutOfSpace; nothing is shown there", SPACE,
        f"{MACHINE}::test_the_disk_is_full_while_rows_are_set_aside"),
    Row("", "state folder: history of runs, run log",
        "5, OutOfSpace; before the load, or after its commit", SPACE,
        f"{MACHINE}::test_the_disk_of_the_state_is_full"),
    Row("Rights are lost", "lake, at the start or in the middle",
        "3, Refused", "give them back; the next run",
        f"{MACHINE}::test_the_lake_may_not_be_written_any_more"),
    Row("", "state folder", "3, Refused", "give them back; the next run",
        f"{MACHINE}::test_the_state_may_not_be_written_any_more"),
    Row("No open files left", "anywhere", "5, OutOfSpace; or a library ends the process (SIGABRT)", NEXT,
        f"{MACHINE}::test_there_are_no_open_files_left"),
    Row("No memory or threads left", "anywhere",
        "5, OutOfSpace; or a library ends the process (SIGABRT, SIGSEGV, 127)", NEXT,
        f"{MACHINE}::test_there_is_no_memory_left"),
    Row("SIGTERM, SIGINT", "before the commit begins", "130, Cancelled", NEXT,
        f"{MACHINE}::test_a_run_is_asked_to_stop"),
    Row("", "during the commit", "0: it is finished", "", f"{MACHINE}::test_a_run_is_asked_to_stop"),
    Row("SIGKILL", "every boundary of a load", "killed", NEXT, f"{MACHINE}::test_a_run_is_killed"),
    Row("", "between a load and the look at its keys (`detect_deletes: keys`)",
        "killed; the rows that came are there", "the next run finds the deleted ones",
        f"{HANDS}::test_a_kill_between_the_load_and_the_look_at_the_keys"),
    Row("The clock jumps by days, either way", "before and within loads, every mode",
        "0; ranges of histories stay closed and in order", "", f"{MACHINE}::test_the_clock_jumps"),
    Row("A connection is cut or reset", "signing in, mid-stream, near the end; once",
        "0: the run tries again", "", f"{NET}::test_a_database_breaks_off"),
    Row("", "the same, each time", "5, Unreachable", NEXT, f"{NET}::test_a_database_breaks_off"),
    Row("A server falls silent", "mid-stream", "0: given up and tried again", "",
        f"{NET}::test_a_database_falls_silent_in_the_middle"),
    Row("An API answers 5xx, 429, or breaks off", "in the middle of pages; once",
        "0: the run tries again", "",
        f"{NET}::test_an_api_answers_by_halves"),
    Row("", "the same, each time", "5, Unreachable", NEXT, f"{NET}::test_an_api_answers_by_halves"),
    Row("An API answers with half a document", "in the middle of pages", "4, DataError", NEXT,
        f"{NET}::test_an_api_answers_by_halves"),
    Row("The outcome of a commit is not known", "lake in a bucket: answers lost, late, wrong",
        "0, or 5; the log says what happened", NEXT,
        "../lake/test_bucket_losses.py::test_the_answer_to_the_commit_is_lost"),
    Row("Another hand restores, overwrites or empties the table", "between runs",
        "4, PositionLost, each time; the table stays as it is", "`asgard resync`, with or without `--accept`",
        f"{HANDS}::test_what_takes_rows_or_positions_away_stops_the_run_until_somebody_decides"),
    Row("", "during a run", "4, PositionLost; nothing is published", "`asgard resync`",
        f"{HANDS}::test_a_restore_while_a_run_sleeps_stops_it"),
    Row("Another hand takes log or `_asgard` away", "between runs", "4, PositionLost", "`asgard resync`",
        f"{HANDS}::test_what_takes_rows_or_positions_away_stops_the_run_until_somebody_decides"),
    Row("Another hand deletes data files", "between runs", "4, DataError, from merges and readers",
        "`asgard resync`, or `asgard run --full-refresh`",
        f"{HANDS}::test_data_files_that_were_deleted_are_told_and_read_anew"),
    Row("Another hand compacts, vacuums, deletes some rows", "between runs", "0", "",
        f"{HANDS}::test_what_leaves_the_rows_is_gone_on_with"),
    Row("Two runs of one stream", "at the same time, one asleep at any boundary",
        "0: one wins, the other goes on from there; no row twice", "",
        f"{HANDS}::test_a_run_that_was_asleep_while_another_one_loaded_goes_on_from_there"),
    Row("", "three at once", "0, or 5, Conflict, for who lost every race", "",
        f"{HANDS}::test_two_runs_at_once_bring_every_row_once"),
    Row("Two streams of one table", "at the same time", "both are there, each row once", "",
        "../lake/test_races.py::test_racing_threads_of_many_streams"),
    Row("A worker is killed", "in the middle of a job", "the job is taken up again", "another worker",
        "../app/test_worker.py::test_killed_workers_lose_nothing_and_run_nothing_twice"),
)  # fmt: skip


def table() -> str:
    """The rows as Markdown."""
    lines = ["| what happens | where | the run ends with | well again by |", "|---|---|---|---|"]
    lines += [f"| {row.fault} | {row.where} | {row.ends} | {row.then or '-'} |" for row in ROWS]
    return "\n".join(lines)


def with_table(page: str) -> str:
    """A page with the table as it is now."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
