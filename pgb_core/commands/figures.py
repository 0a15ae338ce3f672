"""How figures are printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def figure(value: float | None, form: str) -> str:
    """A number in a format, or that it is not defined."""
    return "not defined" if value is None else f"{value:{form}}"


def held(measured: Mapping[str, Any], ran: bool) -> str:
    """A sentence on how closely a form agrees with the model."""
    if not ran:
        return "not run yet: its runtime or device is not available here"
    if "parity" in measured:
        return f"logits within {measured['parity']['max_difference']:.1e} on {measured['parity']['inputs']} inputs"
    if "equal_answers" not in measured:
        return "the PyTorch model itself"
    drop = round(measured.get("drop", 0.0), 2)
    lost = f", {'gains' if drop < 0 else 'loses'} {abs(drop):.2f} points" if "drop" in measured else ""
    return f"{measured['equal_answers']:.1%} of the answers equal on {measured['inputs']} inputs{lost}"
