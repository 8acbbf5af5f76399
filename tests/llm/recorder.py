"""A model server for the checks here: answers as scripted in either wire format, keeps every request."""

import http.server
import json
import threading


def anthropic(blocks, stop):
    """The events of an answer in Anthropic Messages."""
    usage = {"input_tokens": 9, "output_tokens": 1}
    message = {"model": "m", "role": "assistant", "content": [], "usage": usage}
    events = [{"type": "message_start", "message": message}]
    for index, block in enumerate(blocks):
        start, deltas = dict(block), []
        match block["type"]:
            case "text":
                start["text"] = ""
                deltas = [{"type": "text_delta", "text": block["text"]}]
            case "thinking":
                start |= {"thinking": "", "signature": ""}
                deltas = [
                    {"type": "thinking_delta", "thinking": block["thinking"]},
                    {"type": "signature_delta", "signature": block["signature"]},
                ]
            case "tool_use":
                start["input"] = {}
                text = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
                deltas = [{"type": "input_json_delta", "partial_json": part} for part in (text[:3], text[3:])]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}})
    events.append({"type": "message_stop"})
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def openai(blocks, stop):
    """The chunks of the same answer in chat completions."""
    deltas = [{"role": "assistant", "content": None}]
    calls = 0
    for block in blocks:
        match block["type"]:
            case "text":
                deltas.append({"content": block["text"]})
            case "tool_use":
                text = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
                function = {"name": block["name"], "arguments": ""}
                call = {"index": calls, "id": block["id"], "type": "function", "function": function}
                deltas.append({"tool_calls": [call]})
                deltas.append({"tool_calls": [{"index": calls, "function": {"arguments": text}}]})
                calls += 1
    reason = {"tool_use": "tool_calls", "end_turn": "stop", "max_tokens": "length", "pause_turn": "stop"}[stop]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 7}})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


class Recorder:
    """Answers the n-th request with the n-th answer; `requests` holds (path, headers, body)."""

    def __init__(self, answers):
        self.requests = []
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                blocks, stop = answers[min(len(recorder.requests), len(answers) - 1)]
                recorder.requests.append((self.path, dict(self.headers), body))
                write = anthropic if self.path.endswith("/messages") else openai
                data = write(blocks, stop).encode()
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
