"""Every single match is that of pycocotools, on scenes made to be ambiguous."""

from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import Scene, box, evaluated, random_scene, sets_of
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as cocomask

from unsam_cli.evaluation.matches import RANGES, THRESHOLDS, unpack
from unsam_cli.evaluation.matching import NO_VALUE, candidates, match

# Few places and sides: equal masks, equal IoUs, IoUs of exactly 0.5 and 0.75, empty masks. With a
# side of 32 or 96 areas are at the limits of the size ranges.
PLACES = st.tuples(st.sampled_from([0, 16, 24, 100]), st.sampled_from([0, 8, 100]))
SIDES = st.sampled_from([0, 16, 31, 32, 33, 64, 96])
BOXES = st.tuples(PLACES, SIDES, SIDES).map(lambda b: box(*b[0], b[1], b[2]))
AREAS = st.sampled_from([None, None, None, -1, 0, 1024, 1024.5, 9216, 9215.5, 1e10, 2e10])
TRUTH = st.tuples(BOXES, AREAS, st.sampled_from([0, 0, 0, 1]))
FOUND = st.tuples(BOXES, st.sampled_from([0.0, 0.25, 0.5, -1.5]))


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    scene = Scene()
    for _ in range(draw(st.integers(1, 3))):
        image = scene.image()
        for mask, area, crowd in draw(st.lists(TRUTH, max_size=6)):
            area = {} if area is None else {"area": area}
            scene.add_truth(image, mask, iscrowd=crowd, **area)
        for mask, score in draw(st.lists(FOUND, max_size=8)):
            scene.add_found(image, mask, score)
    return scene


def assert_as_pycocotools(scene: Scene) -> None:
    details = iter(evaluated(scene).evalImgs)
    expected = [next(details) for _ in RANGES for _ in scene.images]
    for place, image in enumerate(scene.images):
        found = match(candidates(*sets_of(scene, image["id"])))
        for a in range(len(RANGES)):
            theirs = expected[a * len(scene.images) + place]
            if theirs is None:  # nothing in the image
                assert found.scores.size == found.positives[a] == 0
                continue
            assert found.scores.tolist() == theirs["dtScores"]
            assert found.positives[a] == (theirs["gtIgnore"] == 0).sum()
            for t in range(len(THRESHOLDS)):
                np.testing.assert_array_equal(
                    unpack(found.matched[a], t), theirs["dtMatches"][t] > 0
                )
                np.testing.assert_array_equal(unpack(found.ignored[a], t), theirs["dtIgnore"][t])


@given(scenes())
def test_ambiguous_scenes(scene: Scene) -> None:
    assert_as_pycocotools(scene)


@pytest.mark.parametrize("seed", range(8))
def test_random_scenes(seed: int) -> None:
    assert_as_pycocotools(random_scene(seed, scores=3))


@pytest.mark.parametrize("seed", range(4))
def test_candidates_are_all_pairs_that_reach_half(seed: int) -> None:
    scene = random_scene(seed)
    for image in scene.images:
        truth, found = sets_of(scene, image["id"])
        rles = found.table.to_rles(), truth.table.to_rles()
        ious = np.zeros((len(found.table), len(truth.table)))
        if ious.size:
            ious = cocomask.iou(*rles, truth.crowd.astype(int).tolist())
        pairs = candidates(truth, found)
        left = np.repeat(np.arange(len(found.table)), np.diff(pairs.starts))
        assert np.argwhere(ious >= 0.5).tolist() == np.stack([left, pairs.partner]).T.tolist()
        assert pairs.iou.tolist() == ious[left, pairs.partner].tolist()


def test_of_no_value_nothing_counts() -> None:
    truth, found = sets_of(random_scene(2), 1)
    matches = match(candidates(truth, found), value=NO_VALUE)
    assert not matches.positives.any()
    assert not (matches.matched & ~matches.ignored).any()
