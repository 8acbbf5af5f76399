"""A small MCP server for tests, on standard input and output or, with `http`, on loopback.

`http` writes its address to the file `address` and requires the header `X-Key: open`. `stubborn` ignores all signals
that can be caught, and so does its child. `mute` answers nothing. `many` has more tools than a model is sent. `noise`
writes a line that is not JSON and exits. `restless` reports with each call that its tools have changed, but lists them
only once.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else ""
lock = threading.Lock()
tools = ["echo", "fails", "structured", "big", "huge", "lists", "environment", "more", "hangs", "dies"]
if MODE == "many":
    tools += [f"tool{n}" for n in range(150)]


def note(name, text=""):
    with open(name + ".part", "w") as file:
        file.write(text)
    os.rename(name + ".part", name)


def say(message):
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def called(name, given):
    text = lambda text: {"content": [{"type": "text", "text": text}]}
    if name == "echo":
        return text("said " + given["text"])
    if name == "lists":
        return text(f"asked {listed} times")
    if name == "fails":
        return {**text("it did not work"), "isError": True}
    if name == "structured":
        return {"content": [], "structuredContent": {"answer": 42}}
    if name == "big":
        return text("line\n" * 100_000)
    if name == "huge":
        note("huge")
        return text("x" * (5 << 20))
    if name == "environment":
        return text("\n".join(f"{name}={value}" for name, value in os.environ.items()) + "\n" + os.getcwd())
    if name == "more":
        tools.append("late")
        say({"method": "notifications/tools/list_changed"})
        return text("there is another one")
    if name == "late":
        return text("late, and there")
    if name == "hangs":
        note("hangs")
        time.sleep(600)
    if name == "dies":
        sys.stderr.write("a valve is open\n")
        sys.stderr.flush()
        os._exit(3)
    raise ValueError(name)


def tool(name):
    schema = {"type": "object", "properties": {"text": {"type": "string", "description": "What to say."}}}
    # This hint is false for some tools: a client must not trust it.
    return {"name": name, "description": f"The tool {name}.", "inputSchema": schema,
            "annotations": {"readOnlyHint": True}}


listed = 0


def answer(request):
    global listed
    method, params = request["method"], request.get("params") or {}
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "test", "version": "1"}}
    if method == "tools/list":
        # One tool on each page.
        at = int(params.get("cursor") or 0)
        listed += at == 0
        if MODE == "restless" and listed > 1:
            time.sleep(600)
        page = {"tools": [tool(name) for name in tools[at : at + 1]]}
        return {**page, "nextCursor": str(at + 1)} if at + 1 < len(tools) else page
    if method == "tools/call":
        if MODE == "restless":
            say({"method": "notifications/tools/list_changed"})
        return called(params["name"], params.get("arguments") or {})
    if method == "ping":
        return {}
    raise KeyError(method)


def reply(request):
    try:
        return {"id": request["id"], "result": answer(request)}
    except (KeyError, ValueError) as error:
        return {"id": request["id"], "error": {"code": -32601, "message": f"no {error}"}}


def serve_lines():
    for line in sys.stdin:
        request = json.loads(line)
        if request["method"] == "notifications/cancelled":
            note("cancelled")
        if "id" in request:
            threading.Thread(target=lambda it=request: say(reply(it)), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("X-Key") != "open":
            return self.end(401, b"the door is shut")
        request = json.loads(body)
        if "id" not in request:
            return self.end(202, b"")
        self.end(200, json.dumps({"jsonrpc": "2.0", **reply(request)}).encode())

    def do_GET(self):
        self.end(405, b"")

    def do_DELETE(self):
        self.end(405, b"")

    def end(self, code, body):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if MODE == "http":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    note("address", f"http://127.0.0.1:{server.server_address[1]}/mcp")
    server.serve_forever()
elif MODE == "mute":
    sys.stdin.read()
elif MODE == "noise":
    print("hello")
    sys.stderr.write("wrong door\n")
else:
    if MODE == "stubborn":
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        note("pids", f"{os.getpid()} {child.pid}")
    serve_lines()
    if MODE == "stubborn":
        time.sleep(1000)
