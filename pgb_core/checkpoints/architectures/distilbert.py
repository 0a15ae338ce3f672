"""DistilBERT (Sanh et al., 2019): it has no token types, and its code fixes epsilon."""

from pgb_core.checkpoints.architectures.base import Architecture, Classifier

DISTILBERT = Architecture(
    title="DistilBERT",
    prefix="distilbert",
    embeddings={
        "word": "embeddings.word_embeddings",
        "position": "embeddings.position_embeddings",
        "norm": "embeddings.LayerNorm",
    },
    layer="transformer.layer.{n}",
    sites={
        "attention.query": "attention.q_lin",
        "attention.key": "attention.k_lin",
        "attention.value": "attention.v_lin",
        "attention.output": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "feed_forward.inner": "ffn.lin1",
        "feed_forward.outer": "ffn.lin2",
        "feed_forward_norm": "output_layer_norm",
    },
    classifier=Classifier(dense="pre_classifier", activation="relu", output="classifier"),
    qa_output="qa_outputs",
    numbers={"embedding": "dim", "hidden": "dim", "layers": "n_layers", "heads": "n_heads", "ffn": "hidden_dim"},
    fixed={"types": 0, "norm_eps": 1e-12},
    activation="activation",
    counts_padding=True,
    ignored=frozenset(
        {"dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds", "tie_weights_"}
    ),
)
