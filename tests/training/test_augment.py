from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unsam_cli.errors import ImageFileError, MachineError, UsageError
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.models.inputs import normalise
from unsam_cli.rle import Rle, encode
from unsam_cli.training.augment import PADDING, CropView, draw_view, view_image, view_masks
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.copy_paste import paste
from unsam_cli.training.dataset import AnnotatedImage, AnnotatedImages
from unsam_cli.training.loading import load_batches
from unsam_cli.training.recipe import DataSettings
from unsam_cli.training.samples import SampleBatch, make_sample
from unsam_cli.training.skipped import Skipped

pytestmark = pytest.mark.torch


def blobs(seed: int, n: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centres = rng.integers(0, [height, width], (n, 2))
    radii = rng.integers(2, max(3, min(height, width)), n)
    return np.array(
        [(y - cy) ** 2 + (x - cx) ** 2 < r**2 for (cy, cx), r in zip(centres, radii, strict=True)]
    )


@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(0, 99), st.booleans()
)
def test_masks_are_seen_as_their_image(
    height: int, width: int, side: int, seed: int, resized: bool
) -> None:
    settings = DataSettings(crop=side, jitter=(0.3, 2.0) if resized else None)
    view = draw_view(np.random.default_rng(seed), (height, width), settings)
    truth = blobs(seed, 3, height, width)
    # Each mask is drawn into a channel of the image: what is seen of one is seen of the other.
    pixels = np.ascontiguousarray(truth.transpose(1, 2, 0) * np.uint8(255))
    image = view_image(pixels, view, side)
    assert image.shape == (3, side, side)
    masks = view_masks([encode(mask) for mask in truth], view, side).unpack()
    assert masks.any(2).any(1).all()
    assert not masks[:, view.height :].any()
    assert not masks[:, :, view.width :].any()
    grey = torch.tensor(PADDING)[:, None, None]
    assert (image[:, view.height :] == grey).all()
    assert (image[:, :, view.width :] == grey).all()
    assert normalise(grey).abs().max() < 0.01  # as padded at inference
    if (view.height, view.width) == (view.h, view.w):
        seen = image[:, : view.height, : view.width] == 255
        expected = seen[seen.any(2).any(1)]
        assert torch.equal(masks[:, : view.height, : view.width], expected)


def test_without_jitter_images_keep_their_size() -> None:
    settings = DataSettings(crop=64)
    draws = [draw_view(np.random.default_rng(i), (200, 100), settings) for i in range(400)]
    for view in draws:
        assert (view.w, view.h, view.width, view.height) == (64, 64, 64, 64)
    assert {view.x for view in draws} == set(range(37))
    assert (min(v.y for v in draws), max(v.y for v in draws)) == (0, 136)
    assert 150 < sum(view.flip for view in draws) < 250
    small = draw_view(np.random.default_rng(0), (20, 30), settings)
    assert (small.x, small.y, small.width, small.height) == (0, 0, 30, 20)


def test_jitter_is_relative_to_the_crop() -> None:
    whole = draw_view(np.random.default_rng(0), (300, 200), DataSettings(crop=64, jitter=(1, 1)))
    assert (whole.h, whole.w, whole.height, whole.width) == (300, 200, 64, 43)
    half = draw_view(np.random.default_rng(0), (300, 200), DataSettings(crop=64, jitter=(0.5, 0.5)))
    assert (half.height, half.width) == (32, 21)
    double = draw_view(np.random.default_rng(0), (300, 200), DataSettings(crop=64, jitter=(2, 2)))
    assert (double.h, double.w, double.height, double.width) == (150, 150, 64, 64)


def test_flipping_mirrors_the_view_not_the_padding() -> None:
    view = CropView(0, 0, 3, 2, width=3, height=2, flip=True)
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    image = view_image(pixels, view, 4)
    assert image[0].tolist() == [[6, 3, 0, 124], [15, 12, 9, 124], [124] * 4, [124] * 4]
    mask = np.array([[1, 0, 0], [1, 1, 0]], dtype=bool)
    seen = view_masks([encode(mask)], view, 4).unpack()[0].int()
    assert seen.tolist() == [[0, 0, 1, 0], [0, 1, 1, 0], [0] * 4, [0] * 4]


