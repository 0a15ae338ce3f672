"""Ray Serve with its dynamic batching and its fast proxy."""

from benchmarks.peers.rival import ANY_FORM, ENGINES, Place, Rival, read_rows, texts_body


def _environment(place: Place) -> dict[str, str]:
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_TMPDIR": str(place.scratch),
        "PEERS_PORT": str(place.port),
    }


RIVAL = Rival(
    name="Ray Serve",
    package="ray",
    version="2.60.0",
    requirements=("ray[serve]==2.60.0", *ENGINES),
    forms=ANY_FORM,
    settings={
        "serve.batch, max_batch_size=32, batch_wait_timeout_s=0.002": "its documentation has it for throughput",
        "serve.ingress of FastAPI": "its documentation has it; wrong bodies otherwise get 500",
        "RAY_SERVE_ENABLE_HA_PROXY=1": "its proxy in Python adds several milliseconds a request",
        "max_ongoing_requests=64": "two batches, so that one gathers while the other runs; the default is 5",
        "started on all cores, and put on one when it answers": "its node ends when a part of it takes 15 s to start",
        "num_cpus=1, one replica, no dashboard": "there is one core",
        "access log off": "a line for each request costs time",
        "RAY_USAGE_STATS_ENABLED=0": "no telemetry",
        "RAY_AUTH_MODE=disabled": "it otherwise writes a token into the user's home; it listens on this machine only",
        "RAY_raylet_start_wait_time_s=120": "on one core its parts take longer to find each other",
    },
    command=lambda place: (str(place.python), "-m", "benchmarks.peers.rivals.ray_serve.app"),
    path="/classify",
    ready="/-/healthz",
    body=texts_body,
    read=read_rows,
    environment=_environment,
    starts_on_all_cores=True,
)
