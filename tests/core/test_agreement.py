"""What a form in low precision may lose to the model before the export stops."""

from __future__ import annotations

import numpy as np
import pytest

from pgb_core.errors import ParityError
from pgb_core.export.agreement import agreement
from pgb_core.export.forms import Limits

SURE, UNSURE = np.float32([0.0, 4.0]), np.float32([1.5, 0.0])


def test_one_input_in_a_hundred_may_be_decided_the_other_way() -> None:
    """Where two answers are nearly as likely; it is recorded. Of fewer than 101 inputs none may."""
    want = [SURE] * 200
    one, three = ([UNSURE] * count + [SURE] * (200 - count) for count in (1, 3))
    found = agreement(want, one, "softmax", None, None)
    found.check("int8", Limits())
    assert found.as_json()["largest_change"] > Limits().change
    assert found.as_json()["p99_change"] == 0
    with pytest.raises(ParityError, match=r"moved by 0\.80 or more for one input of a hundred, at most 0\.60"):
        agreement(want, three, "softmax", None, None).check("int8", Limits())
    with pytest.raises(ParityError, match="moved by"):
        agreement(want[:100], one[:100], "softmax", None, None).check("int8", Limits())


def test_too_few_equal_answers_stop_a_form_first() -> None:
    """However little probabilities moved."""
    near = [np.float32([0.01, 0.0])] * 10
    with pytest.raises(ParityError, match=r"only 70\.0% of 10 answers are the same, at least 80% must be"):
        agreement(near, near[:7] + [np.float32([0.0, 0.01])] * 3, "softmax", None, None).check("int8", Limits())
