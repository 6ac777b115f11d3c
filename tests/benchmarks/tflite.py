"""Case ``tflite``: what shared int8 weights cost a TFLite file of EfficientNet-Lite0, in both runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from secateur.criteria import Evidence, score
from secateur.evaluation import Session, snr_db
from secateur.graph import find_groups
from secateur.load import Task, export_module
from secateur.master import Master, untuned_master
from secateur.pruning import sort_groups
from secateur.twin import outputs_of
from secateur.writing import file_of, rung_file

from .case import Measured, say
from .efficientnet import SIDE, Enlarged
from .lite_runtimes import RUNTIMES, outputs_in
from .memory_ladders import LITE0, NAMES, WIDTHS, even_keep, module_of


def measure(work: Path) -> list[Measured]:
    """Cut the network at even widths, untuned; compare the file with shared weights with one quantized by itself."""
    task = Task(Enlarged(), NAMES[LITE0])
    master = _master(task)
    x = task.inputs("validation")
    assert isinstance(x, np.ndarray)
    found = []
    for width in WIDTHS:
        keep = even_keep(master.groups, width)
        network, index = master.rung_network(keep), master.index(keep)
        reference = outputs_of(network, x)
        assert isinstance(reference, np.ndarray)
        shared = rung_file(master, network, index, "int8", runtime="tflite")
        ordinary = file_of(network, master.calibration, "int8", runtime="tflite")
        onnx = snr_db(reference, Session(rung_file(master, network, index, "int8")).run(x))
        for runtime, title in RUNTIMES.items():
            ratios = [snr_db(reference, outputs_in(runtime, data, network, x, work)) for data in (shared, ordinary)]
            told = f"{ratios[0]:.1f} dB, by itself {ratios[1]:.1f}, as ONNX {onnx:.1f}"
            case = f"EfficientNet-Lite0, width {width:g}, {title}: {told}"
            say(case)
            found.append(Measured("tflite-snr", case, round(ratios[0] - ratios[1], 3)))
    return found


def _master(task: Task) -> Master:
    network = export_module(module_of(LITE0), (3, SIDE, SIDE))
    groups = find_groups(network)
    scores = score("magnitude-l2", Evidence(network, groups))
    return untuned_master(sort_groups(network, groups, scores), groups, scores, task)
