"""FastAPI with ONNX Runtime, as most teams write it: a function of a thread pool that runs the model at once."""

from benchmarks.peers.rival import ANY_FORM, ENGINES, Rival, read_rows, texts_body

RIVAL = Rival(
    name="FastAPI",
    package="fastapi",
    version="0.165.0",
    requirements=("fastapi==0.165.0", "uvicorn[standard]==0.54.0", *ENGINES),
    forms=ANY_FORM,
    settings={
        "def, not async def": "its documentation has work that blocks in plain functions, which a pool of threads runs",
        "one thread of the engine": "the pool of the engine is otherwise as large as the host, not as its one core",
        "a lock around the model": "runs of two threads on one core only make both late",
        "access log off": "a line for each request costs time",
    },
    command=lambda place: (
        str(place.python),
        "-m",
        "uvicorn",
        "benchmarks.peers.rivals.fast_api.app:app",
        "--host",
        "127.0.0.1",
        "--port",
        str(place.port),
        "--no-access-log",
        "--log-level",
        "warning",
    ),
    path="/classify",
    ready="/health",
    body=texts_body,
    read=read_rows,
)
