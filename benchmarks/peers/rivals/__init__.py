"""The table of rivals. One is a folder beside this file and a line here."""

from __future__ import annotations

from benchmarks.peers.rival import Rival
from benchmarks.peers.rivals import (
    bento_ml,
    fast_api,
    infinity,
    lit_serve,
    ml_server,
    mosec_server,
    pgb_serve,
    ray_serve,
    triton,
)

OURS = pgb_serve.RIVAL
RIVALS: dict[str, Rival] = {
    rival.name: rival
    for rival in (
        fast_api.RIVAL,
        lit_serve.RIVAL,
        bento_ml.RIVAL,
        mosec_server.RIVAL,
        ml_server.RIVAL,
        ray_serve.RIVAL,
        triton.RIVAL,
        infinity.RIVAL,
        OURS,
    )
}
# By name: why it is not among them.
NOT_RUN = {
    "Text Embeddings Inference": "not on PyPI; it is built from Rust sources, or run as an image",
    "OpenVINO Model Server": "not on PyPI; it is run as an image",
    "KServe": "its server for Hugging Face models is not on PyPI; without it, it would run the script of the others",
    "TorchServe": "no longer maintained",
}
