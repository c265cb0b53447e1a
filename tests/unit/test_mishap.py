"""What goes wrong in the event loop is said once in a while, however often it happens."""

import asyncio

from structlog.testing import capture_logs

from stopgap.mishap import Mishaps


async def test_the_same_mishap_a_thousand_times_is_one_line_and_another_one_has_its_own():
    mishaps, loop = Mishaps(), asyncio.get_running_loop()
    with capture_logs() as lines:
        for number in range(1000):
            why = f"socket.accept() out of system resource\nsocket: {number}"
            mishaps.hear(loop, {"message": why, "exception": OSError(24, "Too many open files")})
        mishaps.hear(loop, {"message": "Task exception was never retrieved", "exception": KeyError("x")})
        mishaps.hear(loop, {"message": "odd"})
    assert [(line["why"], line["unsaid"]) for line in lines] == [
        ("socket.accept() out of system resource", 0),
        ("Task exception was never retrieved", 0),
        ("odd", 0),
    ]
    assert lines[0]["error"] == "[Errno 24] Too many open files"
    assert isinstance(lines[1]["exc_info"], KeyError)
