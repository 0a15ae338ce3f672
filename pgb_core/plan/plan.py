"""The plan of a whole encoder, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgb_core.errors import PlanError
from pgb_core.plan.kinds import Choice, Keep, Shape, decoded
from pgb_core.plan.patterns import Pattern
from pgb_core.plan.sites import ORDER, WRITING, Role, Site

PLAN_SCHEMA = 3
BEFORE = 2  # the schema of plans without exact maps and patterns, which is read too


@dataclass(frozen=True)
class Plan:
    """What becomes of every linear map of an encoder.

    `choices` has every site of the checkpoint; `head_dim` is that of the dense model, so rows of
    query, key and value belong to head `row // head_dim`.

    `stream` is an order of the residual stream for the whole model: the dense channel at each position. None is the
    checkpoint's own order. With a stream, the choices' indices of the stream's channels (columns of the maps that read
    it, rows of those that write to it) are those of the dense matrix in that order, so the first k positions are the
    columns 0 to k - 1.

    `patterns` has the heads of each layer whose attention is fixed. They keep rows of the value, and none of query and
    key.

    `made_for` is the form, and the instruction sets, by whose prices the parts were weighed; empty when by none.

    `exact` are the maps that stay in float32 in forms whose products are in int8.

    Raises PlanError when the stream does not name each of its channels once, or when `exact` names a map that is none
    of the choices.
    """

    checkpoint: str
    head_dim: int
    choices: Mapping[Site, Choice] = field(default_factory=dict)
    stream: tuple[int, ...] | None = None
    made_for: str = ""
    patterns: Mapping[int, Mapping[int, Pattern]] = field(default_factory=dict)
    exact: frozenset[Site] = frozenset()

    def __post_init__(self) -> None:
        if not self.exact <= self.choices.keys():
            raise PlanError(f"plan: {min(self.exact - self.choices.keys())} is to be exact and has no choice")
        if self.stream is None:
            return
        if sorted(self.stream) != list(range(len(self.stream))):
            raise PlanError("plan: the stream does not name each of its channels once")
        for site, choice in self.choices.items():
            size = choice.shape[0 if site.role in WRITING else 1]
            if size != len(self.stream):
                raise PlanError(f"plan: the stream has {len(self.stream)} channels, {site} is for {size}")

    @classmethod
    def whole(cls, checkpoint: str, head_dim: int, shapes: Mapping[Site, Shape]) -> Plan:
        """Everything stays. shapes: of the dense maps."""
        return cls(checkpoint, head_dim, {site: Keep(shape) for site, shape in shapes.items()})

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

    @property
    def attends(self) -> bool:
        """Whether attention is left in any layer. Where none is, no token sees another one."""
        carrying = (Role.VALUE, Role.ATTENTION_OUTPUT)
        return any(all(self.choices[Site(n, role)].cost for role in carrying) for n in range(self.layers))

    def layer(self, index: int) -> dict[Role, Choice]:
        """The six choices of one layer."""
        return {role: self.choices[Site(index, role)] for role in Role}

    def to_json(self) -> str:
        """A canonical text: the same plan gives the same bytes."""
        ordered = sorted(self.choices.items(), key=lambda item: (item[0].layer, ORDER[item[0].role]))
        return json.dumps(
            {
                "schema": PLAN_SCHEMA,
                "checkpoint": self.checkpoint,
                "head_dim": self.head_dim,
                "made_for": self.made_for,
                "stream": self.stream,
                "patterns": {
                    str(layer): {str(head): str(pattern) for head, pattern in sorted(heads.items())}
                    for layer, heads in sorted(self.patterns.items())
                },
                "exact": [str(site) for site, _ in ordered if site in self.exact],
                "choices": {str(site): choice.encoded() for site, choice in ordered},
            },
            separators=(",", ":"),
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Inverse of `to_json`. Raises PlanError on anything it would not have written."""
        try:
            raw = json.loads(text)
            if raw["schema"] not in (BEFORE, PLAN_SCHEMA):
                known = f"{BEFORE} and {PLAN_SCHEMA}"
                raise PlanError(f"plan: schema {raw['schema']} is unknown; this version reads {known}")
            if raw["schema"] == BEFORE:
                raw |= {"patterns": {}, "exact": []}
            choices = {Site.parse(name): decoded(value) for name, value in raw["choices"].items()}
            stream = None if raw["stream"] is None else tuple(map(int, raw["stream"]))
            patterns = {
                int(layer): {int(head): Pattern(pattern) for head, pattern in heads.items()}
                for layer, heads in raw["patterns"].items()
            }
            exact = frozenset(Site.parse(name) for name in raw["exact"])
            checkpoint, made_for = str(raw["checkpoint"]), str(raw["made_for"])
            return cls(checkpoint, int(raw["head_dim"]), choices, stream, made_for, patterns, exact)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"plan: not a plan ({type(error).__name__})") from error


def flops(plan: Plan, tokens: int, dense: bool = False) -> int:
    """Floating-point operations of the encoder's products for one input of `tokens`, 2 a multiply-add."""
    products = plan.dense_cost if dense else sum(choice.products for choice in plan.choices.values())
    sites = [site for site in plan.choices if site.role in (Role.QUERY, Role.VALUE)]
    channels = sum(plan.choices[site].shape[0] if dense else _between_tokens(plan, site) for site in sites)
    return 2 * tokens * products + 2 * tokens * tokens * channels


def _between_tokens(plan: Plan, site: Site) -> int:
    """Rows of a query or value that take part in a product between tokens; shifts and means take none."""
    rows, fixed = plan.choices[site].rows, plan.patterns.get(site.layer, {})
    free = {head for head, pattern in fixed.items() if not pattern.context}
    return sum(row // plan.head_dim not in free for row in rows) if free else len(rows)
