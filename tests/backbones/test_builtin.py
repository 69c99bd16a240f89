from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import SYMMETRIES, draw_scene

from unsam_cli.backbones.base import Backbone
from unsam_cli.backbones.builtin import BANDWIDTH, BuiltinBackbone, create_builtin
from unsam_cli.backbones.descriptor import COSINE, SINE, blur, gaussian, oriented_energy
from unsam_cli.colour import rgb_to_lab
from unsam_cli.errors import UsageError


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))


def plain(colour: int, side: int = 32) -> NDArray[np.uint8]:
    return np.full((1, side, side, 3), colour, dtype=np.uint8)


def test_it_is_a_backbone() -> None:
    backbone = create_builtin()
    assert isinstance(backbone, Backbone)
    assert (backbone.name, backbone.weights, backbone.threadsafe) == ("builtin", "none", True)


def test_shape_dtype_and_repeatability() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), dtype=np.uint8)
    backbone = BuiltinBackbone()
    features = backbone.extract(images)
    p = backbone.patch_size
    assert features.shape == (2, 24 // p, 40 // p, backbone.dim)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, BuiltinBackbone().extract(images))
    np.testing.assert_array_equal(features[1], backbone.extract(images[1:])[0])


def test_the_seed_draws_other_frequencies() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    assert not np.array_equal(BuiltinBackbone(0).extract(image), BuiltinBackbone(1).extract(image))


def test_threads_agree_with_one() -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 1, 32, 32, 3), dtype=np.uint8)
    backbone = BuiltinBackbone()
    with ThreadPoolExecutor(3) as pool:
        many = list(pool.map(backbone.extract, images))
    for image, features in zip(images, many, strict=True):
        np.testing.assert_array_equal(features, backbone.extract(image))


def test_similarity_falls_with_distance_of_colour_as_the_laplacian_kernel() -> None:
    backbone = BuiltinBackbone()
    greys = np.array([128, 131, 136, 150, 200])
    feature = {int(g): backbone.extract(plain(g))[0, 2, 2] for g in greys}
    found = [cosine(feature[128], feature[int(g)]) for g in greys]
    assert found[0] == pytest.approx(1, abs=1e-6)
    assert found[1] > found[2] > found[3]
    lightness = [rgb_to_lab(plain(g))[0, 0, 0, 0] for g in greys]
    for g, value in zip(lightness[1:3], found[1:3], strict=True):
        expected = np.exp(-0.5 * abs(g - lightness[0]) / BANDWIDTH)
        assert value == pytest.approx(expected, abs=0.2)


def test_features_have_the_length_of_their_patch_distribution() -> None:
    backbone = BuiltinBackbone()
    flat = backbone.extract(plain(90))[0, 3, 3]
    assert np.dot(flat, flat) == pytest.approx(backbone.dim / 2, rel=1e-3)
    noisy = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    mixed = backbone.extract(noisy)[0, 3, 3]
    assert np.dot(mixed, mixed) < 0.5 * np.dot(flat, flat)


def test_orientation_of_texture_is_seen() -> None:
    stripes = np.where(np.arange(64) % 4 < 2, 100, 150).astype(np.uint8)
    both = np.empty((64, 128, 3), dtype=np.uint8)
    both[:, :64] = stripes[None, :, None]
    both[:, 64:] = stripes[:, None, None]
    features = BuiltinBackbone().extract(both[None])[0, 4:12]
    a, b, c = (features[:, begin : begin + 6].sum(axis=(0, 1)) for begin in (2, 8, 20))
    assert cosine(a, b) > 0.999
    assert cosine(a, c) < 0.9


@pytest.mark.parametrize("turn", SYMMETRIES)
def test_a_turned_image_has_the_turned_features(turn: str) -> None:
    """Though the random frequencies are not the same for all orientations."""
    there, back = SYMMETRIES[turn]
    stripes = np.where(np.arange(64) % 5 < 2, 100, 150).astype(np.uint8)
    image = draw_scene(2, 64, 96)
    image[:40, :64] = (image[:40, :64] + stripes[None, :, None].astype(int)) // 2
    backbone = BuiltinBackbone()
    turned = back(backbone.extract(there(image)[None])[0])
    np.testing.assert_allclose(turned, backbone.extract(image[None])[0], atol=2e-3)


def test_images_are_checked() -> None:
    with pytest.raises(UsageError, match="multiple"):
        BuiltinBackbone().extract(np.zeros((1, 10, 12, 3), np.uint8))
    with pytest.raises(UsageError, match="uint8"):
        BuiltinBackbone().extract(np.zeros((1, 12, 12, 3), np.float32))


def test_polynomials_are_sine_and_cosine() -> None:
    turns = np.linspace(-0.5, 0.5, 101)
    sine = np.polynomial.polynomial.polyval(turns**2, SINE) * turns
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), atol=2e-4)
    cosine_ = np.polynomial.polynomial.polyval(turns**2, COSINE)
    np.testing.assert_allclose(cosine_, np.cos(2 * np.pi * turns), atol=2e-4)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (30, 20)])
@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_blur_is_a_gaussian_filter(shape: tuple[int, int], sigma: float) -> None:
    from scipy.ndimage import gaussian_filter

    plane = np.random.default_rng(0).random(shape, dtype=np.float32)
    expected = gaussian_filter(plane, sigma, mode="nearest", truncate=3.0)
    np.testing.assert_allclose(blur(plane, gaussian(sigma)), expected, atol=1e-5)


def test_energy_of_a_ramp() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    energy = oriented_energy(ramp)[:, 2:6, 2:6]
    root = np.sqrt(0.5)
    np.testing.assert_allclose(energy, np.array([1, root, 0, root])[:, None, None] + 0 * energy)


def test_colours_of_reference() -> None:
    known = {
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 128, 0): (46.23, -51.70, 49.90),
    }
    for rgb, lab in known.items():
        found = rgb_to_lab(np.array([rgb], dtype=np.uint8))[0]
        np.testing.assert_allclose(found, lab, atol=0.3)


def test_no_torch_is_imported() -> None:
    code = "import sys, unsam_cli.backbones.builtin; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
