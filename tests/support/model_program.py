"""A model server as a program: ``model_program.py PORT [--helper FILE]``; its helper outlives it if it may."""

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """``/die`` ends the program with status 3, in the middle of everything. ``/slow`` waits for a file."""
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            files = json.loads(asked)
            Path(files["began"]).touch()
            while not Path(files["go_on"]).exists():
                time.sleep(0.01)
        if self.path == "/die":
            sys.stdout.write("out of memory, says the model\n")
            sys.stdout.flush()
            os._exit(3)
        body = b'{"text": "hello"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = HTTPServer(("127.0.0.1", int(sys.argv[1])), _Answers)
if "--helper" in sys.argv:
    helper = subprocess.Popen(["sleep", "600"], start_new_session=True)  # noqa: S607 - any sleep will do
    Path(sys.argv[-1]).write_text(str(helper.pid))
sys.stdout.write("model loaded\n")
sys.stdout.flush()
server.serve_forever()
