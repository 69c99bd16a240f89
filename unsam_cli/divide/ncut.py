"""The normalised cut: the second smallest generalised eigenvector of (D - W) v = lambda D v.

It is computed as u = D^1/2 v, the eigenvector of the normalised weights D^-1/2 W D^-1/2 with the
second largest eigenvalue, by the Lanczos method in float64. The eigenvector with the largest
eigenvalue, D^1/2 1, is known and projected out, so that only one vector has to converge.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.divide.affinity import Affinity
from unsam_cli.divide.cliques import small_cliques
from unsam_cli.jit import kernel

logger = logging.getLogger(__name__)

Vector = NDArray[np.float64]

_BASIS = 96  # Lanczos vectors before a restart
_KEPT = 24  # Ritz vectors that survive a restart
_CHECK = 6  # steps between two checks of the residual
_ANGLE = 1e-6  # bound on the angle to the eigenvector, radians
_RESIDUAL = 1e-12  # residual that is small enough for any gap: the eigenvalue counts as multiple
_PRODUCTS = 3000  # products after which the dense solver takes over
_DENSE = 32  # most nodes of a graph that goes to the dense solver at once


@dataclass(frozen=True)
class NormalisedCut:
    """Solution of one cut.

    Attributes
    ----------
    vector : (n,) float64
        Eigenvector v of length 1; its entry of largest magnitude is positive.
    value : float
        Eigenvalue lambda in [0, 2]. The lower it is, the better the graph separates. A value of 1
        or more means that no partition is better than a random one.
    residual : float
        Norm of the residual (D - W) v - lambda D v, in normalised coordinates.
    products : int
        Number of products with the weights; 0 for the dense solver.
    """

    vector: Vector
    value: float
    residual: float
    products: int


def ncut(graph: Affinity, *, seed: int = 0) -> NormalisedCut:
    """Solve the normalised cut of a graph.

    Parameters
    ----------
    graph : Affinity
        Any graph with at least two nodes.
    seed : int
        Seed of the start vector. It changes rounding errors. If the eigenvalue is multiple, it
        also decides which eigenvector is found: the projection of the start vector.

    Returns
    -------
    NormalisedCut
        The eigenvector, accurate to 1e-6 radians if the eigenvalue is simple.

    Raises
    ------
    ValueError
        The graph has only one node.

    Notes
    -----
    Several isolated cliques of the same size (mostly single patches that resemble no other) give
    many eigenvalues that differ only by about eps, and Lanczos would need thousands of steps. By
    symmetry, the wanted eigenvector either is constant on each group of such cliques, or is zero
    outside of one group and known in closed form. So the start vector is made constant on each
    group, and the result is compared with the known vectors.

    Lanczos is our own because it stops at an angle, which needs the gap to the next eigenvalue.
    scipy's ``eigsh``, which knows the residual alone, takes 1.1 to 1.8 times as long with its
    default tolerance on 60 x 60 patches (``bench_cut.py``), and 0.9 to 1.2 times with a residual
    of 1e-9, which says little where eigenvalues are close. To import it takes another 0.3 s.

    References
    ----------
    J. Shi, J. Malik, "Normalized Cuts and Image Segmentation", PAMI 2000: equations 11 and 12.
    K. Wu, H. Simon, "Thick-restart Lanczos method for large symmetric eigenvalue problems",
    SIAM J. Matrix Anal. Appl. 2000.
    """
    if graph.nodes < 2:
        raise ValueError("a graph with one node cannot be cut")
    root = np.sqrt(graph.degree)
    trivial = root / np.linalg.norm(root)
    start = np.random.default_rng(seed).standard_normal(graph.nodes)

    def normalised(x: Vector) -> Vector:
        return graph.times(x / root) / root

    u, products = _solve(graph, normalised, trivial, start)
    mu = float(u @ normalised(u))
    residual = float(np.linalg.norm(normalised(u) - mu * u))
    return NormalisedCut(_oriented(u / root), 1 - mu, residual, products)


def cut_value(graph: Affinity, vector: Vector) -> float:
    """Return the eigenvalue of an eigenvector (n,), its Rayleigh quotient, in [0, 2]."""
    degree = graph.degree
    return 1 - float(vector @ graph.times(vector)) / float(vector @ (degree * vector))


def _solve(
    graph: Affinity, normalised: Callable[[Vector], Vector], trivial: Vector, start: Vector
) -> tuple[Vector, int]:
    """Second eigenvector of the normalised weights, (n,), and the number of products."""
    if graph.nodes <= _DENSE:
        return _dense(graph, trivial, start), 0
    groups = small_cliques(graph)
    constant = start.copy()
    for group in groups:
        constant[group] = constant[group].mean()
    constant -= trivial * (trivial @ constant)
    u, mu, products = start, -1.0, 0
    if np.linalg.norm(constant) > 1e-6:  # else the graph holds nothing but one group of cliques
        found = lanczos(normalised, trivial, constant)
        if found is None:
            logger.debug("normalised cut of %d nodes: dense solver", graph.nodes)
            return _dense(graph, trivial, start), 0
        u, mu, products = found
    for group in groups:  # the vectors that sum to zero over a group of cliques
        apart = np.zeros_like(start)
        apart[group] = start[group].mean(axis=1, keepdims=True) - start[group].mean()
        apart /= np.linalg.norm(apart)
        value = float(apart @ normalised(apart))
        if value > mu + _RESIDUAL:
            u, mu = apart, value
    return u, products


def lanczos(
    matrix: Callable[[Vector], Vector], trivial: Vector, start: Vector
) -> tuple[Vector, float, int] | None:
    """Find the largest eigenpair of a symmetric matrix that is orthogonal to a known eigenvector.

    Parameters
    ----------
    matrix : callable
        Function that multiplies a vector by the matrix. The spectrum must lie in [-1, 1].
    trivial : (n,) float64
        The known eigenvector, of length 1, which is left out.
    start : (n,) float64
        Start vector.

    Returns
    -------
    (n,) float64, float, int
        Eigenvector, eigenvalue and number of products; None if the method did not converge.
    """
    n = len(start)
    basis = np.empty((_BASIS + 2, n))  # row 0 is the trivial vector
    basis[0] = trivial
    projected = np.zeros((_BASIS, _BASIS))
    w = _orthogonal(start / np.linalg.norm(start), basis[:1])[0]
    norm = float(np.linalg.norm(w))
    size = 0
    for products in range(1, _PRODUCTS + 1):
        if norm > 0:
            basis[size + 1] = w / norm
        w, h = _orthogonal(matrix(basis[size + 1]), basis[: size + 2])
        projected[size, : size + 1] = projected[: size + 1, size] = h[1:]
        size += 1
        norm = float(np.linalg.norm(w))
        exhausted = norm < _RESIDUAL or size == n - 1
        if not exhausted and size % _CHECK and size < _BASIS:
            continue
        theta, s = np.linalg.eigh(projected[:size, :size])
        residuals = norm * np.abs(s[-1])
        gap = theta[-1] - theta[-2] - residuals[-2] if size > 1 else 0.0
        if exhausted or residuals[-1] < max(_RESIDUAL, _ANGLE * gap):
            u = s[:, -1] @ basis[1 : size + 1]
            return u / np.linalg.norm(u), float(theta[-1]), products
        if size == _BASIS:
            basis[1 : _KEPT + 1] = s[:, -_KEPT:].T @ basis[1 : size + 1]
            projected[:_KEPT, :_KEPT] = np.diag(theta[-_KEPT:])
            size = _KEPT
    return None


@kernel(fastmath=True)
def _orthogonal(w: Vector, basis: Vector) -> tuple[Vector, Vector]:
    """Remove the components along the rows of `basis` from `w`, twice; return both.

    The second time removes rounding errors. BLAS is not used: it is no faster here, and its
    rounding errors depend on the number of threads.
    """
    k, n = basis.shape
    w = w.copy()
    total = np.zeros(k)
    part = np.zeros(k)
    for _ in range(2):
        for i in range(k):
            dot = 0.0
            for j in range(n):
                dot += basis[i, j] * w[j]
            part[i] = dot
        for i in range(k):
            for j in range(n):
                w[j] -= part[i] * basis[i, j]
        total += part
    return w, total


def _dense(graph: Affinity, trivial: Vector, start: Vector) -> Vector:
    """Solve by a dense decomposition; return the projection of `start` on the second eigenspace."""
    root = np.sqrt(graph.degree)
    matrix = graph.dense() / root / root[:, None]
    matrix -= 2 * np.outer(trivial, trivial)  # moves the eigenvalue 1 to -1, below all others
    theta, s = np.linalg.eigh(matrix)
    space = s[:, theta > theta[-1] - 1e-9]
    u: Vector = space @ (space.T @ start)
    u /= np.linalg.norm(u)
    return u


def first_largest(x: Vector) -> int:
    """Index of the first entry that equals the largest one up to errors of the solver."""
    largest = float(x.max())
    return int(np.argmax(x >= largest - 1e-4 * abs(largest)))


def _oriented(v: Vector) -> Vector:
    """Scale a vector to length 1 and make its entry of largest magnitude positive."""
    sign = float(np.sign(v[first_largest(np.abs(v))]))
    return v * (sign / np.linalg.norm(v))
