"""The dense model held against transformers, from text, before any work begins."""

from __future__ import annotations

from pgb_core import graph
from pgb_core.encoders import Checkpoint
from pgb_core.evaluate import torch_predictor
from pgb_core.parity import Parity, check_texts, inputs_of
from pgb_core.session import open_session, predictor


def gate(checkpoint: Checkpoint) -> Parity:
    """From the probe texts to logits: transformers, our model, and its dense graph, by way of the artifact's tokenizer.

    Needs a checkpoint that was loaded with `probed`. Raises CheckpointError or ParityError naming the setting.
    """
    model, settings = checkpoint.model, checkpoint.settings
    features = inputs_of(checkpoint.probes, checkpoint.reading, checkpoint.task)
    check_texts(torch_predictor(model), checkpoint.probes, features, model.config.pad_id, settings)
    graph_predict = predictor(open_session(graph.channels_first(model).SerializeToString()))
    return check_texts(graph_predict, checkpoint.probes, features, model.config.pad_id, settings)
