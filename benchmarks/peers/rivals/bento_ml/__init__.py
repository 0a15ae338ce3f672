"""BentoML with its adaptive batching."""

from benchmarks.peers.rival import ANY_FORM, ENGINES, Rival, texts_body

RIVAL = Rival(
    name="BentoML",
    package="bentoml",
    version="1.4.39",
    requirements=("bentoml==1.4.39", *ENGINES),
    forms=ANY_FORM,
    settings={
        "batchable=True, max_batch_size=32": "its documentation turns adaptive batching on; it is off by default",
        "max_latency_ms=100": "the bound of this comparison; by default it refuses nothing for a minute",
        "workers=1": "there is one core",
        "access log off": "a line for each request costs time",
        "BENTOML_DO_NOT_TRACK=True": "no telemetry",
    },
    command=lambda place: (
        str(place.tool / "bentoml"),
        "serve",
        "benchmarks.peers.rivals.bento_ml.app:Sentiment",
        "--host",
        "127.0.0.1",
        "--port",
        str(place.port),
    ),
    path="/classify",
    ready="/readyz",
    body=texts_body,
    read=lambda answer: [float(row[1]) for row in answer],
    environment=lambda place: {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(place.scratch)},
)
