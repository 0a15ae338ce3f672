"""ONNX graphs of an encoder: `channels_first` and `token_major` of a compact one, `fused` of a dense one.

All give `logits` [batch, labels], or `start_logits` and `end_logits` [batch, tokens].
"""

from pgb_core.export.builder import CONTRIB_OPSET, OPSET
from pgb_core.export.forms import channels_first, fused, token_major
from pgb_core.export.parts import input_names

__all__ = ["CONTRIB_OPSET", "OPSET", "channels_first", "fused", "input_names", "token_major"]
