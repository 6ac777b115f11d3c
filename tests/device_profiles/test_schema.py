from __future__ import annotations

from typing import Any

import msgspec
import pytest

import secateur_profiles
from secateur_profiles.schema import Profile
from secateur_profiles.validation import find_problems


@pytest.fixture
def table() -> dict[str, Any]:
    """A valid profile as the TOML parser gives it, with a battery."""
    return msgspec.to_builtins(secateur_profiles.load("android-phone"))


def put(table: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        table = table[section]
    table[leaf] = value


def test_a_valid_table_has_no_problems(table):
    assert find_problems(table) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cpu.cores", 0),
        ("cpu.cores", 2.5),
        ("cpu.cores", True),
        ("cpu.clock_mhz", -1),
        ("cpu.clock_mhz", float("inf")),
        ("cpu.clock_mhz", float("nan")),
        ("cpu.clock_mhz", "fast"),
        ("memory.total_mb", 8_589_934_592),
        ("power.idle_mw", 0),
        ("thermal.throttle_c", 353.15),
        ("grid.channels", 0),
        ("runtime.name", "ONNX Runtime"),
        ("runtime.min_version", "latest"),
        ("runtime.providers", []),
        ("precisions", []),
        ("precisions", ["int4"]),
        ("name", "Raspberry Pi"),
        ("name", "a\n"),
        ("battery.capacity_mwh", 0),
    ],
)
def test_a_wrong_value_is_reported_under_its_key(table, key, value):
    put(table, key, value)
    problems = find_problems(table)
    assert [problem.key for problem in problems] == [key]
    assert problems[0].reason


@pytest.mark.parametrize(
    ("key", "value", "reported"),
    [
        ("runtime.threads", 5, "runtime.threads"),
        ("memory.worker_limit_mb", 10, "memory.worker_limit_mb"),
        ("memory.worker_limit_mb", 7000, "memory.worker_limit_mb"),
        ("power.active_mw", 200, "power.active_mw"),
        ("thermal.critical_c", 80, "thermal.critical_c"),
        ("precisions", ["int8", "int8"], "precisions"),
    ],
)
def test_values_that_contradict_each_other_are_reported(table, key, value, reported):
    put(table, key, value)
    assert [problem.key for problem in find_problems(table)] == [reported]


def test_all_problems_are_found_at_once(table):
    put(table, "cpu.cores", 0)
    put(table, "power.idle_mw", -5)
    del table["title"]
    assert {problem.key for problem in find_problems(table)} == {"cpu.cores", "power.idle_mw", "title"}


def test_a_misspelt_key_is_an_error_with_a_suggestion(table):
    table["memory"]["worker_limit_mib"] = 5
    table["sources"]["memory.worker_limit_mib"] = "x"
    problem = find_problems(table)[0]
    assert problem.key == "memory.worker_limit_mib"
    assert "worker_limit_mb" in problem.reason


def test_a_section_that_is_not_a_table_is_reported(table):
    table["thermal"] = 80
    assert "thermal" in {problem.key for problem in find_problems(table)}


def test_a_number_without_a_source_is_an_error(table):
    del table["sources"]["power.idle_mw"]
    assert [problem.key for problem in find_problems(table)] == ["power.idle_mw"]


def test_a_source_of_a_key_that_does_not_exist_is_an_error(table):
    table["sources"]["cpu.frequency"] = "datasheet"
    assert [problem.key for problem in find_problems(table)] == ["sources.cpu.frequency"]


def test_an_empty_source_is_an_error(table):
    table["sources"]["cpu.cores"] = ""
    assert [problem.key for problem in find_problems(table)] == ["sources"]


def test_a_board_without_a_battery_needs_no_such_section(table):
    del table["battery"]
    del table["sources"]["battery.capacity_mwh"]
    assert find_problems(table) == []
    assert msgspec.convert(table, Profile).battery is None


def test_a_loaded_profile_cannot_be_changed():
    profile = secateur_profiles.load("raspberry-pi-4b")
    with pytest.raises(AttributeError):
        profile.memory.total_mb = 1  # type: ignore[misc]


def test_an_inference_adds_its_share_of_what_busy_cores_add(table):
    table["power"] |= {"idle_mw": 1000, "active_mw": 5000}
    table["cpu"]["cores"], table["runtime"]["threads"] = 8, 2
    assert msgspec.convert(table, Profile).inference_mw == 1000