def test_pasting_hides_what_is_behind_and_takes_parts_along() -> None:
    def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
        mask = np.zeros((16, 16), dtype=bool)
        mask[top:bottom, left:right] = True
        return mask

    whole, part, elsewhere = rectangle(0, 0, 8, 8), rectangle(2, 2, 4, 4), rectangle(9, 9, 15, 15)
    scene = rectangle(0, 0, 16, 16)  # too large to be pasted
    hidden, half = rectangle(1, 1, 3, 3), rectangle(4, 4, 12, 12)
    source = BitMasks.pack([scene, whole, part, elsewhere], (16, 16))
    target = BitMasks.pack([hidden, half], (16, 16))
    image, other = torch.zeros(3, 16, 16, dtype=torch.uint8), torch.full((3, 16, 16), 9).byte()
    seen = set()
    for seed in range(60):
        pasted, masks = paste(image, target, other, source, np.random.default_rng(seed))
        alpha = pasted[0].eq(9).numpy()
        found = [m.numpy() for m in masks.unpack()]
        kinds = [k for k in (whole, part, elsewhere) if any((m == k).all() for m in found)]
        assert (alpha == np.logical_or.reduce(kinds)).all()
        assert not any((m == scene).all() for m in found)
        assert all(m.any() for m in found)
        behind = [m & ~alpha for m in (hidden, half) if (m & ~alpha).any()]
        assert len(found) == len(kinds) + len(behind)
        for m in behind:
            assert any((m == f).all() for f in found)
        if any(k is whole for k in kinds):
            assert any(k is part for k in kinds)
        seen.add(len(kinds))
    assert seen == {1, 2, 3}


def test_nothing_is_pasted_of_an_image_without_objects() -> None:
    image, empty = torch.zeros(3, 8, 8, dtype=torch.uint8), BitMasks.pack([], (8, 8))
    target = BitMasks.pack([np.eye(8, dtype=bool)], (8, 8))
    pasted, masks = paste(image, target, image + 1, empty, np.random.default_rng(0))
    assert pasted is image
    assert masks is target


