"""What each part of a model costs to run, so that gathers and small kernels are not counted as free.

The unit is one weight of a dense product over the number of tokens that the prices are for. Prices were measured for
one form of graph on one machine, and are passed as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Prices:
    """tokens: of the input that they are for. gathered_row: one channel moved; sliced_row: one channel of a prefix;
    operator: the start of one; block: of one block in it; read: one channel that a block reads, made ready for its
    product; norm and transposes: a norm with its sum and a pair of transposes, a channel of the residual stream;
    neuron: an activation; mixed: a multiply-add of the products between tokens.
    """

    tokens: int
    gathered_row: float
    operator: float
    block: float
    norm: float
    transposes: float
    sliced_row: float = 0.0
    read: float = 0.0
    neuron: float = 0.0
    mixed: float = 1.0

    def weighed(self, weight: float) -> Prices:
        """The same with everything but the weights themselves times `weight`; with 0 only weights are counted."""
        return replace(self, **{f.name: weight * getattr(self, f.name) for f in fields(self) if f.name != "tokens"})

    def of_blocks(self, groups: int, rows: int, cols: int, gathered: int) -> float:
        """`groups` blocks of rows x cols with `gathered` rows moved around them."""
        blocks = groups * (rows * cols + self.block + self.read * cols)
        return self.operator + blocks + self.gathered_row * gathered

    def of_prefix(self, rows: int, cols: int, available: int) -> float:
        """One block that reads the first `cols` of `available` channels."""
        return self.of_blocks(1, rows, cols, 0) + (self.sliced_row * cols if cols < available else 0)

    def of_neurons(self, count: int) -> float:
        """Their activations."""
        return self.neuron * count

    def of_sublayer(self, hidden: int, transposed: bool) -> float:
        """There being a sublayer at all, however small."""
        return self.operator + hidden * (self.norm + (self.transposes if transposed else 0))

    def of_attention(self, heads: int, width: int) -> float:
        """The products between tokens, `width` channels a head (query plus value)."""
        return heads * (self.mixed * width * self.tokens + self.block)
