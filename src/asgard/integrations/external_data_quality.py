"""The contracts of Redshift and HubSpot, asked: `python -m asgard.integrations.external_data_quality`.

Every table that the configuration names, and that a contract of the package knows, is read from its source
and checked: rows, keys, duplicates, e-mail addresses, amounts, age, negative values.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from asgard.app.checks.contracts import known_contracts
from asgard.app.frames.external_data import SOURCES, checked, load_config
from asgard.core.errors import AsgardError


class ExternalDataQualityChecker:
    """Checks what external sources have now.

    Args:
        spark: taken for its callers' sake: the checks run where this process runs, Spark or not.
        config: as `load_config` gives it.
    """

    def __init__(self, spark: Any, config: Mapping[str, Any]) -> None:
        self.spark = spark
        self.config = config

    def run_all_external_data_quality_checks(self) -> dict[str, Any]:
        """The answers, nothing raised: source to table to `passed`, `checks` (name, passed, message) and
        `error`; beside the sources `all_passed`, which is False when nothing was checked."""
        results: dict[str, Any] = {}
        passed: list[bool] = []
        for source, options in (self.config.get(SOURCES) or {}).items():
            if str((options or {}).get("type", source)) not in known_contracts():
                continue
            results[source] = {}
            for table, answers in checked(self.config, source):
                if isinstance(answers, AsgardError):
                    told: dict[str, Any] = {"passed": False, "checks": [], "error": str(answers)}
                else:
                    entries = [
                        {"name": one.check.name, "passed": one.passed, "message": one.message}
                        for one in answers
                    ]
                    told = {"passed": all(one.passed for one in answers), "checks": entries, "error": None}
                results[source][table] = told
                passed.append(told["passed"])
        return {**results, "all_passed": bool(passed) and all(passed)}


def main(arguments: Sequence[str]) -> int:
    """Prints the answers as JSON; 0 when all passed, 4 when not, 2 when the configuration is wrong.

    Args:
        arguments: the configuration file, or nothing for the usual one.
    """
    try:
        config = load_config(arguments[0] if arguments else None)
    except AsgardError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    results = ExternalDataQualityChecker(None, config).run_all_external_data_quality_checks()
    print(json.dumps(results, indent=2))
    return 0 if results["all_passed"] else 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
