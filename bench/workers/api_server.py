"""An API on loopback that costs little itself: PAGES pages of 100 records, made once. Prints its port.

Arguments: PAGES.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from urllib.parse import parse_qs, urlsplit

PAGE_ROWS = 100


def page(number: int, pages: int) -> bytes:
    """One answer, head and all."""
    records = [
        {
            "id": number * PAGE_ROWS + row,
            "name": f"user {number}-{row}",
            "email": f"u{row}@example.com",
            "amount": row * 1.25 + number,
            "active": row % 2 == 0,
            "created_at": "2026-01-01T00:00:00Z",
            "address": {"city": "Łódź", "zip": "90-001", "geo": {"lat": 51.7, "lon": 19.4}},
            "tags": ["a", "b", str(row % 7)],
        }
        for row in range(PAGE_ROWS)
    ]
    document = {"data": records, "next": number + 1 if number + 1 < pages else None}
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def main(pages: int) -> None:
    """Serves until the process is ended."""
    answers = [page(number, pages) for number in range(pages)]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
                number = int(parse_qs(urlsplit(asked).query).get("page", ["0"])[0])
                writer.write(answers[number])
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
