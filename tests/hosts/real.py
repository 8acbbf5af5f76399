"""Real agents on a model that follows a script: each result is told once, and the model never asks for it.

`tests/hosts/by-hand` installs the agents and calls this. Prints a line for each case, and exits with 1 if one failed.
"""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.request
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

    def add(self, file, members):
        """Adds members to a JSON file in the home."""
        path = self.home / file
        path.write_text(json.dumps(json.loads(path.read_text()) | members))

    def close(self):
        self.run(MEANWHILE, "stop", "--all", "--grace", "0s")
        self.folder.cleanup()


def check(name, model, blocks, begun, output):
    """Quick's result entered the turn, slow's came at its end, the server was not waited for.

    `blocks`: how often the agent shows its model what blocks the end of a turn.
    """
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
    report(name, wrong, model, begun, output)


def report(name, wrong, model, begun, output):
    global failed
    took = time.monotonic() - begun
    print(f"{'FAILED' if wrong else 'ok'}  {name}: {len(model.requests)} model calls, {took:.1f} s", *wrong, sep="\n    ", flush=True)
    if wrong:
        failed += 1
        print(output[-1500:])


ALLOWED = ["--allowedTools", "Bash", "mcp__meanwhile__background_run"]


def claude_env(model):
    names = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "none", "ANTHROPIC_MODEL": "claude-sonnet-4-5"}
    return names | {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}


def claude(name, first):
    lab = Lab("claude")
    model = Model(lambda n, _: [first, [("Bash", {"command": "sleep 4; echo worked"})]][n] if n < 2 else f"answer {n}")
    lab.env |= claude_env(model)
    begun = time.monotonic()
    ran = lab.run("claude", "-p", "please build", *ALLOWED)
    # As an error and as feedback, in one call.
    check(name, model, 2, begun, ran.stdout)
    lab.close()


def claude_killed(name):
    """The host and its server are killed in the middle of a turn; the result is told when the session is taken up."""
    lab = Lab("claude")
    first = [("mcp__meanwhile__background_run", {"command": "sleep 3; echo late-output"})]
    # Claude Code refuses a `sleep` that stands alone.
    model = Model(lambda n, _: [first, [("Bash", {"command": "tail -f /dev/null"})]][n] if n < 2 else f"answer {n}")
    lab.env |= claude_env(model)
    begun = time.monotonic()
    host = subprocess.Popen(
        ["claude", "-p", "please build", *ALLOWED], cwd=lab.work, env=lab.env, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(model.requests) >= 2)
    os.killpg(host.pid, signal.SIGKILL)
    host.wait()
    wait_for(lambda: '"exited"' in lab.run(MEANWHILE, "ps", "--all", "--json").stdout)
    ran = lab.run("claude", "-p", "--continue", "and now?", *ALLOWED)
    told = [it.count("exited 0 after 3") for it in model.requests]
    wrong = [] if told == [0, 0, 1] else [f"the result is told {told} times in each call, expected [0, 0, 1]"]
    report(name, wrong, model, begun, ran.stdout)
    lab.close()


