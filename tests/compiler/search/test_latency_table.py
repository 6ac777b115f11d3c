"""A table survives its file; what is damaged, or for something else, is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compiler.tables import key, table_of

from secateur.ir import Signature, SizedOperator
from secateur.search.latency_table import (
    LatencyTable,
    LatencyTableError,
    decode_table,
    encode_table,
    mismatch,
    read_table,
    write_table,
)
from secateur_profiles import load

CONV = Signature("Conv", (8, 8), (8, 8), (3, 3), (1, 1), groups="dense", activation="Relu")


def small() -> LatencyTable:
    operators = [SizedOperator(CONV, a, b) for a in (8, 16) for b in (8, 16)] + [SizedOperator(Signature("Linear"), 16, 10)]
    return table_of(operators, lambda o: o.channels_in * o.channels_out * 1e-4)


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "table.json"
    write_table(path, small())
    assert read_table(path) == small()
    assert [file.name for file in path.parent.iterdir()] == ["table.json"]


def outcome(data: bytes) -> LatencyTable | str:
    """The table, or what is said instead."""
    try:
        return decode_table(data, "t.json")
    except LatencyTableError as error:
        return str(error)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_table_or_one_line(data: bytes) -> None:
    found = outcome(data)
    assert isinstance(found, LatencyTable) or found.startswith("latency table t.json: ")


@settings(deadline=None)
@given(st.data())
def test_any_change_of_a_value_gives_a_table_or_one_line(data: st.DataObject) -> None:
    value = json.loads(encode_table(small()))
    parts: list[tuple[object, object]] = []

    def walk(node: object) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for place, child in items:
            parts.append((node, place))
            walk(child)

    walk(value)
    node, place = data.draw(st.sampled_from(parts))
    node[place] = data.draw(st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=3), st.just([]), st.just({})))  # type: ignore[index]
    found = outcome(json.dumps(value).encode())
    if isinstance(found, LatencyTable):
        assert all(point.p50_ms > 0 for entry in found.entries for point in entry.points)
    else:
        assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.update(v=2), "has format 2"),
        (lambda t: t["entries"][0]["points"].append(t["entries"][0]["points"][0]), "a point twice"),
        (lambda t: t["entries"].append(t["entries"][0]), "a signature twice"),
        (lambda t: t.update(entries=[]), "is damaged"),
        (lambda t: t["key"].update(colour="red"), "colour"),
        (lambda t: t["entries"][0]["points"][0].update(p50_ms=-1), "p50_ms"),
    ],
)
def test_what_is_wrong_is_said(change: object, reason: str) -> None:
    value = json.loads(encode_table(small()))
    change(value)  # type: ignore[operator]
    with pytest.raises(LatencyTableError, match=reason):
        decode_table(json.dumps(value).encode(), "t.json")


def test_files_that_cannot_be_read_or_written_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(LatencyTableError, match=r"none\.json: cannot be read: No such file"):
        read_table(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(LatencyTableError, match="cannot be written"):
        write_table(tmp_path / "file" / "table.json", small())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"profile": "abacus"}, "is for profile abacus, not raspberry-pi-4b"),
        ({"runtime": "tflite"}, "is for runtime tflite, not onnxruntime"),
        ({"precision": "int8"}, "is for precision int8, not fp32"),
        ({"threads": 1}, "is for threads 1, not 4"),
        ({"machine": "this one"}, "is for onnxruntime 1.31.1, but 1.99 is installed"),
        ({"runtime_version": "1.2"}, "is for onnxruntime 1.2, the profile needs"),
    ],
)
def test_a_table_for_something_else_does_not_hold(changes: dict[str, object], reason: str) -> None:
    profile = load("raspberry-pi-4b")
    threads = {"threads": profile.runtime.threads} if "threads" not in changes else {}
    if reason.startswith("is for threads"):
        profile = msgspec.structs.replace(profile, runtime=msgspec.structs.replace(profile.runtime, threads=4))
    profile = msgspec.structs.replace(profile, runtime=msgspec.structs.replace(profile.runtime, name="onnxruntime"))
    found = mismatch(key(**{**threads, **changes}), profile, "fp32", "this one", "1.99")
    assert found.startswith(reason)
    assert bool(found) == bool(reason)
