"""A backend that tells what reached it: `python backend.py NAME`; it prints the port it took. Edge.

GET /stats        connections, requests and POSTs so far (not counting itself)
PUT /answer/503   from now on every other answer has this status
ANY /close        reads the request, then hangs up without an answer
GET /big/N        N bytes
GET /own          answers 429 with the app's own headers
GET /ws           switches to an echo
ANY else          a JSON object: backend, method, path, protocol, headers, body_bytes
"""

from __future__ import annotations

import asyncio
import json
import sys

COUNT = {"connections": 0, "requests": 0, "posts": 0}
ANSWER = {"status": "200"}
OWN = "X-Content-Type-Options: own\r\nReferrer-Policy: own\r\nRetry-After: 77\r\nX-Request-ID: own\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    first = True
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *lines = head.strip().split("\r\n")
            method, path, protocol = request.split(" ", 2)
            headers = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines]
            size = next((int(v) for k, v in headers if k.lower() == "content-length"), 0)
            body = await reader.readexactly(size)
            if path != "/stats":
                COUNT["connections"] += first
                COUNT["requests"] += 1
                COUNT["posts"] += method == "POST"
                first = False
            if path == "/close":
                return
            if path == "/ws":
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                writer.write(await reader.readexactly(4))
                return
            writer.write(answer(method, path, protocol, headers, len(body)))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def answer(method: str, path: str, protocol: str, headers: list[tuple[str, ...]], body_bytes: int) -> bytes:
    extra = ""
    status = ANSWER["status"]
    said: dict[str, object] = {
        "backend": sys.argv[1],
        "method": method,
        "path": path,
        "body_bytes": body_bytes,
        "protocol": protocol,
    }
    said["headers"] = {k.lower(): v for k, v in headers}
    content = json.dumps(said).encode()
    if path == "/stats":
        status, content = "200", json.dumps(COUNT).encode()
    elif method == "PUT" and path.startswith("/answer/"):
        ANSWER["status"] = path.rpartition("/")[2]
        status = "200"
    elif path.startswith("/big/"):
        content = b"x" * int(path.rpartition("/")[2])
    elif path == "/own":
        status, extra = "429", OWN
    return f"HTTP/1.1 {status} Told\r\nContent-Length: {len(content)}\r\n{extra}\r\n".encode() + content


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
