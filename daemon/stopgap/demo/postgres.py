"""Database stand-in: a TCP server that answers `SELECT 1` with `1`, and stays away once it is dead until somebody restarts it."""

import asyncio

from stopgap.demo.serving import arguments, asked_to_end

QUESTION = b"SELECT 1\n"
ANSWER = b"1\n"
_PATIENCE = 30.0  # seconds for which an idle connection is kept


async def _session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            while await reader.readline() == QUESTION:
                writer.write(ANSWER)
                await writer.drain()
    except (TimeoutError, ConnectionError, ValueError):  # idle, gone, or a line beyond the reader's limit
        pass
    finally:
        writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_session, "127.0.0.1", port)
    try:
        await asked_to_end()
    finally:
        server.close()


async def answers(host: str, port: int, timeout: float) -> bool:  # noqa: ASYNC109 - one number for connect and answer together
    """Tell whether the database answers within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(QUESTION)
                return await reader.readline() == ANSWER
            finally:
                writer.close()
    except (TimeoutError, OSError):
        return False


def main() -> None:
    """Run the stand-in: `python -m stopgap.demo.postgres --port N`."""
    asyncio.run(_serve(arguments("database stand-in").parse_args().port))


if __name__ == "__main__":
    main()
