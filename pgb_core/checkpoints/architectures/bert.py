"""BERT (Devlin et al., 2019), and models with the same names of tensors, such as MiniLM."""

from pgb_core.checkpoints.architectures.base import Architecture, Classifier

BERT = Architecture(
    title="BERT",
    prefix="bert",
    embeddings={
        "word": "embeddings.word_embeddings",
        "position": "embeddings.position_embeddings",
        "token_type": "embeddings.token_type_embeddings",
        "norm": "embeddings.LayerNorm",
    },
    layer="encoder.layer.{n}",
    sites={
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "feed_forward.inner": "intermediate.dense",
        "feed_forward.outer": "output.dense",
        "feed_forward_norm": "output.LayerNorm",
    },
    classifier=Classifier(dense="bert.pooler.dense", activation="tanh", output="classifier"),
    qa_output="qa_outputs",
    numbers={
        "embedding": "hidden_size",
        "hidden": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
        "types": "type_vocab_size",
        "norm_eps": "layer_norm_eps",
    },
    fixed={},
    activation="hidden_act",
    counts_padding=True,
    ignored=frozenset({"hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"}),
)
