"""The commands of `pgb`, one file each. Heavy modules are imported inside them."""

from __future__ import annotations

from pgb_core.commands import bench, compare, compress, demo, evaluate, inspect, plan_capacity, push, serve
from pgb_core.commands.base import Command

COMMANDS: dict[str, Command] = {
    "compress": compress.COMMAND,
    "compare": compare.COMMAND,
    "evaluate": evaluate.COMMAND,
    "inspect": inspect.COMMAND,
    "bench": bench.COMMAND,
    "push": push.COMMAND,
    "serve": serve.COMMAND,
    "plan-capacity": plan_capacity.COMMAND,
    "demo": demo.COMMAND,
}

__all__ = ["COMMANDS", "Command"]
