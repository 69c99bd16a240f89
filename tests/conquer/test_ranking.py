from __future__ import annotations

import numpy as np

from unsam_cli.conquer.merge import merge_tree
from unsam_cli.conquer.ranking import growths, merit


def test_growth_is_the_share_that_the_next_merge_adds() -> None:
    """Patches 0 and 1 are alike, 2 joins them, then 3; patch 4 has no neighbour."""
    features = np.array([[10.0, 0], [10, 0.1], [10, 2], [10, 9], [0, 1]])
    tree = merge_tree(features, np.array([[0, 1], [1, 2], [2, 3]]))
    assert tree.children.tolist() == [[0, 1], [2, 5], [3, 6]]
    found = growths(tree, np.array([0, 2, 5, 6, 7, 4]))
    np.testing.assert_allclose(found, [1 / 2, 2 / 3, 1 / 3, 1 / 4, 1, 1])


def test_each_property_moves_a_mask_in_its_direction() -> None:
    usual = {
        "distance": 0.5,
        "share": 0.1,
        "roughness": 5.0,
        "contrast": 4.0,
        "cut": 0.1,
        "blank": 0.2,
        "recurrence": 0.4,
        "growth": 0.3,
    }

    def score(**changes: float) -> float:
        values = {name: np.array([value]) for name, value in (usual | changes).items()}
        return float(merit(**values)[0])

    for name in ("distance", "share", "contrast", "recurrence", "growth"):
        assert score(**{name: usual[name] * 1.5}) > score() > score(**{name: usual[name] * 0.5})
    for name in ("roughness", "cut", "blank"):
        assert score(**{name: usual[name] * 1.5}) < score() < score(**{name: usual[name] * 0.9})
    assert 0 < score() < 1
