from __future__ import annotations

import os

import pytest

from secateur_agent.sensors.tree import DeviceTree, metric_slug, parse_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-12500", -12500), ("+3", 3), ("0.52", 0.52)])
def test_plain_decimals_are_numbers(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e9", "1_000", "0x10", "12 kB", "٣", "9" * 400, "1.", "-"])
def test_everything_else_is_refused(text):
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)


def test_children_come_in_natural_order(tree):
    tree.write({f"sys/class/hwmon/{name}/name": "x" for name in ("hwmon10", "hwmon2", "hwmon1")})
    assert DeviceTree(tree.root).children("sys/class/hwmon") == ["hwmon1", "hwmon2", "hwmon10"]
    assert DeviceTree(tree.root).children("sys/class/nothing") == []


def test_a_pipe_in_place_of_a_file_does_not_block(tree):
    os.mkfifo(tree.root / "pipe")
    assert DeviceTree(tree.root).text("pipe") == ""


@pytest.mark.parametrize(("label", "slug"), [("VDD_IN", "vdd_in"), ("cpu-thermal", "cpu_thermal"), ("../ x", "x"), ("", "")])
def test_labels_become_metric_names(label, slug):
    assert metric_slug(label) == slug
