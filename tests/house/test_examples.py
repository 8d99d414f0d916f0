"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import asgard

NAMES = [
    module.name
    for module in pkgutil.walk_packages(asgard.__path__, "asgard.")
    if "__main__" not in module.name
]


@pytest.mark.parametrize("name", ["asgard", *NAMES])
def test_examples(name: str, tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # type: ignore[arg-type]
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
