"""The plan: what a compression decided for each linear map, and its JSON. It does not carry the decision out.

A plan has no tensors. A compressed model can be made again from its plan and its dense weights, and a plan can be read
without torch.
"""

from pgb_core.plan.kinds import Choice, Group, Grouping, Keep, block, nothing
from pgb_core.plan.patterns import Pattern
from pgb_core.plan.plan import Plan, flops
from pgb_core.plan.sites import ATTENTION, FEED_FORWARD, WRITING, Role, Site

__all__ = [
    "ATTENTION",
    "FEED_FORWARD",
    "WRITING",
    "Choice",
    "Group",
    "Grouping",
    "Keep",
    "Pattern",
    "Plan",
    "Role",
    "Site",
    "block",
    "flops",
    "nothing",
]
