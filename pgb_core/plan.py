"""What a compression decided, apart from doing it: sites, groups and their JSON.

Indices are always those of the dense checkpoint. A plan holds no tensors, so a compressed model
can be rebuilt from its plan and its dense weights, and a plan can be read without torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pgb_core.errors import PlanError

SCHEMA_VERSION = 1


class Role(StrEnum):
    """The linear maps of one encoder layer, in the order data meets them."""

    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    ATTENTION_OUTPUT = "attention_output"
    FFN_IN = "ffn_in"
    FFN_OUT = "ffn_out"


ATTENTION = (Role.QUERY, Role.KEY, Role.VALUE, Role.ATTENTION_OUTPUT)
FEED_FORWARD = (Role.FFN_IN, Role.FFN_OUT)


@dataclass(frozen=True, order=True)
class Site:
    """The address of one linear map."""

    layer: int
    role: Role

    def __str__(self) -> str:
        return f"{self.layer}.{self.role}"

    @classmethod
    def parse(cls, text: str) -> Site:
        """Inverse of `str`. Raises PlanError."""
        layer, _, role = text.partition(".")
        try:
            return cls(int(layer), Role(role))
        except ValueError as error:
            raise PlanError(f"plan: {text!r} is not a site such as '0.query'") from error


@dataclass(frozen=True)
class Keep:
    """Leave the matrix dense."""

    shape: tuple[int, int]

    @property
    def cost(self) -> int:
        """Weights kept."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Group:
    """A dense block: every output in `rows` reads every input in `cols`, in this order."""

    rows: tuple[int, ...]
    cols: tuple[int, ...]


@dataclass(frozen=True)
class Grouping:
    """Blocks of one `[out, in]` matrix: rows are disjoint, columns may repeat between groups.

    A row in no group has no weights, only its bias; a grouping without groups drops the matrix.
    All groups are of one size, so that they run as one grouped convolution or batched product.

    Raises PlanError when rows repeat, an index is out of range, or sizes differ.
    """

    groups: tuple[Group, ...]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        rows = [row for group in self.groups for row in group.rows]
        if len(set(rows)) != len(rows):
            raise PlanError(f"grouping {self.shape}: a row stands in two groups; rows must be disjoint")
        if len({(len(g.rows), len(g.cols)) for g in self.groups}) > 1:
            raise PlanError(f"grouping {self.shape}: groups differ in size; make them equal")
        for group in self.groups:
            if not group.rows or not group.cols:
                raise PlanError(f"grouping {self.shape}: an empty group; leave it out")
            if len(set(group.cols)) != len(group.cols):
                raise PlanError(f"grouping {self.shape}: a group names a column twice")
            if not (min(group.rows) >= 0 and max(group.rows) < self.shape[0]):
                raise PlanError(f"grouping {self.shape}: a row is out of range")
            if not (min(group.cols) >= 0 and max(group.cols) < self.shape[1]):
                raise PlanError(f"grouping {self.shape}: a column is out of range")

    @property
    def cost(self) -> int:
        """Weights kept: the sum of |rows| x |cols|."""
        return sum(len(g.rows) * len(g.cols) for g in self.groups)

    @property
    def rows(self) -> tuple[int, ...]:
        """All grouped rows, in group order."""
        return tuple(row for group in self.groups for row in group.rows)

    @property
    def cols(self) -> tuple[int, ...]:
        """All columns that some group reads, ascending."""
        return tuple(sorted({col for group in self.groups for col in group.cols}))


Choice = Keep | Grouping


@dataclass(frozen=True)
class GroupingPlan:
    """The decision for a whole encoder.

    `choices` has every site of the checkpoint; `head_dim` is that of the dense model, so rows of
    query, key and value belong to head `row // head_dim`.
    """

    checkpoint: str
    head_dim: int
    choices: Mapping[Site, Choice] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        """Layers of the dense checkpoint."""
        return 1 + max((site.layer for site in self.choices), default=-1)

    @property
    def cost(self) -> int:
        """Encoder weights kept."""
        return sum(choice.cost for choice in self.choices.values())

    @property
    def dense_cost(self) -> int:
        """Encoder weights of the dense checkpoint."""
        return sum(choice.shape[0] * choice.shape[1] for choice in self.choices.values())

    @property
    def dropped_layers(self) -> tuple[int, ...]:
        """Layers of which nothing is left."""
        return tuple(n for n in range(self.layers) if not any(self.choices[Site(n, role)].cost for role in Role))

    def layer(self, index: int) -> dict[Role, Choice]:
        """The six choices of one layer."""
        return {role: self.choices[Site(index, role)] for role in Role}

    def to_json(self) -> str:
        """A canonical text: the same plan gives the same bytes."""
        return json.dumps(
            {
                "schema": SCHEMA_VERSION,
                "checkpoint": self.checkpoint,
                "head_dim": self.head_dim,
                "choices": dict(_encoded(self.choices)),
            },
            separators=(",", ":"),
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> GroupingPlan:
        """Inverse of `to_json`. Raises PlanError on anything it would not have written."""
        try:
            raw = json.loads(text)
            if raw["schema"] != SCHEMA_VERSION:
                raise PlanError(f"plan: schema {raw['schema']} is unknown; this version reads {SCHEMA_VERSION}")
            choices = {Site.parse(name): _decoded(value) for name, value in raw["choices"].items()}
            return cls(str(raw["checkpoint"]), int(raw["head_dim"]), choices)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"plan: not a grouping plan ({type(error).__name__})") from error


def _encoded(choices: Mapping[Site, Choice]) -> Iterator[tuple[str, Any]]:
    for site, choice in sorted(choices.items(), key=lambda item: (item[0].layer, list(Role).index(item[0].role))):
        if isinstance(choice, Keep):
            yield str(site), {"keep": list(choice.shape)}
        else:
            groups = [[list(g.rows), list(g.cols)] for g in choice.groups]
            yield str(site), {"shape": list(choice.shape), "groups": groups}


def _decoded(value: Any) -> Choice:
    if "keep" in value:
        rows, cols = value["keep"]
        return Keep((int(rows), int(cols)))
    rows, cols = value["shape"]
    groups = tuple(Group(tuple(map(int, r)), tuple(map(int, c))) for r, c in value["groups"])
    return Grouping(groups, (int(rows), int(cols)))


def flops(plan: GroupingPlan, tokens: int, dense: bool = False) -> int:
    """Floating-point operations of the encoder's products for one input of `tokens`, 2 a multiply-add."""
    weights = plan.dense_cost if dense else plan.cost
    channels = 0
    for site, choice in plan.choices.items():
        if site.role in (Role.QUERY, Role.VALUE):
            every = dense or isinstance(choice, Keep)
            channels += choice.shape[0] if every or not isinstance(choice, Grouping) else len(choice.rows)
    return 2 * tokens * weights + 2 * tokens * tokens * channels
