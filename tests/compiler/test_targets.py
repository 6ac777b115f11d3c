"""Which table a profile is planned from: given ones must hold, found ones are left alone if they do not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.compiler.tables import table_of

from secateur.evaluation import describe_machine, runtime_version
from secateur.ir import SecateurError, Signature, SizedOperator
from secateur.search import LatencyTableError
from secateur.search.latency_table import write_table
from secateur.targets import choose_precision, choose_targets, default_path, is_this_machine
from secateur_profiles import load

PROFILE = "linux-x86-64"
HERE = {"profile": PROFILE, "threads": 1, "machine": describe_machine(), "runtime_version": runtime_version()}


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return tmp_path / "share"


def written(path: Path, **changes: object) -> Path:
    operator = SizedOperator(Signature("Linear"), 8, 8)
    write_table(path, table_of([operator], lambda _: 1e-3, **{**HERE, **changes}))
    return path


def test_a_given_table_is_used(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json")
    assert [t.source for t in choose_targets([load(PROFILE)], ("fp32",), [path], False, [])] == ["measured"]
    assert [t.source for t in choose_targets([load(PROFILE)], ("fp32",), [], True, [])] == ["roofline"]


def test_each_table_goes_to_its_profile(tmp_path: Path) -> None:
    path, profiles = written(tmp_path / "t.json"), [load(PROFILE), load("raspberry-pi-4b")]
    found = choose_targets(profiles, ("fp32",), [path], False, [])
    assert [(t.profile.name, t.source) for t in found] == [(PROFILE, "measured"), ("raspberry-pi-4b", "roofline")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"precision": "int8"}, "is for precision int8, not fp32"),
        ({"threads": 2}, "is for threads 2, not 1"),
        ({"runtime_version": "1.30"}, f"is for onnxruntime 1.30, but {runtime_version()} is installed"),
        ({"profile": "abacus"}, "is for profile abacus"),
        ({"runtime": "tflite"}, "is for runtime tflite"),
    ],
)
def test_a_table_for_something_else_is_refused_if_given_and_left_alone_if_found(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    path = written(tmp_path / "t.json", **changes)
    with pytest.raises(LatencyTableError, match=reason) as caught:
        choose_targets([load(PROFILE)], ("fp32",), [path], False, [])
    assert len(str(caught.value).splitlines()) == 1
    notes: list[str] = []
    written(default_path(PROFILE, "fp32"), **changes)
    assert choose_targets([load(PROFILE)], ("fp32",), [], True, notes)[0].source == "roofline"
    (note,) = notes
    assert reason in note
    assert "planned without it" in note


def test_a_table_of_this_machine_is_found(data_folder: Path) -> None:
    path = written(default_path(PROFILE, "fp32"))
    assert path.is_relative_to(data_folder)
    notes: list[str] = []
    assert choose_targets([load(PROFILE)], ("fp32",), [], True, notes)[0].source == "measured"
    assert choose_targets([load(PROFILE)], ("fp32",), [], False, notes)[0].source == "roofline"
    assert notes == []


def test_a_table_of_another_machine_is_used_only_if_given(tmp_path: Path) -> None:
    notes: list[str] = []
    written(default_path(PROFILE, "fp32"), machine="another")
    assert choose_targets([load(PROFILE)], ("fp32",), [], True, notes)[0].source == "roofline"
    assert "not for this machine" in notes[0]
    given = written(tmp_path / "t.json", machine="another", runtime_version="1.24.1")
    assert choose_targets([load(PROFILE)], ("fp32",), [given], True, notes)[0].source == "measured"


def test_a_damaged_table_that_was_found_is_left_alone() -> None:
    path = written(default_path(PROFILE, "fp32"))
    path.write_bytes(b"{")
    notes: list[str] = []
    assert choose_targets([load(PROFILE)], ("fp32",), [], True, notes)[0].source == "roofline"
    assert "is damaged" in notes[0]


def test_precisions_are_taken_in_the_order_wanted() -> None:
    profile = load(PROFILE)
    assert choose_precision(profile, ()) == profile.precisions[0]
    assert choose_precision(profile, ("fp16", "int8")) == "int8"
    with pytest.raises(SecateurError, match="none of fp16 can be built"):
        choose_precision(profile, ("fp16",))
    other = replace(profile, runtime=replace(profile.runtime, name="tensorflow"))
    with pytest.raises(SecateurError, match="runtime 'tensorflow': files for it cannot be written"):
        choose_precision(other, ())


def test_only_one_profile_is_this_machine() -> None:
    assert not is_this_machine(load("raspberry-pi-4b"))
    renamed = msgspec.structs.replace(load(PROFILE), name="mine")
    assert not is_this_machine(renamed)
