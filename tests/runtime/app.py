"""A small web app that does as it is told: what the tests' platforms run. Edge."""

from __future__ import annotations

import http.server
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

# Says that it lives, and how it was asked to end.
CHILD = """
import os, signal, sys, time; from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: sys.exit(Path("asked_to_end").touch()))
Path(f"child_{os.getpid()}").touch()
time.sleep(60)
"""


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, argument = self.path.partition("?")
        if path == "/healthz" and Path("warming_up").exists():
            self.send_error(503)
            return
        if self.headers["X-Real-IP"] and Path("shy").exists():  # through a proxy it fails
            self.send_error(500)
            return
        if path != "/healthz" and Path(f"failing_{os.environ['TENFOLD_BACKEND']}").exists():
            self.send_error(500)
            return
        body: object = os.environ["TENFOLD_BACKEND"]
        if path == "/environment":
            body = dict(os.environ) | {
                "_cwd": str(Path.cwd()),
                "_argv": sys.argv,
                "_files": resource.getrlimit(resource.RLIMIT_NOFILE),
            }
        elif path == "/family":  # a child in our process group, and one in a session of its own
            body = [subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=a).pid for a in (False, True)]
            while not Path(f"child_{body[0]}").exists():
                time.sleep(0.01)
        elif path == "/orphan":  # a child whose child outlives it, and then ends: a zombie for whoever adopts it
            code = "import os, time\nif os.fork() == 0:\n time.sleep(0.1); os._exit(0)\nos._exit(0)"
            subprocess.run([sys.executable, "-c", code], check=True)
        elif path == "/slow":
            time.sleep(float(argument))
        elif path == "/write":
            print(argument, flush=True)
        elif path == "/end":
            print("the end is near", flush=True)
            threading.Timer(0.05, lambda: os._exit(int(argument))).start()
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # the agent gives up on one that hangs, as tests make it


def main() -> None:
    if Path("refuse").exists():
        print("cannot go on:\x1b[2J the password is", os.environ.get("APP_SECRET"), flush=True)
        sys.exit(7)
    if Path("stubborn").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while Path("mute").exists():
        time.sleep(0.05)
    print("listening", flush=True)
    host = sys.argv[sys.argv.index("--host") + 1] if "--host" in sys.argv else "127.0.0.1"
    Server((host, int(os.environ["PORT"])), Answers).serve_forever()


main()
