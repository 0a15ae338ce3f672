"""ONNX graphs of an encoder: `channels_first` of a compact one, `token_major` of a dense one.

Both give `logits` [batch, labels], or `start_logits` and `end_logits` [batch, tokens].
"""

from pgb_core.export.builder import CONTRIB_OPSET, OPSET
from pgb_core.export.forms.channels_first import channels_first
from pgb_core.export.forms.token_major import token_major
from pgb_core.export.parts import input_names

__all__ = ["CONTRIB_OPSET", "OPSET", "channels_first", "input_names", "token_major"]
