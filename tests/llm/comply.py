#!/usr/bin/env python3
"""Validates every request to a model against the vendor's OpenAPI description.

    pip install 'llm-comply==0.5.0' jsonschema
    cargo build -p meanwhile-core --example ask
    python3 tests/llm/comply.py [PATH/TO/ask]        # default: target/debug/examples/ask
    MEANWHILE_REQUESTS_DIR=DIR cargo test -p meanwhile-core --test agent_wire
    python3 tests/llm/comply.py --requests DIR       # requests to the test server

Runs a dialogue with everything that a history can contain (parallel calls, a failed tool, arguments that
are not JSON, thinking, background results, a truncated answer, an empty one) in every wire format with a
server on loopback, and validates the requests that the server got.
"""

import json
import os
import pathlib
import subprocess
import sys

import pairing
from llm_comply import schema
from recorder import Recorder

ROOT = pathlib.Path(__file__).resolve().parents[2]

call = lambda id, name, input: {"type": "tool_use", "id": id, "name": name, "input": input}
text = lambda text: {"type": "text", "text": text}
ANSWERS = [
    (
        [
            {"type": "thinking", "thinking": "Long.", "signature": "c2ln"},
            text("I start both."),
            call("toolu_1", "background_run", {"command": "make"}),
            call("toolu_2", "background_run", {"command": "make test"}),
        ],
        "tool_use",
    ),
    ([call("toolu_3", "no_such_tool", {}), call("toolu_4", "bash", "ls -l")], "tool_use"),
    ([text(" "), call("toolu_5", "bash", {"command": "true"})], "tool_use"),
    ([text("On it."), call("toolu_6", "bash", {"command": "ls"}), call("toolu_7", "bash", '{"comm')], "max_tokens"),
    ([call("toolu_8", "bash", "")], "tool_use"),
    ([text("Done.")], "end_turn"),
]
FORMATS = {
    "anthropic": ("/v1/messages", "anthropic.json", "CreateMessageParams"),
    "openai": ("/v1/chat/completions", "openai_chat.json", "CreateChatCompletionRequest"),
    "openai-responses": ("/v1/responses", "openresponses.json", "CreateResponseBody"),
}


def settings(vendor, url):
    """The environment variables that select a vendor's model at a server."""
    name = vendor.split("-")[0].upper()
    base = url if vendor == "anthropic" else url + "/v1"
    return {"MEANWHILE_MODEL": f"{vendor}/tester", f"{name}_API_KEY": "key", f"{name}_BASE_URL": base}


def judges():
    """A validator of requests for each vendor; exits if one of them accepts broken requests."""
    specs = pathlib.Path(schema.__file__).parent / "specs"
    found = {}
    for vendor, (_, spec, name) in FORMATS.items():
        said = "input" if vendor == "openai-responses" else "messages"
        right = {"model": "m", said: [{"type": "message", "role": "user", "content": "x"}]}
        if vendor != "openai-responses":
            right |= {"max_tokens": 9, said: [{"role": "user", "content": "x"}]}
        loader = schema.SpecLoader(str(specs / spec))
        judge = found[vendor] = lambda body, loader=loader, name=name: loader.validate(body, name)
        wrong = [
            right | {said: 7},
            right | {said: [right[said][0] | {"role": "wizard"}]},
            right | {said: [right[said][0] | {"content": 7}]},
        ]
        # The Responses API can continue a stored response without new input.
        if vendor != "openai-responses":
            wrong.append({key: value for key, value in right.items() if key != said})
        if judge(right) or not all(judge(body) for body in wrong):
            sys.exit(f"{vendor}: the schema does not distinguish valid from invalid requests: is jsonschema installed?")
    return found


def recorded(folder):
    """Validates the requests that a test has stored in a folder."""
    files = sorted(pathlib.Path(folder).glob("*.json"))
    wrong, judge = 0, judges()
    for file in files:
        kinds = {"messages": "anthropic", "responses": "openai-responses"}
        vendor = next((vendor for kind, vendor in kinds.items() if kind in file.name), "openai")
        body = json.loads(file.read_text())
        for problem in judge[vendor](body) + pairing.wrong(body):
            wrong += 1
            print(f"{file.name}: {problem[:600]}")
    print(f"{len(files)} requests")
    sys.exit(f"{wrong} problems" if wrong or not files else 0)


def main():
    if sys.argv[1:2] == ["--requests"]:
        recorded(sys.argv[2])
    ask = sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/examples/ask"
    wrong, judge = 0, judges()
    for vendor, (route, _, _) in FORMATS.items():
        recorder = Recorder(ANSWERS)
        env = {"PATH": os.environ["PATH"]} | settings(vendor, recorder.url)
        run = subprocess.run([ask], env=env, capture_output=True, text=True, timeout=60)
        if run.returncode or len(recorder.requests) != len(ANSWERS):
            sys.exit(f"{vendor}: {len(recorder.requests)} requests, exit {run.returncode}\n{run.stdout}{run.stderr}")
        for number, (path, _, body) in enumerate(recorder.requests, 1):
            problems = judge[vendor](body) + pairing.wrong(body) + ([] if path == route else [f"sent to {path}, not {route}"])
            wrong += len(problems)
            for problem in problems:
                print(f"{vendor} request {number}: {problem[:600]}")
        print(f"{vendor}: {len(recorder.requests)} requests, the last of {len(pairing.messages(body))} messages")
    sys.exit(f"{wrong} problems" if wrong else 0)


if __name__ == "__main__":
    main()
