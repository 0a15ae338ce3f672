"""LitServe with its dynamic batching."""

from benchmarks.peers.rival import ANY_FORM, ENGINES, Rival, read_rows, script, texts_body

RIVAL = Rival(
    name="LitServe",
    package="litserve",
    version="0.2.19",
    requirements=("litserve==0.2.19", *ENGINES),
    forms=ANY_FORM,
    settings={
        "max_batch_size=32, batch_timeout=0.002": "its documentation turns batching on; the default is 1",
        "workers_per_device=1": "there is one core",
        "a pydantic model of the request": "its documentation has it; wrong bodies otherwise get 500",
        'accelerator="cpu"': "it otherwise looks for a GPU",
        "fast_queue=True": "its documentation has it for many small requests",
    },
    command=lambda place: (str(place.python), script("lit_serve"), str(place.port)),
    path="/predict",
    ready="/health",
    body=texts_body,
    read=read_rows,
)
