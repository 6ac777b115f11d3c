"""Tables of devices: stored by what they hold for, found for a compilation, and shared only when somebody adopts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compiler.tables import table_of

from secateur.device_tables import (
    DeviceTableError,
    TimedFile,
    UnderWay,
    adopt,
    decode_under_way,
    finish,
    load_under_way,
    save_under_way,
    stored_tables,
    table_for,
    table_path,
    under_way,
)
from secateur.ir import Signature, SizedOperator
from secateur.search.latency_table import read_table, write_table
from secateur.targets import choose_targets, default_path
from secateur_profiles import load

PI, PROFILE = "pi-1", "raspberry-pi-4b"
START = b'{"v":1,"rounds":9,"measurement":"m",'


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return tmp_path / "share"


def stored(device: str = PI, **changes: Any) -> Path:
    fields = {"device": device, "machine": "aarch64, a board", "threads": load(PROFILE).runtime.threads, **changes}
    table = table_of([SizedOperator(Signature("Linear"), 8, 8)], lambda _: 1e-3, **fields)
    key = table.key
    path = table_path(device, key.profile, key.runtime, key.runtime_version, key.precision, key.threads)
    finish(path, table)
    return path


def test_the_newest_table_that_holds_is_found() -> None:
    stored(runtime_version="1.23.0", date="2026-01-01")
    newer = stored(runtime_version="1.24.0", date="2026-02-01")
    stored(precision="int8", date="2026-03-01")
    stored("pi-2", date="2026-04-01")
    assert table_for(PI, load(PROFILE), ["fp32"]) == newer
    assert table_for(PI, load(PROFILE), ["fp32"], "1.24.0") == newer
    assert len(stored_tables(PI)) == 3
    assert len(stored_tables()) == 4


@pytest.mark.parametrize(
    ("device", "version", "precision", "reason"),
    [
        ("pi-9", "", "fp32", "device pi-9: no table is stored here; measure with 'secateur measure pi-9 --precision fp32'"),
        (PI, "", "int8", "is for precision fp32, not int8"),
        (PI, "1.40.0", "fp32", "is for onnxruntime 1.31.1, the device has 1.40.0 now"),
        ("../x", "", "fp32", "use 1 to 64 letters"),
    ],
)
def test_a_table_that_does_not_hold_is_one_line(device: str, version: str, precision: str, reason: str) -> None:
    stored()
    with pytest.raises(DeviceTableError, match=reason) as caught:
        table_for(device, load(PROFILE), [precision], version)
    assert len(str(caught.value).splitlines()) == 1


def test_only_an_adopted_table_is_used_for_the_profile() -> None:
    stored(date="2026-01-01")
    profiles, notes = [load(PROFILE)], []
    assert choose_targets(profiles, ("fp32",), [], True, notes)[0].source == "roofline"
    ((path, key),) = adopt(PI, [], replace=False)
    assert (path, key.device) == (default_path(PROFILE, "fp32"), PI)
    assert choose_targets(profiles, ("fp32",), [], True, notes)[0].source == "measured"
    assert notes == []
    adopt(PI, ["fp32"], replace=False)  # the same device again
    stored("pi-2")
    with pytest.raises(DeviceTableError, match=r"measured on pi-1; replace it with --replace"):
        adopt("pi-2", [], replace=False)
    adopt("pi-2", [], replace=True)
    assert read_table(path).key.device == "pi-2"
    with pytest.raises(DeviceTableError, match="no table in int8"):
        adopt(PI, ["int8"], replace=False)


def test_a_device_that_only_plays_a_board_is_not_adopted() -> None:
    stored(machine="x86_64, a gateway")
    with pytest.raises(DeviceTableError, match=r"pi-1: is a x86_64 that plays a raspberry-pi-4b \(aarch64\)"):
        adopt(PI, [], replace=True)


def test_a_table_that_was_measured_while_throttled_is_used_with_a_note() -> None:
    path = stored()
    table = read_table(path)
    point = msgspec.structs.replace(table.entries[0].points[0], slowed=True)
    entry = msgspec.structs.replace(table.entries[0], points=(point,))
    write_table(path, msgspec.structs.replace(table, entries=(entry,)))
    notes: list[str] = []
    assert choose_targets([load(PROFILE)], ("fp32",), [path], False, notes)[0].source == "measured"
    assert notes == ["latency table of pi-1: 1 of 1 points were measured while it was throttled"]


def test_a_measurement_goes_on_unless_it_is_timed_otherwise_and_ends_with_its_table(tmp_path: Path) -> None:
    path = table_path(PI, PROFILE, "onnxruntime", "1.31.1", "fp32", load(PROFILE).runtime.threads)
    begun = load_under_way(path, 9)
    known = msgspec.structs.replace(begun, files={"a" * 64: TimedFile(p50_ms=1.0, p95_ms=2.0, slowed=True)})
    save_under_way(path, known)
    assert load_under_way(path, 9) == known
    assert load_under_way(path, 5).measurement != known.measurement
    assert (under_way(PI), under_way("pi-2")) == (1, 0)
    assert stored() == path
    assert load_under_way(path, 9).files == {}


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=80).map(lambda text: START + text.encode()))
def test_a_damaged_measurement_is_begun_anew(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("device") / "t.json"
    path.with_suffix(".part").write_bytes(data)
    found = load_under_way(path, 9)
    assert isinstance(found, UnderWay)
    assert decode_under_way(msgspec.json.encode(found)) == found
