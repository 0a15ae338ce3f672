"""mosec with its dynamic batching."""

from benchmarks.peers.rival import ANY_FORM, ENGINES, Rival, read_rows, script, texts_body

RIVAL = Rival(
    name="mosec",
    package="mosec",
    version="0.9.8",
    requirements=("mosec==0.9.8", *ENGINES),
    forms=ANY_FORM,
    settings={
        "max_batch_size=32, max_wait_time=2": "its documentation turns batching on with these; the default is 1",
        "num=1": "one worker, because there is one core",
        "timeout 60 s": "as long as the others wait; the default of 3 s would refuse under load",
    },
    command=lambda place: (
        str(place.python),
        script("mosec_server"),
        "--address",
        "127.0.0.1",
        "--port",
        str(place.port),
        "--timeout",
        "60000",
        "--log-level",
        "warning",
    ),
    path="/inference",
    ready="/",
    body=texts_body,
    read=read_rows,
)
