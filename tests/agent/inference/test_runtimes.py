"""A runtime is one file, and nothing else names one."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import secateur_agent
import secateur_profiles
from secateur_agent.inference.backend import Backend
from secateur_agent.inference.runtimes import backend_module, known_runtimes


def test_every_file_with_a_backend_is_a_runtime_of_its_name() -> None:
    assert "onnxruntime" in known_runtimes()
    importlib.import_module(backend_module("onnxruntime"))
    assert "onnxruntime" in Backend.registry


def test_nothing_but_its_own_files_names_a_runtime_in_code() -> None:
    names = "|".join(known_runtimes())
    named = re.compile(rf"^[^#]*['\"](?:{names})['\"]|^\s*(?:import|from) (?:{names})\b")
    found = []
    for package in (secateur_agent, secateur_profiles):
        for path in Path(package.__file__).parent.rglob("*.py"):
            if path.stem.partition("_")[0] in known_runtimes():
                continue
            found += [f"{path.name}: {line.strip()}" for line in path.read_text().splitlines() if named.search(line)]
    assert found == []
