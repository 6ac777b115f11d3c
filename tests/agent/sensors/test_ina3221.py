from __future__ import annotations

from secateur_agent.sensors.ina3221 import Ina3221

HWMON = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
RAILS = {
    f"{HWMON}/in1_label": "VDD_IN\n",
    f"{HWMON}/in1_input": "5064\n",
    f"{HWMON}/curr1_input": "1000\n",
    f"{HWMON}/in2_label": "VDD_CPU_GPU_CV\n",
    f"{HWMON}/in2_input": "5000\n",
    f"{HWMON}/curr2_input": "200\n",
    f"{HWMON}/in3_label": "VDD_SOC\n",
    f"{HWMON}/in3_input": "5000\n",
    f"{HWMON}/curr3_input": "300\n",
    f"{HWMON}/in7_label": "sum of shunt voltages\n",
    "sys/bus/i2c/drivers/ina3221/bind": "",
}


def test_each_labelled_channel_is_a_rail_and_vdd_in_the_total(tree):
    tree.write(RAILS)
    readings = Ina3221(tree.root).read()
    assert {metric: reading.value for metric, reading in readings.items()} == {
        "power_mw": 5064,
        "rail_vdd_in_mw": 5064,
        "rail_vdd_cpu_gpu_cv_mw": 1000,
        "rail_vdd_soc_mw": 1500,
    }
    assert readings["power_mw"].source == f"/{HWMON}/in1_input"


def test_unconnected_channel_is_left_out(tree):
    tree.write({path: content for path, content in RAILS.items() if "3_" not in path})
    assert "rail_vdd_soc_mw" not in Ina3221(tree.root).read()


def test_a_rail_whose_current_is_missing_does_not_take_the_others(tree):
    tree.write({path: content for path, content in RAILS.items() if not path.endswith("curr1_input")})
    readings = Ina3221(tree.root).read()
    assert readings["power_mw"].value is None
    assert readings["rail_vdd_soc_mw"].value == 1500


def test_board_without_vdd_in_has_no_total(tree):
    tree.write(RAILS | {f"{HWMON}/in1_label": "VDD_GPU_SOC\n"})
    readings = Ina3221(tree.root).read()
    assert readings["power_mw"].value is None
    assert "VDD_IN" in readings["power_mw"].note
    assert readings["rail_vdd_gpu_soc_mw"].value == 5064


def test_no_chip_is_unavailable(tree):
    assert Ina3221(tree.root).read()["power_mw"].note == "no INA3221"
