"""Trees of Goldreich, Goldwasser and Micali, and how somebody gets all leaves but one that it chooses.

From a root, every node has two children by the hash; a tree of depth d has ``2**d`` leaves. Per level the grower offers
the XOR of all left and that of all right nodes by one oblivious transfer; who takes, level by level, the side that its
path does not take gets every leaf but the path's, and the grower does not learn which.

Arrays: nodes ``[trees, 2**level, 2]``, sums ``[trees, depth, 2, 2]`` (side, word), uint64 words. The path of a tree is
the number of its missing leaf, highest bit first. ``first`` is the number of the first tree: a tree has the same nodes
in whatever batch it is grown.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mpc_bridge.kernels import Device
from mpc_bridge.kernels.buffers import RingArray


def grow(device: Device, key: bytes, roots: RingArray, depth: int, first: int = 0) -> tuple[RingArray, RingArray]:
    """Leaves ``[trees, 2**depth, 2]`` and sums of trees with ``roots`` ``[trees, 2]``."""
    nodes = roots.reshape(-1, 1, 2)
    sums = np.empty((len(nodes), depth, 2, 2), np.uint64)
    for level in range(depth):
        nodes = _children(device, key, nodes, level, first)
        sums[:, level] = np.bitwise_xor.reduce(nodes.reshape(len(nodes), -1, 2, 2), axis=1)
    return nodes, sums


def grow_punctured(device: Device, key: bytes, sums: RingArray, path: npt.NDArray[np.int64],
                   first: int = 0) -> RingArray:
    """Leaves ``[trees, 2**depth, 2]``, all but those at ``path`` ``[trees]``, which are zero.

    Args:
        sums: ``[trees, depth, 2]``: per level that of the side which the path does not take.
    """
    trees, depth = sums.shape[:2]
    every = np.arange(trees)
    nodes = np.zeros((trees, 1, 2), np.uint64)
    for level in range(depth):
        nodes = _children(device, key, nodes, level, first)
        known = path >> depth - 1 - level
        nodes[every, known] = 0
        nodes[every, known ^ 1] = 0
        side = (known ^ 1) & 1
        others = np.bitwise_xor.reduce(nodes.reshape(trees, -1, 2, 2), axis=1)[every, side]
        nodes[every, known ^ 1] = others ^ sums[:, level]
    return nodes


def sides(path: npt.NDArray[np.int64], depth: int) -> npt.NDArray[np.uint8]:
    """Which side's sum a path wants at each level: ``[trees, depth]``."""
    levels = np.arange(depth - 1, -1, -1)
    return ((path[:, None] >> levels & 1) ^ 1).astype(np.uint8)


def _children(device: Device, key: bytes, nodes: RingArray, level: int, first: int) -> RingArray:
    trees, width = nodes.shape[:2]
    blocks = np.ascontiguousarray(nodes[..., 0]), np.ascontiguousarray(nodes[..., 1])
    children = np.empty((trees, width, 2, 2), np.uint64)
    for side in (0, 1):
        hashed = device.ot_hash(key, blocks, 2 * level + side, first * width)
        children[:, :, side, 0], children[:, :, side, 1] = hashed
    return children.reshape(trees, 2 * width, 2)
