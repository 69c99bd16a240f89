"""A network in a thread of its own: which batches it gets, and whose error an error is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from unsam_cli.errors import UnsamError
from unsam_cli.run.batching import Batcher, Network

Words = list[str]


def run(
    items: Sequence[Words], batch_size: int, jobs: int = 2
) -> tuple[list[object], list[Words], set[int]]:
    """Words of equal length are upper-cased together; an item's result is a sentence."""
    batches: list[Words] = []
    threads: set[int] = set()

    def compute(words: Sequence[str]) -> list[str]:
        threads.add(threading.get_ident())
        batches.append(list(words))
        if "bad" in words:
            raise RuntimeError("no such word")
        return [word.upper() for word in words]

    def finish(item: Words, outputs: Sequence[str]) -> str:
        if item == ["unfinished"]:
            raise UnsamError("cannot be finished")
        return " ".join(outputs)

    network: Network[Words, str, str, str] = Network(list, len, compute, finish)
    with ThreadPoolExecutor(jobs) as pool, Batcher(network, pool, batch_size) as batcher:
        pairs = list(batcher.results(items, lambda item: pool.submit(list, item), ahead=jobs))
    assert [item for item, _ in pairs] == list(items)
    return [result for _, result in pairs], batches, threads


ITEMS = [["a", "to", "of"], [], ["b"], ["the", "so"], ["c", "d"]]


@pytest.mark.parametrize("jobs", [1, 4])
def test_inputs_of_one_kind_share_batches_in_order(jobs: int) -> None:
    results, batches, threads = run(ITEMS, 3, jobs)
    assert results == ["A TO OF", "", "B", "THE SO", "C D"]
    # The third word of two letters comes with the fourth item; "a" has waited for three by then.
    assert batches == [["to", "of", "so"], ["a", "b"], ["the"], ["c", "d"]]
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_one_by_one() -> None:
    results, batches, _ = run(ITEMS, 1)
    assert results == ["A TO OF", "", "B", "THE SO", "C D"]
    assert [word for [word] in batches] == ["a", "to", "of", "b", "the", "so", "c", "d"]


def test_errors_belong_to_the_items_of_the_batch() -> None:
    items = [["fine"], ["bad", "word"], ["sad"], ["unfinished"], ["good"]]
    results, _, _ = run(items, 2)
    assert results[0] == "FINE"
    assert results[4] == "GOOD"
    assert [type(result).__name__ for result in results[1:4]] == [
        "ItemError",
        "ItemError",
        "UnsamError",
    ]
    assert "no such word" in str(results[1])
