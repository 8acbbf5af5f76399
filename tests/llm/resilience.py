#!/usr/bin/env python3
"""Simulates all server faults that `llmock` supports, and checks its verdict on our retries.

    pip install 'llmock==0.2.2' 'llm-comply==0.5.0'
    cargo build -p meanwhile-core --example ask
    python3 tests/llm/resilience.py [PATH/TO/ask]    # default: target/debug/examples/ask

Each case is one dialogue with a reset server. Warnings count as failures, except the one about giving up
if the fault is permanent.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

from comply import FORMATS, ROOT, settings

fail = lambda status, times=1, **more: {"type": "fail", "status": status, "times": times, **more}
stream = lambda kind, **more: {"type": "stream_fault", "kind": kind, "after_chunks": 2, **more}
# The name, the faults, whether the dialogue succeeds, and a text that its output must contain.
CASES = [
    ("nothing wrong", [], True, "done"),
    ("429 twice, with retry-after", [fail(429, 2, retry_after=1)], True, "attempt 3"),
    ("500, then 503", [fail(500), fail(503)], True, "attempt 3"),
    ("529", [fail(529)], True, "attempt 2"),
    ("408 and 409", [fail(408), fail(409)], True, "attempt 3"),
    ("401", [fail(401, None)], False, "_API_KEY"),
    ("400", [fail(400, None)], False, "400"),
    ("403", [fail(403, None)], False, "403"),
    ("404", [fail(404, None)], False, "MEANWHILE_MODEL"),
    ("422", [fail(422, None)], False, "422"),
    ("down for good", [fail(503, None)], False, "tried 3 times"),
    ("retry-after of an hour", [fail(429, None, retry_after=3600)], False, "3600 s"),
    ("disconnect", [stream("disconnect")], True, "attempt 2"),
    ("truncate", [stream("truncate")], True, "attempt 2"),
    ("malformed", [stream("malformed")], True, "attempt 2"),
    ("stall", [stream("stall", stall_seconds=5)], True, "attempt 2"),
    ("slow first token", [{"type": "slow_first_token", "seconds": 1}], True, "done"),
    ("arguments that are not JSON", [{"type": "tool_fault", "kind": "malformed_arguments"}], True, "done"),
    ("a tool that was not offered", [{"type": "tool_fault", "kind": "unknown_tool"}], True, "done"),
]


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=10).read()


def verdict(url):
    return json.load(urllib.request.urlopen(f"{url}/_llmock/verdict", timeout=10))


@contextlib.contextmanager
def server():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "llmock.main:app", "--port", str(port), "--log-level", "error"]
    # Slow enough that a client which stops reading is noticed.
    process = subprocess.Popen(command, env=os.environ | {"LLMOCK_STREAM_CHUNK_DELAY_MS": "20"})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def main():
    ask = sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/examples/ask"
    wrong = 0
    with server() as url:
        for vendor in FORMATS:
            base = f"{url}/anthropic" if vendor == "anthropic" else url
            env = {"PATH": os.environ["PATH"], "ASK_STALL_MS": "1500"} | settings(vendor, base)
            for name, behaviors, ends, words in CASES:
                post(f"{url}/_llmock/reset", {})
                if behaviors:
                    post(f"{url}/_llmock/scenario", {"behaviors": behaviors})
                run = subprocess.run([ask], env=env, capture_output=True, text=True, timeout=90)
                judged = verdict(url)
                findings = [
                    finding
                    for finding in judged["findings"]
                    if not (finding["code"] == "gave_up" and not ends)
                ]
                problems = [f"{f['code']}: {f['title']}" for f in findings]
                if (run.returncode == 0) != ends:
                    problems.append(f"exit {run.returncode}")
                if words not in run.stdout:
                    problems.append(f"`{words}` is not in the output")
                # It does not count slow tokens and wrong tool calls as faults.
                met = judged["faults_injected"] or not any(b["type"] in ("fail", "stream_fault") for b in behaviors)
                if not judged["attempts"] or not met:
                    problems.append(f"the fault did not occur: {judged}")
                print(f"{vendor}, {name}: {'; '.join(problems) or 'clean'}")
                if problems:
                    print(run.stdout, run.stderr)
                wrong += len(problems)
    sys.exit(f"{wrong} problems" if wrong else 0)


if __name__ == "__main__":
    main()