class Images(AnnotatedImages):
    """Three pictures in memory; the second cannot be read."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 3

    def info(self, index: int) -> ImageInfo:
        return ImageInfo(index, f"{index}.png", 50, 70)

    def left_out(self, index: int) -> tuple[Skipped, ...]:
        return ()

    def read(self, index: int, rng: np.random.Generator) -> AnnotatedImage:
        if self.broken and index == 1:
            raise ImageFileError("1.png: damaged")
        pixels = np.random.default_rng(index).integers(0, 256, (50, 70, 3), dtype=np.uint8)
        masks: list[Rle] = [encode(mask) for mask in blobs(index, 6, 50, 70)]
        return AnnotatedImage(f"{index}.png", pixels, masks)


def test_a_sample_depends_on_its_seed_alone() -> None:
    settings = DataSettings(crop=32, jitter=(0.5, 1.5), copy_paste=0.5)
    for seed in range(8):
        a, b = (make_sample(Images(), 1, seed, settings) for _ in range(2))
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.masks.bits, b.masks.bits)
    other = make_sample(Images(), 1, 9, settings)
    assert not torch.equal(a.image, other.image)


def test_pasting_keeps_to_the_most_masks() -> None:
    settings = DataSettings(crop=32, copy_paste=1.0, max_masks=4)
    counts = [len(make_sample(Images(), 0, seed, settings).masks) for seed in range(20)]
    assert max(counts) == 4


def test_bad_images_end_the_run_or_are_replaced() -> None:
    settings = DataSettings(crop=32)
    with pytest.raises(ImageFileError, match=r"1\.png: damaged"):
        make_sample(Images(broken=True), 1, 0, settings)
    skipping = DataSettings(crop=32, on_error="skip")
    found = [make_sample(Images(broken=True), 1, seed, skipping) for seed in range(20)]
    assert {sample.name for sample in found} == {"0.png", "2.png"}
    assert all(set(sample.skipped) == {("1.png", "1.png: damaged", None)} for sample in found)
    again = make_sample(Images(broken=True), 1, 5, skipping)
    assert (again.name, torch.equal(again.image, found[5].image)) == (found[5].name, True)


def test_an_image_that_cannot_be_pasted_is_the_one_that_is_named() -> None:
    settings = DataSettings(crop=32, on_error="skip", copy_paste=1.0)
    found = [make_sample(Images(broken=True), 0, seed, settings) for seed in range(20)]
    assert {sample.name for sample in found} == {"0.png"}
    assert {sample.skipped for sample in found} == {(), (("1.png", "1.png: damaged", None),)}
    seed = next(seed for seed, sample in enumerate(found) if sample.skipped)
    with pytest.raises(ImageFileError, match=r"1\.png: damaged"):
        make_sample(Images(broken=True), 0, seed, DataSettings(crop=32, copy_paste=1.0))


@pytest.mark.parametrize("index", [1, 0])
def test_want_of_open_files_is_no_fault_of_an_image(index: int) -> None:
    """Be it the image itself, or one to paste from; no image is skipped for it."""

    class Short(Images):
        def read(self, index: int, rng: np.random.Generator) -> AnnotatedImage:
            if index == 0:
                return super().read(index, rng)
            cause = OSError(errno.EMFILE, "Too many open files", f"{index}.png")
            raise ImageFileError(f"{index}.png: damaged") from cause

    settings = DataSettings(crop=32, on_error="skip", copy_paste=1.0)
    with pytest.raises(MachineError, match="too many open files"):
        [make_sample(Short(), index, seed, settings) for seed in range(20)]


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_worker_hands_over_what_the_machine_is_short_of(jobs: int) -> None:
    class Short:
        def sample(self, index: int, seed: int) -> object:
            cause = OSError(errno.ENOSPC, "No space left on device", f"{index}.png")
            raise ImageFileError(f"{index}.png: damaged") from cause

        def collate(self, samples: list[object]) -> None:
            raise AssertionError("there are no samples")

    task: Any = Short()
    (error,) = load_batches(task, [[(7, 0)]], jobs=jobs, pin=False)
    assert isinstance(error, MachineError)
    assert str(error) == "7.png: no space left; free disk space"
    assert (error.exit_code, error.everywhere) == (74, True)


def test_if_no_image_can_be_read_the_run_ends() -> None:
    class Broken(Images):
        def read(self, index: int, rng: np.random.Generator) -> AnnotatedImage:
            raise ImageFileError(f"{index}.png: damaged")

    with pytest.raises(ImageFileError, match="damaged"):
        make_sample(Broken(), 1, 0, DataSettings(crop=32, on_error="skip"))


def test_batches_join_samples() -> None:
    samples = [make_sample(Images(), i, 7 + i, DataSettings(crop=32)) for i in range(3)]
    batch = SampleBatch.of(samples)
    assert batch.images.shape == (3, 3, 32, 32)
    assert batch.names == ["0.png", "1.png", "2.png"]
    assert batch.seeds == [7, 8, 9]
    moved = batch.to("cpu")
    assert torch.equal(moved.masks[1].bits, samples[1].masks.bits)


@pytest.mark.parametrize("wrong", [{"crop": 0}, {"max_masks": -1}, {"jitter": (2.0, 1.0)}])
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        DataSettings(**wrong)  # type: ignore[arg-type]


def test_whole_photographs_are_not_kept_alive() -> None:
    pixels = np.zeros((400, 400, 3), np.uint8)
    view = CropView(10, 10, 32, 32, width=32, height=32, flip=False)
    assert view_image(pixels, view, 32).untyped_storage().nbytes() == 3 * 32 * 32
