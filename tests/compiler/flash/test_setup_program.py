"""The setup program is one file of the standard library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import secateur_agent.board
from secateur.flash.setup_program import setup_program

FOLDER = Path(str(secateur_agent.board.__file__)).parent


def test_the_same_sources_are_the_same_bytes() -> None:
    assert setup_program() == setup_program()


def test_it_imports_nothing_but_the_standard_library_and_itself() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= set(sys.stdlib_module_names), path
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert str(node.module).split(".")[0] in sys.stdlib_module_names, path
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, path
