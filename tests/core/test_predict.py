"""Logits that are computed once."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from pgb_core.model.predict import remembering


@given(
    batches=st.lists(
        st.lists(
            st.integers(1, 4).flatmap(
                lambda size: st.tuples(
                    st.lists(st.integers(0, 3), min_size=size, max_size=size),
                    st.lists(st.integers(0, 1), min_size=size, max_size=size),
                )
            ),
            max_size=5,
        ),
        max_size=4,
    ),
    most=st.integers(0, 6),
)
def test_an_input_that_is_known_is_not_computed_again(
    batches: list[list[tuple[list[int], list[int]]]], most: int
) -> None:
    """Whatever comes in which order: the answers are the model's own, and what is held is computed once."""
    asked: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def predict(batch: Sequence[Tokens]) -> list[Logits]:
        assert len(batch)
        asked.extend((tuple(item.ids), tuple(item.types)) for item in batch)
        whole = np.array([[sum(item.ids), 10 * len(item.ids) + sum(item.types)] for item in batch], np.float32)
        return list(whole)

    run = remembering(predict, most)
    for batch in batches:
        found = run([Tokens(ids, types) for ids, types in batch])
        assert [row.tolist() for row in found] == [[sum(i), 10 * len(i) + sum(t)] for i, t in batch]
    first = list(dict.fromkeys(asked))[:most]
    apart = [{(tuple(i), tuple(t)) for i, t in batch} for batch in batches]
    for one in first:
        assert asked.count(one) <= max(batch.count(([*one[0]], [*one[1]])) for batch in batches)
    assert set(asked) == set().union(*apart)


def test_held_logits_do_not_change() -> None:
    """They are not a part of an array that the model goes on using."""
    room = np.zeros((1, 2), np.float32)

    def predict(batch: Sequence[Tokens]) -> list[Logits]:
        room[:] = len(batch[0].ids)
        return list(room)

    run = remembering(predict)
    run([Tokens([1], [0])])
    run([Tokens([1, 2], [0, 0])])
    assert run([Tokens([1], [0])])[0].tolist() == pytest.approx([1, 1])
