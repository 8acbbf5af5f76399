#!/usr/bin/env python3
"""Compares `meanwhile` with other MCP servers that run commands. Run it by hand, on an idle machine.

    tests/hosts/figures.py target/release/meanwhile [NAME=TOOL=COMMAND-LINE..]

Each further argument is a server that is measured alternately: a name, the tool that runs a command with a colon and
the JSON arguments that run `true`, and the command line that starts the server. Prints a Markdown table with medians,
and the p90 in brackets.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

STARTS, CALLS = 15, 60
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "figures", "version": "1"}}


class Server:
    def __init__(self, line, env):
        self.began = time.perf_counter()
        self.child = subprocess.Popen(
            line, shell=isinstance(line, str), env=env, cwd=env["HOME"], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        self.next = 0
        self.ask("initialize", HELLO)
        self.started = time.perf_counter() - self.began
        self.tell("notifications/initialized")

    def tell(self, method, **members):
        self.child.stdin.write(json.dumps({"jsonrpc": "2.0", "method": method, **members}) + "\n")
        self.child.stdin.flush()

    def ask(self, method, params):
        self.next += 1
        self.tell(method, id=self.next, params=params)
        for line in self.child.stdout:
            if line.startswith("{") and json.loads(line).get("id") == self.next:
                reply = json.loads(line)
                if "error" in reply or reply["result"].get("isError"):
                    sys.exit(f"{method}: {line}")
                return len(line), reply["result"]
        sys.exit(f"{method}: the server has ended")

    def close(self):
        self.child.stdin.close()
        self.child.wait(timeout=20)


def shown(seconds):
    p90 = sorted(seconds)[int(len(seconds) * 0.9)]
    return f"{statistics.median(seconds) * 1e3:.1f} ms ({p90 * 1e3:.1f} ms)"


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main():
    binary, *others = sys.argv[1:]
    binary = os.path.abspath(binary)
    home = tempfile.mkdtemp()
    env = {"HOME": home, "PATH": os.environ["PATH"], "MEANWHILE_STATE_DIR": f"{home}/state"}
    env["CLAUDE_CODE_SESSION_ID"] = "figures"
    servers = [("meanwhile", "background_run", {"command": "true"}, [binary, "mcp"])]
    for other in others:
        name, tool, line = other.split("=", 2)
        tool, arguments = tool.split(":", 1)
        servers.append((name, tool, json.loads(arguments), line))
    rows = {}
    for turn in range(STARTS):
        for name, tool, arguments, line in servers:
            row = rows.setdefault(name, {"start": [], "call": [], "list": 0})
            server = Server(line, env)
            row["start"].append(server.started)
            row["list"], _ = server.ask("tools/list", {})
            for _ in range(CALLS // STARTS):
                call = {"name": tool, "arguments": arguments}
                row["call"].append(timed(lambda: server.ask("tools/call", call)))
            server.close()
    print("| | started to `initialize` answered | a call that starts `true`, to its reply | bytes of `tools/list` |")
    print("|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {shown(row['start'])} | {shown(row['call'])} | {row['list']} |")

    payload = json.dumps({"session_id": "quiet", "hook_event_name": "PostToolUse", "cwd": home})

    def run(*line):
        return subprocess.run(line, input=payload, env=env, text=True, capture_output=True, check=True)

    # Alternately, so that a busy machine slows both.
    pairs = [(timed(lambda: run(binary, "hook", "claude")), timed(lambda: run(binary, "--version"))) for _ in range(CALLS)]
    hook, bare = zip(*pairs)
    print(f"\na hook with nothing to say, whole process: {shown(hook)}; `meanwhile --version`: {shown(bare)}")
    subprocess.run([binary, "stop", "--all", "--grace", "0s"], env=env, cwd=home, capture_output=True, check=False)


main()
