"""The committed JSON Schema is the one that the code generates."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import secateur_agent.protocol.messages as messages
from secateur_agent.protocol.envelope import Envelope
from secateur_agent.protocol.messages import decode
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


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: str(kind.__name__))
def test_the_example_of_the_specification_is_valid_and_has_no_unknown_field(kind: type[msgspec.Struct]) -> None:
    heading = "## Envelopes: who may sign what" if kind is Envelope else f"### {kind.__name__}"
    section = (DOCS / "protocol.md").read_text(encoding="utf-8").split(f"\n{heading}\n", 1)[1]
    example = re.split(r"\n##+ ", section)[0].split("```json\n")[1].split("```")[0].encode()
    fields = msgspec.json.decode(example, type=dict[str, object])
    assert decode(example, kind)
    assert set(fields) <= set(schema()["$defs"][kind.__name__]["properties"])
