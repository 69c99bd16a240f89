"""Merge kernel against the paper's loop: ``python tests/benchmarks/bench_merge.py [--runs N]``.

The baseline is the loop as one would first write it, and as the published code has it: a dict of
pair similarities, scanned with ``max`` before each merge, on one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from unsam_cli.conquer.merge import grid_edges, merge_tree


def smooth_features(side: int, channels: int, seed: int) -> NDArray[np.float32]:
    """A grid of features that vary at several scales, as a network's do."""
    rng = np.random.default_rng(seed)
    noise = (rng.normal(size=(side, side, channels)) for _ in range(3))
    layers = zip((0.7, 2.0, 5.0), noise, strict=True)
    grid: Any = sum(scale * gaussian_filter(layer, (scale, scale, 0)) for scale, layer in layers)
    found: NDArray[np.float32] = grid.reshape(-1, channels).astype(np.float32)
    return found


def plain_loop(
    features: NDArray[np.float32], edges: NDArray[np.int64], thresholds: Sequence[float]
) -> list[int]:
    """Merge by scanning a dict of all pairs; returns the number of clusters at each threshold."""
    sums = dict(enumerate(features))
    units = {i: row / np.linalg.norm(row) for i, row in sums.items()}
    around: dict[int, set[int]] = {i: set() for i in sums}
    pairs: dict[tuple[int, int], float] = {}
    for i, j in edges.tolist():
        pairs[i, j] = float(units[i] @ units[j])
        around[i].add(j)
        around[j].add(i)
    counts = []
    for theta in thresholds:
        while pairs:
            best = max(pairs, key=pairs.__getitem__)
            if pairs[best] < theta:
                break
            i, j = best
            fresh = len(features) * 2 - len(sums)
            sums[fresh] = sums.pop(i) + sums.pop(j)
            units[fresh] = sums[fresh] / np.linalg.norm(sums[fresh])
            around[fresh] = (around.pop(i) | around.pop(j)) - {i, j}
            for k in around[fresh]:
                for old in {i, j} & around[k]:
                    around[k].discard(old)
                    pairs.pop((min(old, k), max(old, k)))
                around[k].add(fresh)
                pairs[k, fresh] = float(units[k] @ units[fresh])
            pairs.pop(best)
        counts.append(len(sums))
    return counts


def seconds(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    thresholds = (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    merge_tree(np.ones((4, 2), np.float32), grid_edges(2, 2))  # compile, or load the cache
    print(f"{'grid':>12} {'loop, s':>9} {'kernel, ms':>11} {'ratio':>7}")
    for side in (32, 64):
        features, edges = smooth_features(side, 768, seed=side), grid_edges(side, side)
        slow, fast = [], []
        with threadpool_limits(1):
            for _ in range(runs):
                loop, expected = seconds(plain_loop, features, edges, thresholds)
                kernel, tree = min(
                    (seconds(merge_tree, features, edges) for _ in range(5)), key=lambda run: run[0]
                )
                slow.append(loop)
                fast.append(kernel)
                found = [len(tree.clusters(theta)) for theta in thresholds]
                assert found == expected, (found, expected)
        ratio = statistics.median(a / b for a, b in zip(slow, fast, strict=True))
        loop, kernel = statistics.median(slow), statistics.median(fast) * 1e3
        print(f"{side:>4}x{side}x768 {loop:>9.3f} {kernel:>11.2f} {ratio:>6.0f}x")


if __name__ == "__main__":
    main()
