"""A model that follows a script, for real agents: Anthropic's Messages and OpenAI's Responses, over loopback.

`Model(script)` serves until the process ends. The script is called with the number of the call and the request,
and returns a text, or a list of (tool, arguments). What was sent is kept in `requests`.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def events(*named):
    """Server-sent events."""
    return "".join(f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in named)


def messages(answer):
    """The answer as a stream of the Messages API."""
    blocks = []
    for n, part in enumerate(answer):
        if isinstance(part, str):
            begin = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": part}
        else:
            begin = {"type": "tool_use", "id": f"toolu_{n}_{id(answer)}", "name": part[0], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(part[1])}
        blocks += [
            ("content_block_start", {"index": n, "content_block": begin}),
            ("content_block_delta", {"index": n, "delta": delta}),
            ("content_block_stop", {"index": n}),
        ]
    why = "end_turn" if isinstance(answer[-1], str) else "tool_use"
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg", "type": "message", "role": "assistant", "model": "scripted", "content": []}
    begin = {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}
    end = {"delta": {"stop_reason": why, "stop_sequence": None}, "usage": usage}
    return events(("message_start", {"message": begin}), *blocks, ("message_delta", end), ("message_stop", {}))


def responses(answer):
    """The answer as a stream of the Responses API."""
    items = []
    for n, part in enumerate(answer):
        if isinstance(part, str):
            content = [{"type": "output_text", "text": part, "annotations": []}]
            items.append({"type": "message", "id": f"msg_{n}", "role": "assistant", "content": content})
            continue
        name, arguments = part
        item = {"type": "function_call", "id": f"fc_{n}", "call_id": f"call_{n}_{id(answer)}"}
        item |= {"name": name, "arguments": json.dumps(arguments)}
        if name.startswith("mcp__meanwhile__"):
            # Codex has the tools of a server in a namespace.
            item |= {"namespace": "mcp__meanwhile", "name": name.removeprefix("mcp__meanwhile__")}
        items.append(item)
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    done = {"id": "resp", "object": "response", "status": "completed", "output": items, "usage": usage}
    told = [("response.output_item.done", {"output_index": n, "item": item}) for n, item in enumerate(items)]
    begin = {"response": {**done, "status": "in_progress", "output": []}}
    return events(("response.created", begin), *told, ("response.completed", {"response": done}))


class Model:
    """Serves the script on a port that the system chooses."""

    def __init__(self, script):
        self.requests = []
        lock = threading.Lock()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, kind, text):
                body = text.encode()
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_HEAD(self):
                self.reply("application/json", "")

            def do_GET(self):
                self.reply("application/json", '{"object": "list", "data": []}')

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])) or "{}")
                path = self.path.split("?")[0]
                write = {"/v1/messages": messages, "/v1/responses": responses}.get(path)
                if write is None:
                    return self.reply("application/json", '{"input_tokens": 1}')
                if not body.get("tools"):
                    # A title or a summary, beside the session.
                    return self.reply("text/event-stream", write(["ok"]))
                with lock:
                    number = len(model.requests)
                    model.requests.append(json.dumps(body))
                answer = script(number, body)
                return self.reply("text/event-stream", write([answer] if isinstance(answer, str) else answer))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
