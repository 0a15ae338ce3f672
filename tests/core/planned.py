"""Plans on random importance, for tests of what comes after planning."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pgb_core.model.encoder import Encoder
from pgb_core.plan import Choice, Group, Grouping, Keep, Pattern, Plan, Role, Site, nothing
from pgb_core.prices import table_of
from pgb_core.search import planning
from pgb_core.tasks import TASKS


def dense_plan(model: Encoder) -> Plan:
    """Everything stays."""
    choices = {site: Keep((linear.out_features, linear.in_features)) for site, linear in model.sites().items()}
    return Plan("test", model.config.head_dim, choices)


def nested_plan(model: Encoder) -> Plan:
    """An order of the stream of which maps read the first channels; a dropped sublayer, a dropped layer, and a layer
    of which all is kept.

    For 4 layers of width 96 with 6 heads of 16 and 384 neurons.
    """
    wide, tall, flat = (96, 96), (384, 96), (96, 384)
    g = torch.Generator().manual_seed(6)
    every = range(96)
    scored = [16 * head + channel for head in (1, 2, 4) for channel in (2, 3, 5, 7, 8, 9, 11, 15)]
    mixed = [16 * head + channel for head in (1, 2, 4) for channel in range(4, 16)]
    neurons = sorted(torch.randperm(384, generator=g)[:120].tolist())

    def block(rows: Sequence[int], cols: Sequence[int], shape: tuple[int, int]) -> Choice:
        return Grouping((Group(tuple(rows), tuple(cols)),), shape)

    shapes = dict(zip(Role, (wide, wide, wide, wide, tall, flat), strict=True))
    choices: dict[Site, Choice] = {Site(n, role): nothing(shapes[role]) for n in range(4) for role in Role}
    choices |= {
        Site(0, Role.QUERY): block(scored, range(32), wide),
        Site(0, Role.KEY): block(scored, range(32), wide),
        Site(0, Role.VALUE): block(mixed, range(32), wide),
        Site(0, Role.ATTENTION_OUTPUT): block(every, mixed, wide),
        Site(0, Role.FFN_IN): block(neurons, range(64), tall),
        Site(0, Role.FFN_OUT): block(every, neurons, flat),
        Site(2, Role.FFN_IN): block(range(384), range(32), tall),
        Site(2, Role.FFN_OUT): Keep(flat),
        **{Site(3, role): Keep(shapes[role]) for role in Role},
    }
    if not TASKS[model.config.task].per_token:  # the last layer is the one that is computed for the first token alone
        choices |= {Site(3, role): choices[Site(0, role)] for role in Role}
    return Plan("test", model.config.head_dim, choices, tuple(torch.randperm(96, generator=g).tolist()))


def random_plan(model: Encoder, keep: float, structure: str, seed: int = 0) -> Plan:
    """What the planner makes of heavy-tailed random importance that fades with depth."""
    g = torch.Generator().manual_seed(seed)
    scores = {
        site: torch.rand(linear.out_features, linear.in_features, generator=g) ** 8 / (1 + 2 * site.layer)
        for site, linear in model.sites().items()
    }
    menus = planning.make_menus(
        scores, model.config.head_dim, planning.Search(table_of("fp32").prices, structure, passes=2)
    )
    return planning.choose(menus, keep, "test", model.config.head_dim)


def hand_plan(model: Encoder) -> Plan:
    """Every kind of choice at once: crossing groups, columns shared between groups, rows in no group,
    heads and neurons gone, a dropped sublayer and a dropped layer.

    For 4 layers of width 96 with 6 heads of 16 and 384 neurons.
    """
    wide, tall = (96, 96), (384, 96)
    g = torch.Generator().manual_seed(5)

    def blocks(rows: list[int], count: int, cols: int, shape: tuple[int, int], inputs: list[int]) -> Grouping:
        size = len(rows) // count
        picked = [[inputs[i] for i in torch.randperm(len(inputs), generator=g)[:cols].tolist()] for _ in range(count)]
        return Grouping(
            tuple(Group(tuple(rows[n * size : (n + 1) * size]), tuple(picked[n])) for n in range(count)), shape
        )

    heads = [4, 1, 2, 0]
    channels = [16 * h + c for h in heads for c in (3, 0, 9, 12, 5, 14, 7, 8)]
    crossed = [channels[i] for i in torch.randperm(len(channels), generator=g).tolist()]
    values = [16 * h + c for h in heads for c in range(12)]
    neurons = torch.randperm(384, generator=g)[:120].tolist()
    every, inputs = list(range(96)), list(range(96))
    dropped = {
        role: Grouping((), shape) for role, shape in zip(Role, (wide, wide, wide, wide, tall, (96, 384)), strict=True)
    }
    choices = {
        Site(0, Role.QUERY): blocks(channels, 4, 40, wide, inputs),
        Site(0, Role.KEY): blocks(crossed, 2, 60, wide, inputs),
        Site(0, Role.VALUE): blocks(values, 2, 50, wide, inputs),
        Site(0, Role.ATTENTION_OUTPUT): blocks(every[::-1], 3, 30, wide, values),
        Site(0, Role.FFN_IN): blocks(neurons, 3, 64, tall, inputs),
        Site(0, Role.FFN_OUT): blocks(every[:60], 2, 100, (96, 384), neurons),
        **{Site(1, role): choice for role, choice in dropped.items()},
        **{Site(2, role): Keep(wide) for role in list(Role)[:4]},
        **{Site(2, role): dropped[role] for role in list(Role)[4:]},
        **{Site(3, role): dropped[role] for role in list(Role)[:4]},
        Site(3, Role.FFN_IN): Keep(tall),
        Site(3, Role.FFN_OUT): blocks(every, 2, 384, (96, 384), list(range(384))),
    }
    return Plan("test", model.config.head_dim, choices)


def patterned_plan(model: Encoder) -> Plan:
    """Every fixed pattern, beside heads that learn and in layers without one; heads gone, and narrower ones.

    For 4 layers of width 96 with 6 heads of 16.
    """
    plan, wide = dense_plan(model), (96, 96)
    patterns = {
        0: {5: Pattern.LEFT, 2: Pattern.RIGHT, 3: Pattern.NEXT},
        1: dict(zip(range(6), [*[*Pattern][:5], Pattern.RIGHT], strict=True)),
        2: dict.fromkeys(range(6), Pattern.UNIFORM),
        3: dict(zip((0, 1, 2, 4, 5), [*Pattern][3:], strict=True)),
    }

    def block(rows: Sequence[int], cols: Sequence[int]) -> Choice:
        return Grouping((Group(tuple(rows), tuple(cols)),), wide) if rows else nothing(wide)

    choices = dict(plan.choices)
    for layer, fixed in patterns.items():
        kept, width = ((1, 2, 3, 4, 5), 12) if layer == 0 else (range(6), 16)
        scored = [16 * head + n for head in kept if head not in fixed for n in range(width)]
        values = [16 * head + n for head in kept for n in range(16)]
        choices |= {Site(layer, role): block(scored, range(96)) for role in (Role.QUERY, Role.KEY)}
        choices[Site(layer, Role.VALUE)] = block(values, range(96))
        choices[Site(layer, Role.ATTENTION_OUTPUT)] = block(range(96), values)
    return Plan("test", model.config.head_dim, choices, patterns=patterns)
