"""Files of this machine: CSV, TSV, JSON, JSON Lines, Parquet, Excel; plain, gzip, bzip2, Zstandard or zip.

A table is a file, a folder or a pattern. Types are proved over every value (`transport.text_proof`,
`transport.json_records`), so text files are read twice; naming all columns in `columns`, or `types: text`,
saves the first time. A file that changes while it is read is an error: half of it may be of another content.

`cursor: _file` reads new files only. The position has the name, size and time of change of every loaded file;
a file that was taken away stays in it, and is not loaded again when it comes back unchanged.

Reference: https://www.rfc-editor.org/rfc/rfc4180, https://www.rfc-editor.org/rfc/rfc8259,
https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from pydantic import AliasChoices, Field

from asgard.connectors._files.formats import FormatName
from asgard.connectors._files.source import FileSource
from asgard.core.config import Config, LocalPath
from asgard.core.source import Example
from asgard.transport.files import LocalDisk, existing_folder, translated


class FilesConfig(Config):
    """Where the files are."""

    path: LocalPath = Field(
        default=".",
        validation_alias=AliasChoices("path", "folder"),
        description="The folder that the tables' paths are relative to, or one file.",
    )
    format: FormatName | None = Field(
        default=None,
        validation_alias=AliasChoices("format", "file_type"),
        description="csv, tsv, json, jsonl, parquet or excel, for files whose names do not tell.",
    )


class FilesSource(FileSource):
    """Files below one folder."""

    type = "files"
    Config = FilesConfig
    examples = (
        Example(
            "One CSV file",
            {
                "type": "files",
                "path": "data",
                "tables": [{"name": "airports", "path": "airports.csv", "null_values": ["", "NA"]}],
            },
        ),
        Example(
            "New files of a folder only",
            {
                "type": "files",
                "path": "data",
                "tables": [
                    {"name": "flights", "path": "flights/*.csv.gz", "mode": "append", "cursor": "_file"},
                    {"name": "rates", "path": "rates/**/*.parquet"},
                ],
            },
            note="The column _file has the name of each row's file.",
        ),
        Example(
            "A sheet of a workbook, and records inside a JSON document",
            {
                "type": "files",
                "path": "data",
                "tables": [
                    {"name": "budget", "path": "plan.xlsx", "sheet": "2026", "header": 3},
                    {"name": "items", "path": "export.json", "records": "data.items"},
                ],
            },
        ),
    )

    @property
    def place(self) -> LocalDisk:
        """The folder, or the file."""
        return LocalDisk.existing(self.config.path)

    def check(self) -> None:
        """Looks whether the folder is there and may be read."""
        found = existing_folder(self.config.path)
        with translated(str(found)):
            if found.is_dir():
                next(found.iterdir(), None)
            else:
                found.open("rb").close()


CONNECTOR = FilesSource
