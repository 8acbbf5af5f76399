"""Real agents on a model that follows a script: each result is told once, and the model never asks for it.

`tests/hosts/by-hand` installs the agents and calls this. Prints a line for each case, and exits with 1 if one failed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from model import Model

MEANWHILE, AGENTS = sys.argv[1:3]
QUICK = "sleep 2; echo quick-output; exit 3"
SLOW = "sleep 9; echo slow-output"
SERVER = "sleep 300"
QUICK_END, SLOW_END = "exited 3 after", "exited 0 after 9"
failed = 0


class Lab:
    """A home, a workspace and a store of their own, with the agent set up by the binary itself."""

    def __init__(self, host):
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.home, self.work = root / "home", root / "work"
        self.home.mkdir()
        self.work.mkdir()
        keep = {name: value for name, value in os.environ.items() if name in ("LANG", "TERM")}
        path = f"{AGENTS}:{os.environ['PATH']}"
        self.env = {**keep, "HOME": str(self.home), "PATH": path, "MEANWHILE_STATE_DIR": str(root / "state")}
        self.run(MEANWHILE, "setup", host, "--yes")

    def run(self, *command, timeout=120):
        return subprocess.run(
            command, cwd=self.work, env=self.env, stdin=subprocess.DEVNULL, timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )

    def close(self):
        self.run(MEANWHILE, "stop", "--all", "--grace", "0s")
        self.folder.cleanup()


def check(name, model, blocks, begun, output):
    """Quick's result entered the turn, slow's came at its end, the server was not waited for.

    `blocks`: how often the agent shows its model what blocks the end of a turn.
    """
    global failed
    last = model.requests[-1] if model.requests else ""
    came = [next((n for n, it in enumerate(model.requests) if end in it), None) for end in (QUICK_END, SLOW_END)]
    wrong = []
    if len(model.requests) != 4:
        wrong.append(f"{len(model.requests)} calls of the model, expected 4")
    if came != [2, 3]:
        wrong.append(f"the results came with the calls {came}, expected 2 and 3")
    told = [last.count(end) for end in (QUICK_END, SLOW_END)]
    if told != [1, blocks]:
        wrong.append(f"the results are told {told} times, expected {[1, blocks]}")
    took = time.monotonic() - begun
    print(f"{'FAILED' if wrong else 'ok'}  {name}: {len(model.requests)} model calls, {took:.1f} s", *wrong, sep="\n    " if wrong else "")
    if wrong:
        failed += 1
        print(output[-1500:])


def claude(name, first):
    lab = Lab("claude")
    model = Model(lambda n, _: [first, [("Bash", {"command": "sleep 4; echo worked"})]][n] if n < 2 else f"answer {n}")
    lab.env |= {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "none", "ANTHROPIC_MODEL": "claude-sonnet-4-5"}
    lab.env |= {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    begun = time.monotonic()
    allowed = ["Bash", "mcp__meanwhile__background_run"]
    ran = lab.run("claude", "-p", "please build", "--allowedTools", *allowed)
    # As an error and as feedback, in one call.
    check(name, model, 2, begun, ran.stdout)
    lab.close()


def codex(name, sandbox):
    lab = Lab("codex")
    tool = "mcp__meanwhile__background_run"
    first = [(tool, {"command": QUICK}), (tool, {"command": SLOW})]
    model = Model(lambda n, _: [first, [("exec_command", {"cmd": "sleep 4; echo worked"})]][n] if n < 2 else f"answer {n}")
    settings = lab.home / ".codex/config.toml"
    own = f"""model = "scripted"
model_provider = "scripted"
[model_providers.scripted]
name = "scripted"
base_url = "{model.url}/v1"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
"""
    # What a user has to decide: that background_run is not asked about.
    approved = '[mcp_servers.meanwhile.tools.background_run]\napproval_mode = "approve"\n'
    state = json.dumps(lab.env["MEANWHILE_STATE_DIR"])
    server = settings.read_text().replace('args = ["mcp"]', f'args = ["mcp"]\nenv = {{ MEANWHILE_STATE_DIR = {state} }}')
    settings.write_text(own + server + approved)
    lab.env |= {"SCRIPTED_KEY": "none"}
    begun = time.monotonic()
    # Trust in hooks is given in the program; without a person it is passed for one run.
    flags = ["--skip-git-repo-check", "--sandbox", sandbox, "--dangerously-bypass-hook-trust"]
    ran = lab.run("codex", "exec", *flags, "please build")
    check(name, model, 1, begun, ran.stdout)
    lab.close()


tool = "mcp__meanwhile__background_run"
claude("claude -p, MCP and hooks", [(tool, {"command": QUICK}), (tool, {"command": SLOW}), (tool, {"command": SERVER, "service": True})])
line = f"{MEANWHILE} spawn -- sh -c '{QUICK}'; {MEANWHILE} spawn -- sh -c '{SLOW}'; {MEANWHILE} spawn --service -- {SERVER}"
claude("claude -p, shell and hooks", [("Bash", {"command": line})])
codex("codex exec, MCP and hooks, workspace-write", "workspace-write")
codex("codex exec, MCP and hooks, read-only", "read-only")
sys.exit(failed > 0)
