"""A scripted model for real agents, on loopback: Anthropic's Messages, OpenAI's Responses and Chat Completions, and
Gemini's generateContent.

`Model(script)` serves until the process exits. `script` is called with the number of the call and the request, and
returns a text or a list of (tool, arguments). `requests` holds the requests, `times` when they arrived.
"""

import json
import threading
import time
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
            # Codex puts the tools of a server into a namespace.
            item |= {"namespace": "mcp__meanwhile", "name": name.removeprefix("mcp__meanwhile__")}
        items.append(item)
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    done = {"id": "resp", "object": "response", "status": "completed", "output": items, "usage": usage}
    told = [("response.output_item.done", {"output_index": n, "item": item}) for n, item in enumerate(items)]
    begin = {"response": {**done, "status": "in_progress", "output": []}}
    return events(("response.created", begin), *told, ("response.completed", {"response": done}))


def data(*chunks):
    """Server-sent events without names."""
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)


def completions(answer):
    """The answer as a stream of the Chat Completions API."""
    delta = {"role": "assistant"}
    calls = [part for part in answer if not isinstance(part, str)]
    if calls:
        delta["tool_calls"] = [
            {"index": n, "id": f"call_{n}_{id(answer)}", "type": "function",
             "function": {"name": name, "arguments": json.dumps(arguments)}}
            for n, (name, arguments) in enumerate(calls)
        ]
    else:
        delta["content"] = "".join(answer)
    base = {"id": "chat", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    end = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}
    said = {"index": 0, "delta": delta, "finish_reason": None}
    return data({**base, "choices": [said]}, {**base, "choices": [end], "usage": usage}) + "data: [DONE]\n\n"


def contents(answer):
    """The answer as a stream of Gemini's API."""
    parts = [
        {"text": part} if isinstance(part, str) else {"functionCall": {"name": part[0], "args": part[1]}}
        for part in answer
    ]
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return data({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"})


# The end of a path, and the function that formats an answer for it.
FORMS = {
    "/v1/messages": messages,
    "/v1/responses": responses,
    "/v1/chat/completions": completions,
    ":streamGenerateContent": contents,
}


class Model:
    """Serves the script on a port that the system chooses."""

    def __init__(self, script):
        self.requests, self.times = [], []
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
                write = next((form for end, form in FORMS.items() if path.endswith(end)), None)
                if write is None:
                    # A request to count tokens.
                    return self.reply("application/json", '{"input_tokens": 1, "totalTokens": 1}')
                if not body.get("tools"):
                    # A request for a title or a summary, which does not belong to the session.
                    return self.reply("text/event-stream", write(["ok"]))
                with lock:
                    number = len(model.requests)
                    model.times.append(time.time())
                    model.requests.append(json.dumps(body))
                answer = script(number, body)
                return self.reply("text/event-stream", write([answer] if isinstance(answer, str) else answer))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
