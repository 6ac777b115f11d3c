"""Cases ``int8-accuracy`` and ``qat-accuracy``: what eight bits cost a tuned ladder, without and with tuning for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from secateur.evaluation import Session
from secateur.load import Task
from secateur.master import Master
from secateur.quantized_tuning import LEARNING_RATE, tune_quantized
from secateur.quantizing import QuantizedRung, quantize_rung
from secateur.tuning import SandwichSettings
from secateur.writing import rung_file

from ..case import Measured, say
from ..lite_runtimes import RUNTIMES, outputs_in
from .data import Cifar
from .data import folder as data_folder
from .ours import Ours, accuracy, prepared, tuned_ladder
from .plan import WORK, WORK_GRID
from .runs import BALANCE, COPIES, NESTED_STEPS

QAT_STEPS, PRECISION = 100, "int8"
TITLE = "ResNet-20, CIFAR-10, 1,000 test images"


def measure(work: Path) -> list[Measured]:
    """Tune a ladder, quantize it, go on tuning in int8, quantize it again."""
    data_folder()
    ours = prepared(Task(Cifar(COPIES), "CIFAR-10"))
    keeps = ours.ladder(list(WORK), ours.share, WORK_GRID)
    settings = SandwichSettings(steps=NESTED_STEPS, widths=1 + len(keeps), between=0, balance=BALANCE)
    master = tuned_ladder(ours, keeps, settings)
    exact = [accuracy(master.rung_network(keep), ours.task, "test") for keep, _ in master.goals]
    tuning = SandwichSettings(
        steps=QAT_STEPS, widths=1 + len(keeps), between=0, balance=BALANCE, seed=1, learning_rate=LEARNING_RATE
    )
    judged = ours.task.inputs("validation")
    tuned = tune_quantized(master, ours.network, ours.task, PRECISION, tuning, judged, lambda *_: None)
    found = []
    for figure, each in (("int8-accuracy", master), ("qat-accuracy", tuned)):
        for (keep, _), before in zip(each.goals, exact):
            value, calibrator, made = _int8(ours, each, keep)
            case = f"{TITLE}, {ours.share(keep):.0%} of the work: {before:.1%} in float, {value:.1%} in int8 ({calibrator})"
            say(case)
            found.append(Measured(figure, case, round(100 * (value - before), 4)))
            if each is master:
                found += _in_tflite(ours, master, keep, made, value, work)
    return found


def _in_tflite(
    ours: Ours, master: Master, keep: dict[str, int], made: QuantizedRung, onnx: float, work: Path
) -> list[Measured]:
    """The same rung with the same ranges as a TFLite file, in both runtimes."""
    task, found = ours.task, []
    x, labels = task.inputs("test"), task.targets("test")
    assert isinstance(x, np.ndarray)
    data = rung_file(master, made.network, master.index(keep), PRECISION, made.ranges, "tflite")
    for runtime, title in RUNTIMES.items():
        value = float(np.mean(outputs_in(runtime, data, made.network, x, work).argmax(1) == labels))
        case = f"{TITLE}, {ours.share(keep):.0%} of the work, {title}: {value:.1%}, in ONNX {onnx:.1%}"
        say(case)
        found.append(Measured("tflite-accuracy", case, round(100 * (value - onnx), 4)))
    return found


def _int8(ours: Ours, master: Master, keep: dict[str, int]) -> tuple[float, str, QuantizedRung]:
    """Test accuracy of the int8 file, the calibrator that its validation outputs chose, and the rung as it was written."""
    index, task = master.index(keep), ours.task
    made = quantize_rung(master, master.rung_network(keep), index, PRECISION, task.inputs("validation"))
    data = rung_file(master, made.network, index, PRECISION, made.ranges)
    got = Session(data).run(task.inputs("test")).argmax(1)
    return float(np.mean(got == task.targets("test"))), made.calibrator, made
