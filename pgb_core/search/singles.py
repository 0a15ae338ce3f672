"""Chooses the single weights that are worth most, and what is left of each matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pgb_core.plan import FEED_FORWARD, Choice, Role, Site, nothing
from pgb_core.plan.kinds import Masked

Values = Mapping[Site, Tensor]  # what each weight is worth, [out, in] each


def largest(values: Values, keep: float) -> dict[Site, Tensor]:
    """Masks [out, in] of a share `keep` of all weights, those that are worth most; of equal ones the first."""
    mask = _largest(torch.cat([matrix.flatten() for matrix in values.values()]), keep)
    parts = mask.split([matrix.numel() for matrix in values.values()])
    return {site: part.view_as(values[site]) for site, part in zip(values, parts, strict=True)}


def largest_of_each(values: Values, keep: float) -> dict[Site, Tensor]:
    """The same share of every matrix."""
    return {site: _largest(matrix.flatten(), keep).view_as(matrix) for site, matrix in values.items()}


def largest_written(values: Values, keep: float) -> dict[Site, Tensor]:
    """As `largest`, but nothing is spent on a sublayer that would write nothing: others get its share."""
    masks = largest(values, keep)
    while wasted := [site for site, mask in masks.items() if bool(mask.any()) and not bool(masks[_writer(site)].any())]:
        gone = {*wasted, *map(_writer, wasted)}
        values = {**values, **{site: torch.full_like(values[site], -torch.inf) for site in gone}}
        masks = {site: mask & (values[site] > -torch.inf) for site, mask in largest(values, keep).items()}
    return masks


def edge(values: Values, keep: float) -> float:
    """What the most worthy weight is worth that is not among a share `keep` of all; 0 where all are."""
    sizes = torch.cat([matrix.flatten() for matrix in values.values()])
    beyond = len(sizes) - int(keep * len(sizes))
    return float(sizes.kthvalue(beyond).values) if beyond else 0.0


def single_choices(masks: Values) -> dict[Site, Choice]:
    """What is left of every matrix when these weights are.

    A sublayer that writes nothing any more is dropped, and what was kept of it is not counted.
    """
    found: dict[Site, Choice] = {}
    for site, mask in masks.items():
        shape = (mask.shape[0], mask.shape[1])
        found[site] = Masked(shape, packed(mask)) if bool(masks[_writer(site)].any()) else nothing(shape)
    return found


def packed(mask: Tensor) -> bytes:
    """The bits of a choice, from a mask [out, in] of 0 and 1."""
    return np.packbits(mask.cpu().numpy().astype(bool), axis=1).tobytes()


def _writer(site: Site) -> Site:
    """The map by which a sublayer writes to the stream."""
    return Site(site.layer, Role.FFN_OUT if site.role in FEED_FORWARD else Role.ATTENTION_OUTPUT)


def _largest(sizes: Tensor, keep: float) -> Tensor:
    count = int(keep * len(sizes))
    if count == len(sizes):
        return torch.ones_like(sizes, dtype=torch.bool)
    smallest = sizes.kthvalue(len(sizes) - count).values  # sorting all of them takes many times their memory
    mask = sizes > smallest
    mask[(sizes == smallest).nonzero().flatten()[: count - int(mask.sum())]] = True
    return mask
