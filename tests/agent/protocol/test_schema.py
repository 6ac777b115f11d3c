"""The committed JSON Schema is the one that the code generates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import secateur_agent.protocol.messages as messages
from secateur_agent.protocol.schema import MESSAGES, schema, schema_text

DOCS = Path(__file__).parents[3] / "docs"


def test_committed_schema_is_current() -> None:
    committed = (DOCS / "protocol.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run: python -m secateur_agent.protocol.schema > docs/protocol.schema.json"


def test_running_the_module_prints_the_schema() -> None:
    command = [sys.executable, "-m", "secateur_agent.protocol.schema"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == schema_text()


def test_every_message_of_the_module_is_in_the_schema() -> None:
    defined = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, messages.Message)}
    assert defined - {messages.Message} <= set(MESSAGES)


def test_the_specification_describes_every_field_of_every_message() -> None:
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    for name, definition in schema()["$defs"].items():
        for field in definition["properties"]:
            assert f"`{field}`" in text, f"docs/protocol.md does not mention {name}.{field}"
