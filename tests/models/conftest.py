"""Tiny segmenters with random weights."""

from __future__ import annotations

import pytest
from segmenter_models import CONFIGS, make_segmenter

from unsam_cli.models.segmenter import Segmenter


@pytest.fixture(params=list(CONFIGS))
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    """Return a segmenter of each architecture, in evaluation mode."""
    return make_segmenter(request.param)


@pytest.fixture
def mask2former() -> Segmenter:
    """Return a Mask2Former in double precision, in evaluation mode."""
    return make_segmenter("mask2former").double()


@pytest.fixture
def eomt() -> Segmenter:
    """Return an EoMT in evaluation mode; in double precision, transformers' own masks fail."""
    return make_segmenter("eomt")
