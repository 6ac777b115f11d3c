"""The figures that are measured: what each means, its target, its unit, and the case file that measures it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {"≤": operator.le, "≥": operator.ge, "=": operator.eq}


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        id: what it is called on the command line and in the results.
        meaning: for a person, in whole sentences.
        comparison: ``≤``, ``≥`` or ``=``, between a value and ``bound``.
        bound: the target.
        unit: of value and target; ``ratio`` if it has none.
        case: module of this package that measures it.
        long: whether it takes hours; ``make bench-full`` measures it and goes on where it was interrupted.
    """

    id: str
    meaning: str
    comparison: str
    bound: float
    unit: str
    case: str
    long: bool = False

    @property
    def target(self) -> str:
        """The target as text, such as ``≤ 1.1``."""
        return f"{self.comparison} {self.bound:g}"

    def met(self, value: float) -> bool:
        """Return whether a value meets the target."""
        return _COMPARISONS[self.comparison](value, self.bound)


_ALL = (
    Figure(
        "bundle-ratio",
        "Bytes of a whole bundle (base, recipes and manifest of a ladder of five int8 rungs) ÷ bytes of the largest model "
        "file that it materialises. 1 would mean that the four smaller rungs cost nothing; five separate files cost "
        "about 3.",
        "≤", 1.10, "ratio", "bundle_ratio",
    ),
    Figure(
        "switch-failed",
        "Inference requests that failed while a worker process switched rungs at least 200 times by overlap (the new rung "
        "is built and warmed while the old one serves, then swapped in, then the old one drains). Open-loop load: requests "
        "are sent when they are due, at 30 % of the rate that the worker can sustain, whether or not earlier ones were "
        "answered.",
        "=", 0, "requests", "switch",
    ),
    Figure(
        "switch-p99",
        "99th percentile of the latency of requests that were under way at any time between the decision to switch and the "
        "drained old rung ÷ 99th percentile of the same load without switches, measured between them in the same run.",
        "≤", 1.5, "ratio", "switch",
    ),
    Figure(
        "replace-memory",
        "Resident memory of a worker after it stepped from the largest to the smallest rung by replacement (it gives way to "
        "a new image of itself) ÷ that of a worker that only ever served the smallest rung; medians, under open-loop load "
        "at 30 % of what the largest rung sustains.",
        "≤", 1.1, "ratio", "replace",
    ),
    Figure(
        "replace-rise",
        "How far the resident memory rises above what it was before such a step, sampled every millisecond, worst step. By "
        "overlap both rungs are in one process for a moment.",
        "≤", 4, "MB", "replace",
    ),
    Figure(
        "replace-failed",
        "Inference requests of that load that failed while the worker was replaced; those that come meanwhile wait in their "
        "connections.",
        "=", 0, "requests", "replace",
    ),
    Figure(
        "worker-memory",
        "Largest difference from 1 of planned ÷ measured memory over a network's rungs: the peak of a fresh worker above "
        "that of a process with the runtime and no model. Planned: what the compiler expects from weights and live tensors, "
        "above the profile's runtime_base_mb.",
        "≤", 0.2, "ratio", "worker_memory",
    ),
    Figure(
        "reprune-seconds",
        "From the moment the device's ask for a new rung passes the broker until the first inference response that the new "
        "rung computed: planning, cutting, recalibrating, gating and signing on the host, transfer, trial on the device, "
        "switch.",
        "≤", 30, "s", "reprune",
    ),
    Figure(
        "reprune-bytes",
        "Topic and payload bytes of every MQTT message between device and host from the ask until the new rung serves (ask, "
        "its announcement, answers, desired and reported shadow, recipe, events; not the regular telemetry and its "
        "acknowledgements) ÷ bytes of the int8 base file.",
        "≤", 0.05, "ratio", "reprune",
    ),
    Figure(
        "recut-accuracy",
        "Accuracy of a rung that is re-cut midway in planned latency between two neighbouring rungs of a tuned ladder, "
        "minus what linear interpolation by planned latency between these two gives. A re-cut rung is recalibrated but not "
        "tuned.",
        "≥", -1.0, "points", "recut_accuracy",
    ),
    Figure(
        "supervisor-rss",
        "Largest resident memory (VmRSS, MB of 2^20 bytes) of the agent's supervisor process while it reports, after it "
        "has installed a model; the worker that runs the network is a process of its own and not counted.",
        "≤", 32, "MB", "supervisor",
    ),
    Figure(
        "supervisor-cpu",
        "Processor time of the supervisor process ÷ elapsed time: the share of one core that it takes to read sensors, "
        "decide each second and report every 5 s, with a committed model and no requests.",
        "≤", 0.001, "ratio", "supervisor",
    ),
    Figure(
        "latency-vs-plan",
        "Largest difference from 1 of planned ÷ measured latency over the rungs of a ladder that was planned from a latency "
        "table of this machine. Measured: the rungs' files with the worker's session options, one thread, in turns; of each "
        "of 25 rounds the fastest run, of these the median.",
        "≤", 0.15, "ratio", "latency_vs_plan",
    ),
    Figure(
        "half-macs-time",
        "Measured latency of the largest network on the planner's path that has at most half of the multiply-accumulates ÷ "
        "that of the full network; the path is planned from a latency table of this machine.",
        "≤", 0.6, "ratio", "latency_vs_plan",
    ),
    Figure(
        "untuned-vs-torch-pruning",
        "Accuracy of a trained network at half its work, with 200 unlabelled images and not one gradient step, minus that "
        "of Torch-Pruning with its batch norms recalibrated on the same images, on the same test images.",
        "≥", 10, "points", "cifar.untuned",
    ),
    Figure(
        "lite0-seconds",
        "Seconds to compile EfficientNet-Lite0 (ImageNet weights, 224×224) without tuning into a bundle of five int8 rungs, "
        "one thread.",
        "≤", 300, "s", "efficientnet",
    ),
    Figure(
        "lite0-memory",
        "Peak resident memory (MB of 2^20 bytes) of the process that compiles it.",
        "≤", 4096, "MB", "efficientnet",
    ),
    Figure(
        "int8-accuracy",
        "Test accuracy of a rung's int8 file minus that of the rung in float, in a tuned ladder (240 steps, five networks). "
        "Nothing is trained for int8. One seed; the standard error of such a difference is about .3 points.",
        "≥", -0.5, "points", "cifar.quantized", long=True,
    ),
    Figure(
        "qat-accuracy",
        "The same after 100 further steps of tuning that sees what int8 rounds, minus the rung in float before them.",
        "≥", -0.2, "points", "cifar.quantized", long=True,
    ),
    Figure(
        "tflite-accuracy",
        "Test accuracy of a rung's int8 TFLite file in a runtime minus that of its int8 ONNX file, in the same ladder.",
        "≥", -0.5, "points", "cifar.quantized", long=True,
    ),
    Figure(
        "tflite-snr",
        "Signal-to-noise ratio of a TFLite file whose int8 weights are slices of the base, minus that of the same rung "
        "quantized per channel by itself, both against the rung in torch and with the same ranges.",
        "≥", -1, "dB", "tflite",
    ),
    Figure(
        "vs-torch-pruning",
        "Test accuracy of a network that Secateur cut, distilled by itself from the original's weights, minus that of one "
        "that Torch-Pruning cut, with the same distillation: 300 steps of 128 images. At shares of work "
        "(multiply-accumulates) Secateur's does no more work, "
        "at shares of time (fp32, ONNX Runtime, one thread, timed in turns) it is not slower. Torch-Pruning's variant is "
        "the best on validation images of three: L2 and Taylor on the channels inside blocks, L2 on all channels to "
        "multiples of 8. Raw rows are in docs/benchmarks-raw.",
        "≥", 0, "points", "cifar.compare", long=True,
    ),
    Figure(
        "nested-vs-separate",
        "Test accuracy of a rung of one ladder (five networks, the original among them, 240 steps of all: 1,200 steps of "
        "single networks) minus that of the same network tuned by itself for 300 steps.",
        "≥", -1.0, "points", "cifar.compare", long=True,
    ),
    Figure(
        "nested-largest",
        "Test accuracy of the largest rung of that ladder minus the original's. It is not protected here as a compilation "
        "protects it: that is judged on validation images, and the original was trained on all that there are.",
        "≥", -0.2, "points", "cifar.compare", long=True,
    ),
)  # fmt: skip

FIGURES = {figure.id: figure for figure in _ALL}
"""Id → figure, in the order of the page."""
