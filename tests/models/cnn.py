"""The PyTorch model of the route tests: its topology, its trained weights and the real images it is tried on.

``train_cnn.py`` wrote ``cnn.safetensors`` and ``cnn_digits.npz``; ``README.md`` here says from what. Annotations are no
strings in this file: TorchScript reads them.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE / "cnn.safetensors"
DIGITS = HERE / "cnn_digits.npz"


def _block(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


class DigitNet(nn.Module):
    """Conv, depthwise-separable and residual blocks on 1 x 28 x 28 in [0, 1]; ten logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False))
        self.depthwise = _block(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False))
        self.pointwise = _block(nn.Conv2d(16, 32, 1, bias=False))
        self.pool = nn.MaxPool2d(2)
        self.branch = nn.Sequential(
            *_block(nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)),
            nn.Conv2d(32, 32, 1, bias=False), nn.BatchNorm2d(32))
        self.join = nn.ReLU()
        self.widen = _block(nn.Conv2d(32, 48, 3, padding=1, bias=False))
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``[N, 10]`` of images ``[N, 1, 28, 28]``."""
        x = self.pool(self.pointwise(self.depthwise(self.stem(x))))
        x = self.widen(self.join(x + self.branch(x)))
        return self.classify(torch.flatten(self.average(x), 1))


def trained() -> DigitNet:
    """The trained network, for inference."""
    network = DigitNet()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def real(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Images ``[N, 28, 28]`` of 0..255 as the network's input."""
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(255))[:, None]


def digits(part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images ``[N, 28, 28]`` and labels ``[N]``: ``"calibration"`` (trained on) or ``"held_out"`` (never)."""
    with np.load(DIGITS) as stored:
        return stored[f"{part}_images"], stored[f"{part}_labels"].astype(np.int64)
