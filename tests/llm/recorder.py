"""A scripted model server for these checks, in every wire format; it stores every request."""

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


def responses(blocks, stop):
    """The events of the same answer in the Responses API. Reasoning comes encrypted."""
    events, items = [], []
    for number, block in enumerate(blocks):
        match block["type"]:
            case "text":
                content = [{"type": "output_text", "text": block["text"], "annotations": []}]
                item = {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": content}
                deltas = [{"type": "response.output_text.delta", "delta": block["text"]}]
            case "thinking":
                summary = [{"type": "summary_text", "text": block["thinking"]}]
                item = {"id": f"rs_{number}", "type": "reasoning", "summary": summary}
                item["encrypted_content"] = block["signature"]
                deltas = [{"type": "response.reasoning_summary_text.delta", "delta": block["thinking"]}]
            case "tool_use":
                text = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
                item = {"id": f"fc_{number}", "type": "function_call", "call_id": block["id"]}
                item |= {"name": block["name"], "arguments": text}
                deltas = [
                    {"type": "response.function_call_arguments.delta", "delta": part} for part in (text[:3], text[3:])
                ]
        place = {"output_index": number, "item_id": item["id"]}
        empty = {"content": [], "summary": [], "arguments": ""}
        start = item | {key: value for key, value in empty.items() if key in item} | {"status": "in_progress"}
        done = item | {"status": "completed"}
        events.append({"type": "response.output_item.added", "output_index": number, "item": start})
        events += [delta | place for delta in deltas]
        events.append({"type": "response.output_item.done", "output_index": number, "item": done})
        items.append(done)
    status = "incomplete" if stop == "max_tokens" else "completed"
    response = {"id": "resp_1", "status": status, "model": "m", "output": items}
    response["incomplete_details"] = {"reason": "max_output_tokens"} if stop == "max_tokens" else None
    response["usage"] = {"input_tokens": 9, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 0}}
    events.append({"type": f"response.{status}", "response": response})
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


# The end of a path, the function that formats an answer for it, and how many of the last events mark its end.
WRITERS = {"/messages": (anthropic, 3), "/responses": (responses, 2), "/completions": (openai, 4)}


# The truncated answer that is sent instead of one from a function; its command must never run.
HALF_CALL = {"type": "tool_use", "id": "toolu_half", "name": "bash", "input": {"command": "echo half >> ran"}}
HALF = [{"type": "text", "text": "Half an answer."}, HALF_CALL], "tool_use"
OVERLOADED = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
AFTER_HALF = {"cut": b"", "error": b"event: error\ndata: " + OVERLOADED + b"\n\n", "garbage": b"data: <html>\n\n"}


class Recorder:
    """Answers the n-th request with the n-th answer; `requests` holds (path, headers, body).

    An answer may be a function, which is called with the request and returns the answer. `faults` maps the
    number of an answer, from 0, to the fault of its first attempt: a status, `cut` in the middle of the
    stream, `error` as an event after a 200, or `garbage`.
    """

    def __init__(self, answers, faults=None):
        self.requests = []
        self.answered = 0
        self.faults = dict(faults or {})
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                recorder.requests.append((self.path, dict(self.headers), body))
                number = min(recorder.answered, len(answers) - 1)
                fault = recorder.faults.pop(recorder.answered, None)
                if isinstance(fault, int):
                    return self.refuse(fault)
                answer = answers[number]
                # A truncated answer has no effects, so its function is not called.
                if callable(answer) and fault is None:
                    answer = answer(body)
                blocks, stop = HALF if callable(answer) else answer
                write, ends = next(it for end, it in WRITERS.items() if self.path.endswith(end))
                data = write(blocks, stop).encode()
                if fault is None:
                    recorder.answered += 1
                    return self.send(data, len(data))
                # The complete content, without the events that mark the end.
                half = b"".join(event + b"\n\n" for event in data.split(b"\n\n")[:-ends])
                half += AFTER_HALF[fault]
                # The announced length is one byte more than is sent.
                self.send(half, len(half) + 1)
                self.close_connection = True

            def refuse(self, status):
                body = json.dumps({"type": "error", "error": {"type": "a_fault", "message": "a fault"}}).encode()
                self.send_response(status)
                if status == 429:
                    self.send_header("retry-after", "1")
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def send(self, data, length):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(length))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
