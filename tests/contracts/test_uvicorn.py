"""What `service/http/protocol.py` takes for granted of the inside of uvicorn, whose releases may change it."""

import asyncio
import weakref
from unittest.mock import Mock

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.http.protocol import BoundedProtocol

STEPS = (
    *("connection_made", "connection_lost", "shutdown", "data_received", "on_message_begin"),
    *("on_header", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete"),
    *("pause_writing", "resume_writing", "timeout_keep_alive_handler"),
)
OF_A_CONNECTION = (
    *("server_state", "connections", "transport", "loop", "parser", "cycle", "pipeline", "headers", "scope"),
    *("timeout_keep_alive", "timeout_keep_alive_task"),
)
OF_A_REQUEST = (
    *("body", "more_body", "response_started", "response_complete", "disconnected", "message_event"),
    *("scope", "flow", "transport", "waiting_for_100_continue", "on_response"),
)


def test_the_protocol_has_the_steps_that_ours_replaces() -> None:
    """A step that is gone, or has another name, would leave a bound unchecked without any error."""
    assert [name for name in STEPS if name not in vars(HttpToolsProtocol)] == []
    assert callable(HttpToolsProtocol._unset_keepalive_if_required)
    own = {name for name, value in vars(BoundedProtocol).items() if callable(value) and not name.startswith("_")}
    assert own == set(STEPS)


def test_a_connection_and_a_request_have_what_ours_reads() -> None:
    """Under the same names."""

    async def scenario() -> None:
        config = uvicorn.Config(Mock(), log_config=None, lifespan="off")
        state = ServerState()
        assert weakref.ref(state)() is state
        connection = HttpToolsProtocol(config=config, server_state=state, app_state={})
        assert [name for name in OF_A_CONNECTION if name not in vars(connection)] == []
        connection.on_message_begin()
        assert connection.url == b""
        assert connection.headers == []
        some = Mock()
        request = RequestResponseCycle(
            *(some, some, some, some, some, False, []), message_event=asyncio.Event(), expect_100_continue=False,
            keep_alive=True, on_response=some,
        )  # fmt: skip
        assert [name for name in OF_A_REQUEST if name not in vars(request)] == []
        assert request.body == bytearray()

    asyncio.run(scenario())
