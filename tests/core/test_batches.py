"""Batches to learn from: few widths, within the model's, and no change to what is computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pgb_core.learn.batches import PARTS, batch_of, grouped, width
from pgb_core.learn.teacher import Teacher
from pgb_core.tasks.features import Features, collate
from tests.conftest import TASKS, small_encoder


def inputs(lengths: list[int]) -> list[Features]:
    """One of each length."""
    return [Features([2, *[5 + n % 7] * (size - 2), 3], [0] * size, None, n) for n, size in enumerate(lengths)]


def test_widths_are_few_and_little_above_the_length() -> None:
    """At most four between a length and its double; at most a quarter more, and each is its own width."""
    found = [width(length) for length in range(1, 513)]
    assert all(0 <= wide - length <= length / PARTS for length, wide in enumerate(found, 1))
    assert found == sorted(found)
    assert all(width(wide) == wide for wide in found)
    assert len({wide for wide in found if 64 < wide <= 512}) == 3 * PARTS


def test_batches_of_an_epoch_have_few_shapes_and_no_more_tokens_than_asked() -> None:
    """Also where the model's longest input is no such width; each input is in one batch."""
    model = replace(small_encoder("bert", "qa").config, positions=57)
    data = inputs(list(range(20, 58)) * 9)
    found = grouped(data, 512, seed=3)
    batches = [batch_of(group, model) for group in found]
    shapes = {tuple(batch.input_ids.shape) for batch in batches}
    assert max(columns for _, columns in shapes) == model.max_length == 57
    assert all(rows * columns <= 512 for rows, columns in shapes)
    assert {columns for _, columns in shapes} <= {min(width(length), 57) for length in range(20, 58)}
    assert len(shapes) < len({len(item.ids) for item in data}) / 2
    assert sorted(item.row for group in found for item in group) == list(range(len(data)))


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("task", TASKS)
def test_a_teacher_s_outputs_are_as_wide_as_the_batch(task: str) -> None:
    """Those that are kept, and those that are not; at the tokens of the texts they are those of the plain batch."""
    dense = small_encoder("bert", task)
    data = inputs([9, 17, 21])
    batch, plain = batch_of(data, dense.config), collate(data, dense.config.pad_id)
    assert batch.input_ids.shape[1] > plain.input_ids.shape[1]
    with torch.no_grad():
        (known, states), (asked, others) = Teacher(dense, data)(data, batch), Teacher(dense, data, 0)(data, batch)
        wanted = dense(plain.input_ids, plain.attention_mask, plain.token_type_ids)
    assert known.shape == asked.shape
    assert all(states[n].shape == others[n].shape for n in others)
    for row, item in enumerate(data):
        real = slice(len(item.ids)) if task == "qa" else slice(None)
        torch.testing.assert_close(known[row][real], wanted[row][real], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(asked[row][real], wanted[row][real], rtol=1e-4, atol=1e-4)
