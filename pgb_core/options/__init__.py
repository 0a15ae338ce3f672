"""What may be chosen, by the names that settings have, without torch. `pgb_core.methods` has the methods themselves."""

from __future__ import annotations

from pgb_core.options.base import MethodOptions
from pgb_core.options.magnitude import MagnitudeOptions
from pgb_core.options.pgb import PGBOptions

METHODS: dict[str, type[MethodOptions]] = {
    "pgb": PGBOptions,
    "magnitude": MagnitudeOptions,
}
# Forms of the exported graph; `pgb_core.export.forms` writes them.
TARGETS = ("cpu", "gpu")

__all__ = ["METHODS", "TARGETS", "MethodOptions", "PGBOptions"]
