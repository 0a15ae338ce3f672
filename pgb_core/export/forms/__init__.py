"""The forms of a graph, one file a layout. A new one is a file and a line of `FORMS`."""

from __future__ import annotations

from functools import partial

from pgb_core.export.forms.base import Form
from pgb_core.export.forms.channels_first import channels_first
from pgb_core.export.forms.token_major import token_major

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("fused", token_major, baseline="dense, fused"),
        Form("cpu", channels_first, baseline="dense, channels-first"),
        Form("gpu", partial(channels_first, target="gpu")),
    )
}

__all__ = ["FORMS", "Form"]
