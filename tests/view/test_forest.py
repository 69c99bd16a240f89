from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unsam_cli.io.masks import Annotation
from unsam_cli.view.hierarchy import _measured, forest

Make = Callable[..., Annotation]


def test_named_parents_are_used(house: list[Annotation]) -> None:
    tree = forest(house)
    assert tree.parents.tolist() == [-1, 0, 0, 2, -1]
    assert tree.depths.tolist() == [0, 1, 1, 2, 0]
    assert tree.order.tolist() == [0, 4, 2, 1, 3]
    assert tree.areas.tolist() == [21000, 2100, 2500, 400, 9600]


def test_unnamed_parents_are_found(plain_house: list[Annotation]) -> None:
    tree = forest(plain_house)  # pane, door, tree, house, window
    assert tree.parents.tolist() == [4, 3, -1, -1, 3]
    assert tree.depths.tolist() == [2, 1, 0, 0, 1]


def test_what_is_shown_and_what_has_parts(house: list[Annotation]) -> None:
    tree = forest(house)
    assert tree.revealed(1).tolist() == [True, True, True, False, True]
    assert tree.revealed(None).all()
    assert tree.wholes(tree.revealed(0)).tolist() == [False] * 5
    assert tree.wholes(tree.revealed(1)).tolist() == [True, False, False, False, False]
    assert tree.wholes(tree.revealed(2)).tolist() == [True, False, True, False, False]


def test_unknown_parents_and_circles(make: Make) -> None:
    box = (10, 10, 20, 20)
    named = {1: 99, 2: 3, 3: 4, 4: 2, 5: 5, 6: 2}
    tree = forest([make(number, box, parent_id=parent) for number, parent in named.items()])
    assert tree.parents[0] == -1
    assert tree.parents[4] == -1
    assert (tree.parents[[1, 2, 3]] == -1).sum() == 1
    assert tree.depths.max() <= 3


def test_no_masks() -> None:
    tree = forest([])
    assert tree.order.shape == tree.parents.shape == tree.depths.shape == (0,)


@given(st.lists(st.integers(-1, 30), max_size=30))
def test_depths_are_those_of_the_parents(numbers: list[int]) -> None:
    parents, depths = _measured([n if n < len(numbers) else -1 for n in numbers])
    roots = parents < 0
    assert (depths[roots] == 0).all()
    assert np.array_equal(depths[~roots], depths[parents[~roots]] + 1)
