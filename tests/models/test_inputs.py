"""What networks take."""

from __future__ import annotations

import pytest
import torch
from support import draw_scene

from unsam_cli.models import inputs

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (1024, 1024, (1024, 1024)),
        (480, 640, (1024, 1365)),  # 1365.33
        (427, 640, (1024, 1535)),  # 1534.8
        (1500, 2250, (1024, 1536)),
        (2250, 1500, (1536, 1024)),
        (100, 300, (683, 2048)),  # the longer side binds: 682.67
        (1, 5000, (1, 2048)),
        (2048, 2051, (1024, 1026)),  # 1025.5, halves up
    ],
)
def test_sizes(height: int, width: int, expected: tuple[int, int]) -> None:
    assert inputs.test_size(height, width) == expected


def test_other_limits() -> None:
    assert inputs.test_size(480, 640, short=240, longest=300) == (225, 300)


def test_statistics_are_those_of_imagenet_on_bytes() -> None:
    mean, std = torch.tensor(inputs.MEAN) / 255, torch.tensor(inputs.STD) / 255
    torch.testing.assert_close(mean, torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(std, torch.tensor([0.229, 0.224, 0.225]))


def test_pictures_are_padded_with_zeros_after_normalising() -> None:
    images = [
        torch.from_numpy(draw_scene(i, *size)).permute(2, 0, 1)
        for i, size in enumerate([(40, 60), (33, 31)])
    ]
    batch = inputs.batch_pixels(images, 32)
    assert batch.shape == (2, 3, 64, 64)
    for row, image in zip(batch, images, strict=True):
        _, height, width = image.shape
        red = (image[0].float() - 123.675) / 58.395
        torch.testing.assert_close(row[0, :height, :width], red)
        assert not row[:, height:].any()
        assert not row[:, :, width:].any()
    exact = torch.zeros(3, 64, 32, dtype=torch.uint8)
    assert inputs.batch_pixels([exact], 32).shape == (1, 3, 64, 32)