def claude_two(name):
    """Two sessions at once in one directory: each is told its own."""
    lab = Lab("claude")

    def session(own):
        first = [("mcp__meanwhile__background_run", {"command": f"sleep 2; echo {own}-output"})]
        return Model(lambda n, _: first if n == 0 else f"answer {n}")

    models = {own: session(own) for own in ("first", "second")}
    begun = time.monotonic()
    hosts = [
        subprocess.Popen(
            ["claude", "-p", "please build", *ALLOWED], cwd=lab.work, env=lab.env | claude_env(model),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for model in models.values()
    ]
    said = "".join(host.communicate(timeout=120)[0] for host in hosts)
    wrong = []
    for own, model in models.items():
        other = next(it for it in models if it != own)
        last = model.requests[-1] if model.requests else ""
        # The reason of a blocked end is shown twice, each with one line of output.
        if last.count(f"\\n{own}-output") != 2 or f"{other}-output" in last:
            wrong.append(f"{own}: {last[-700:]}")
    report(name, wrong, models["first"], begun, said)
    lab.close()


def claude_terminal(name):
    """A person sits there: each result wakes the idle session."""
    lab = Lab("claude")
    tool = "mcp__meanwhile__background_run"
    first = [(tool, {"command": QUICK}), (tool, {"command": SLOW}), (tool, {"command": SERVER, "service": True})]
    model = Model(lambda n, _: first if n == 0 else f"answer {n}")
    lab.env |= claude_env(model) | {"TERM": "xterm-256color"}
    # What a person says yes to at the first start.
    known = {"hasCompletedOnboarding": True, "customApiKeyResponses": {"approved": ["none"]}}
    known["projects"] = {str(lab.work): {"hasTrustDialogAccepted": True}}
    lab.add(".claude.json", known)
    begun = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(lab.work)
        os.execvpe("claude", ["claude", "please build", *ALLOWED], lab.env)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    screen = bytearray()

    def read():
        # Until the program ends.
        while True:
            try:
                part = os.read(terminal, 1 << 16)
            except OSError:
                return
            screen.extend(part)
            if b"\x1b[c" in part:
                os.write(terminal, b"\x1b[?62;c")

    threading.Thread(target=read, daemon=True).start()
    wait_for(lambda: len(model.requests) >= 4)
    last = model.requests[-1] if model.requests else ""
    told = [sum(end in it for it in model.requests[n:n + 1]) for n, end in ((2, QUICK_END), (3, SLOW_END))]
    told += [last.count(QUICK_END), last.count(SLOW_END), len(model.requests)]
    wrong = [] if told == [1, 1, 1, 1, 4] else [f"told {told}, expected [1, 1, 1, 1, 4]"]
    report(name, wrong, model, begun, screen.decode("utf8", "replace"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    lab.close()


def wait_for(holds):
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)


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


def gemini(name):
    lab = Lab("gemini")
    tool = "mcp_meanwhile_background_run"
    first = [(tool, {"command": QUICK}), (tool, {"command": SLOW}), (tool, {"command": SERVER, "service": True})]
    work = [("run_shell_command", {"command": "sleep 4; echo worked"})]
    model = Model(lambda n, _: [first, work][n] if n < 2 else f"answer {n}")
    lab.add(".gemini/settings.json", {"security": {"auth": {"selectedType": "gemini-api-key"}}})
    lab.env |= {"GOOGLE_GEMINI_BASE_URL": model.url, "GEMINI_API_KEY": "none", "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    begun = time.monotonic()
    flags = ["--allowed-tools", f"run_shell_command,{tool}", "-m", "gemini-2.5-pro"]
    ran = lab.run("gemini", "-p", "please build", *flags)
    check(name, model, 1, begun, ran.stdout)
    lab.close()


def opencode_lab(model):
    lab = Lab("opencode")
    options = {"baseURL": f"{model.url}/v1", "apiKey": "none"}
    scripted = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {"scripted": {}}}
    own = {"provider": {"scripted": scripted}, "model": "scripted/scripted"}
    lab.add(".config/opencode/opencode.json", own)
    return lab


def opencode_model():
    tool = "meanwhile_background_run"
    first = [(tool, {"command": QUICK}), (tool, {"command": SLOW}), (tool, {"command": SERVER, "service": True})]
    work = [("bash", {"command": "sleep 4; echo worked", "description": "work"})]
    return Model(lambda n, _: [first, work][n] if n < 2 else f"answer {n}")


def opencode_run(name):
    """The program leaves with the turn: what comes later is told with the next prompt."""
    model = opencode_model()
    lab = opencode_lab(model)
    begun = time.monotonic()
    ran = lab.run("opencode", "run", "please build")
    tasks = json.loads(lab.run(MEANWHILE, "ps", "--json").stdout)["tasks"]
    slow = [task["id"] for task in tasks if task["command"] == SLOW and task["state"] == "running"]
    if slow:
        lab.run(MEANWHILE, "wait", *slow)
    again = lab.run("opencode", "run", "--continue", "and now?")
    check(name, model, 1, begun, ran.stdout + again.stdout)
    lab.close()


def opencode_serve(name):
    """The program stays, as the one in a terminal does: a result begins a turn."""
    model = opencode_model()
    lab = opencode_lab(model)
    begun = time.monotonic()
    server = subprocess.Popen(
        ["opencode", "serve", "--port", "0"], cwd=lab.work, env=lab.env,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    url = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))

    def ask(path, body):
        request = urllib.request.Request(url + path, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    session = ask("/session", {})["id"]
    ask(f"/session/{session}/message", {"parts": [{"type": "text", "text": "please build"}]})
    # The turn is over; the next call is of the turn that the result begins.
    wait_for(lambda: len(model.requests) >= 4)
    check(name, model, 1, begun, "")
    server.terminate()
    server.wait(timeout=20)
    lab.close()


tool = "mcp__meanwhile__background_run"
claude("claude -p, MCP and hooks", [(tool, {"command": QUICK}), (tool, {"command": SLOW}), (tool, {"command": SERVER, "service": True})])
line = f"{MEANWHILE} spawn -- sh -c '{QUICK}'; {MEANWHILE} spawn -- sh -c '{SLOW}'; {MEANWHILE} spawn --service -- {SERVER}"
claude("claude -p, shell and hooks", [("Bash", {"command": line})])
claude_killed("claude -p, killed and taken up again")
claude_two("claude -p, two sessions in one directory")
claude_terminal("claude in a terminal, MCP and hooks")
codex("codex exec, MCP and hooks, workspace-write", "workspace-write")
codex("codex exec, MCP and hooks, read-only", "read-only")
gemini("gemini -p, MCP and hooks")
opencode_run("opencode run, MCP and plugin, taken up again")
opencode_serve("opencode serve, MCP and plugin")
sys.exit(failed > 0)
