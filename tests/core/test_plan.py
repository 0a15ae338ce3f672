"""Plans: validity, cost and JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgb_core.errors import PlanError
from pgb_core.plan import WRITING, Choice, Group, Grouping, Keep, Plan, Role, Site, flops

SHAPE = (12, 8)


@st.composite
def groupings(draw: st.DrawFn) -> Choice:
    """A dense matrix, a dropped one, or equal groups."""
    count = draw(st.integers(-1, 3))
    if count < 0:
        return Keep(SHAPE)
    size, width = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    rows = draw(st.permutations(range(12)))
    cols = [draw(st.permutations(range(8)))[:width] for _ in range(count)]
    return Grouping(tuple(Group(tuple(rows[g * size : (g + 1) * size]), tuple(cols[g])) for g in range(count)), SHAPE)


@given(choices=st.lists(groupings(), min_size=6, max_size=6), order=st.none() | st.permutations(range(8)))
@settings(max_examples=50, deadline=None)
def test_a_plan_round_trips_through_json_byte_for_byte(choices: list[Choice], order: list[int] | None) -> None:
    """Equal plans have equal bytes, and nothing is lost."""
    sites = {Site(0, role): choice for role, choice in zip(Role, choices, strict=True)}
    if order is not None:  # what writes to the stream has as many rows as it has channels
        sites |= {Site(0, role): Keep((8, 12)) for role in WRITING}
    plan = Plan("digest", 4, sites, None if order is None else tuple(order))
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.to_json() == plan.to_json()
    assert 0 <= plan.cost <= plan.dense_cost == 6 * 96


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ((Group((0, 1), (0,)), Group((1, 2), (1,))), "two groups"),
        ((Group((0, 1), (0,)), Group((2,), (1,))), "differ in size"),
        ((Group((0, 12), (0,)),), "row is out of range"),
        ((Group((0,), (8,)),), "column is out of range"),
        ((Group((0,), (1, 1)),), "column twice"),
        ((Group((), ()),), "empty group"),
    ],
)
def test_an_invalid_grouping_cannot_be_made(groups: tuple[Group, ...], reason: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(PlanError, match=reason):
        Grouping(groups, SHAPE)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [((0, 1, 1, 2), "each of its channels once"), ((1, 2, 3, 4), "each of its"), ((0, 1, 2), "3 channels, 0.query is")],
)
def test_a_stream_is_an_order_of_the_channels(stream: tuple[int, ...], reason: str) -> None:
    """All of them, once each."""
    choices = {Site(0, role): Keep((4, 4)) for role in Role}
    with pytest.raises(PlanError, match=reason):
        Plan("", 4, choices, stream)


def test_a_plan_says_its_stream_and_what_it_was_made_for() -> None:
    """Whether it has them or not."""
    choices = {Site(0, role): Keep((2, 2)) for role in Role}
    for plan in (Plan("", 2, choices), Plan("", 2, choices, (1, 0), "int8, avx2")):
        raw = json.loads(plan.to_json())
        assert (raw["schema"], raw["made_for"]) == (3, plan.made_for)
        assert raw["stream"] == (None if plan.stream is None else list(plan.stream))
        assert Plan.from_json(plan.to_json()) == plan


def test_a_plan_of_the_schema_before_is_read() -> None:
    """None of its maps is exact."""
    plan = Plan("", 2, {Site(0, role): Keep((2, 2)) for role in Role}, exact=frozenset({Site(0, Role.KEY)}))
    raw = json.loads(plan.to_json())
    assert raw.pop("exact") == ["0.key"]
    with pytest.raises(PlanError, match="not a plan"):
        Plan.from_json(json.dumps(raw))
    assert Plan.from_json(json.dumps({**raw, "schema": 2})).exact == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 9}',
        '{"schema":3,"checkpoint":"x","head_dim":4,"choices":{}}',
        '{"schema":1,"checkpoint":"x","head_dim":4,"choices":{"0.nose":{"keep":[1,1]}}}',
    ],
)
def test_anything_else_is_not_a_plan(text: str) -> None:
    """Malformed text is one clear error."""
    with pytest.raises(PlanError):
        Plan.from_json(text)


def test_flops_count_products_between_tokens_too() -> None:
    """Against a hand count for one layer: 6 maps of 4 x 4 and one head of 4 channels at 10 tokens."""
    plan = Plan("", 4, {Site(0, role): Keep((4, 4)) for role in Role})
    assert flops(plan, 10) == 2 * 10 * 6 * 16 + 2 * (2 * 10 * 10 * 4)
    assert flops(plan, 10, dense=True) == flops(plan, 10)
