"""Real agents on a model that follows a script: each result is told once, and the model never asks for it.

`tests/hosts/by-hand` installs the agents and calls this. A third argument chooses the cases whose names contain it.
Prints a line for each case, and exits with 1 if one failed.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import datetime

from lab import Lab, Terminal, wait_for
from model import Model

MEANWHILE, AGENTS = sys.argv[1:3]
CHOSEN = sys.argv[3] if len(sys.argv) > 3 else ""
QUICK = "sleep 2; echo quick-output; exit 3"
OTHER = "sleep 1; echo other-output"
SLOW = "sleep 9; echo slow-output"
SERVER = "sleep 300"
# How the end of each is told.
QUICK_END, OTHER_END, SLOW_END = "exited 3 after", "exited 0 after 1", "exited 0 after 9"
WORK = "sleep 4; echo worked"
failed = 0


class Host:
    """An agent: its tool that starts a task, its shell, and its command lines."""

    blocks = 1
    """How often it shows its model what blocks the end of a turn."""
    leaves = False
    """It leaves with its turn, whatever still runs."""

    def open(self, model):
        """A lab where the agent speaks to the model."""
        lab = Lab(MEANWHILE, AGENTS, self.name)
        self.prepare(lab, model)
        return lab

    def begin(self, command, service=False):
        return (self.tool, {"command": command} | ({"service": True} if service else {}))

    def work(self, command):
        return (self.shell, {"command": command})


class Claude(Host):
    name, tool, shell, blocks = "claude", "mcp__meanwhile__background_run", "Bash", 2
    allowed = ["--allowedTools", "Bash", tool]

    def environment(self, model):
        names = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "none", "ANTHROPIC_MODEL": "claude-sonnet-4-5"}
        return names | {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}

    def prepare(self, lab, model):
        lab.env |= self.environment(model)

    def line(self, prompt, again):
        return ["claude", "-p", *(["--continue"] if again else []), prompt, *self.allowed]


class Codex(Host):
    name, tool, shell = "codex", "mcp__meanwhile__background_run", "exec_command"

    def __init__(self, sandbox="workspace-write"):
        self.sandbox = sandbox

    def work(self, command):
        return (self.shell, {"cmd": command})

    def environment(self, model):
        return {"SCRIPTED_URL": model.url}

    def prepare(self, lab, model):
        settings = lab.home / ".codex/config.toml"
        own = f"""model = "scripted"
model_provider = "scripted"
sandbox_mode = "{self.sandbox}"
[model_providers.scripted]
name = "scripted"
base_url = "{model.url}/v1"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
[projects.{json.dumps(str(lab.work))}]
trust_level = "trusted"
"""
        # What a user has to decide: that background_run is not asked about.
        approved = '[mcp_servers.meanwhile.tools.background_run]\napproval_mode = "approve"\n'
        state = json.dumps(lab.env["MEANWHILE_STATE_DIR"])
        server = settings.read_text().replace('args = ["mcp"]', f'args = ["mcp"]\nenv = {{ MEANWHILE_STATE_DIR = {state} }}')
        settings.write_text(own + server + approved)
        lab.env |= {"SCRIPTED_KEY": "none"}
        while not self.trusts(lab, settings):
            pass

    def trusts(self, lab, settings):
        """A person trusts the hooks once, in the program; now and then it does not ask, and is started again."""
        terminal = Terminal(lab, "codex", "--no-daemon")
        if wait_for(lambda: terminal.shows("Trust all"), 10):
            terminal.press(b"2")
            wait_for(lambda: terminal.shows("› 2."), 10)
            terminal.press(b"\r")
            wait_for(lambda: "trusted_hash" in settings.read_text(), 10)
        terminal.close()
        return "trusted_hash" in settings.read_text()

    def line(self, prompt, again):
        return ["codex", "exec", *(["resume", "--last"] if again else []), "--skip-git-repo-check", prompt]


class Gemini(Host):
    name, tool, shell = "gemini", "mcp_meanwhile_background_run", "run_shell_command"

    def environment(self, model):
        return {"GOOGLE_GEMINI_BASE_URL": model.url, "GEMINI_API_KEY": "none"}

    def prepare(self, lab, model):
        lab.add(".gemini/settings.json", {"security": {"auth": {"selectedType": "gemini-api-key"}}})
        lab.env |= self.environment(model) | {"GEMINI_CLI_TRUST_WORKSPACE": "true"}

    def line(self, prompt, again):
        flags = ["--allowed-tools", f"{self.shell},{self.tool}", "-m", "gemini-2.5-pro"]
        return ["gemini", *(["--resume", "latest"] if again else []), "-p", prompt, *flags]


class Opencode(Host):
    name, tool, shell, leaves = "opencode", "meanwhile_background_run", "bash", True

    def work(self, command):
        return (self.shell, {"command": command, "description": "work"})

    def environment(self, model):
        return {"SCRIPTED_URL": f"{model.url}/v1"}

    def prepare(self, lab, model):
        lab.env |= self.environment(model)
        options = {"baseURL": "{env:SCRIPTED_URL}", "apiKey": "none"}
        scripted = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {"scripted": {}}}
        lab.add(".config/opencode/opencode.json", {"provider": {"scripted": scripted}, "model": "scripted/scripted"})

    def line(self, prompt, again):
        return ["opencode", "run", *(["--continue"] if again else []), prompt]


def scripted(*turns):
    """A model that plays these calls of tools, and then answers."""
    return Model(lambda n, _: list(turns[n]) if n < len(turns) else f"answer {n}")


def case(name, body):
    """Runs a case, if it was chosen."""
    if CHOSEN not in name:
        return
    begun = time.monotonic()
    model, output, wrong, *more = body()
    global failed
    failed += bool(wrong)
    took = time.monotonic() - begun
    print(
        f"{'FAILED' if wrong else 'ok'}  {name}: {len(model.requests)} model calls, {took:.1f} s", *more, *wrong,
        sep="\n    ", flush=True,
    )
    if wrong:
        print(output[-1500:])


def told(model, end):
    """The number of the call that a result came with, and how often the last one has it."""
    came = next((n for n, it in enumerate(model.requests) if end in it), None)
    return came, model.requests[-1].count(end) if model.requests else 0


def check(model, blocks, expected=(2, 2, 3)):
    """Two results entered the turn together, one came at its end, the server was not waited for."""
    ends = (OTHER_END, QUICK_END, SLOW_END)
    found = [told(model, end) for end in ends]
    wanted = list(zip(expected, (1, 1, blocks)))
    wrong = [] if found == wanted else [f"(call, times) of {ends}: {found}, expected {wanted}"]
    if len(model.requests) != 4:
        wrong.append(f"{len(model.requests)} calls of the model, expected 4")
    return wrong


def reached(lab, model):
    """How long after its end the slow result reached the model."""
    ended = next((task.get("endedAt") for task in lab.tasks() if SLOW in task["command"]), None)
    came, _ = told(model, SLOW_END)
    if ended is None or came is None:
        return []
    waited = model.times[came] - datetime.fromisoformat(ended.replace("Z", "+00:00")).timestamp()
    return [f"{waited * 1000:.0f} ms from the last end to the model's next call"]


def turn(host, first):
    model = scripted(first, [host.work(WORK)])
    lab = host.open(model)
    output = lab.run(*host.line("please build", False))
    more = [] if host.leaves else reached(lab, model)
    if host.leaves:
        wait_for(lambda: any(SLOW in task["command"] and task["state"] == "exited" for task in lab.tasks()))
        output += lab.run(*host.line("and now?", True))
    wrong = check(model, host.blocks)
    lab.close()
    return model, output, wrong, *more


def killed(host):
    """The agent and its server are killed in the middle of a turn; the result is told when the session is taken up."""
    # Claude Code refuses a `sleep` that stands alone.
    model = scripted([host.begin("sleep 3; echo late-output")], [host.work("timeout 60 tail -f /dev/null")])
    lab = host.open(model)
    agent = lab.start(*host.line("please build", False), start_new_session=True)
    wait_for(lambda: len(model.requests) >= 2)
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()
    wait_for(lambda: any(task["state"] == "exited" for task in lab.tasks()))
    output = lab.run(*host.line("and now?", True))
    times = [it.count("exited 0 after 3") for it in model.requests]
    wrong = [] if times == [0, 0, 1] else [f"the result is told {times} times in each call, expected [0, 0, 1]"]
    lab.close()
    return model, output, wrong


def two(host):
    """Two sessions at once in one directory: each is told its own."""
    names = ("first", "second")
    models = {own: scripted([host.begin(f"sleep 2; echo {own}-output")], [host.work(WORK)]) for own in names}
    lab = host.open(models["first"])
    if host.name == "opencode":
        # Its first start makes its database, and of two at once one fails at that.
        lab.run("opencode", "session", "list")
    agents = []
    for own, model in models.items():
        # Codex has the address of its model in its settings.
        line = host.line("please build", False)
        if host.name == "codex":
            line[2:2] = ["-c", f'model_providers.scripted.base_url="{model.url}/v1"']
        agents.append(lab.start(*line, env=host.environment(model)))
    output = "".join(agent.communicate(timeout=120)[0] for agent in agents)
    wrong = []
    for own, model in models.items():
        last = model.requests[-1] if model.requests else ""
        others = [it for it in names if it != own and f"{it}-output" in last]
        # The output stands in a line of its own, which the command does not.
        if last.count(f"\\n{own}-output") != 1 or others or len(model.requests) != 3:
            wrong.append(f"{own}: {len(model.requests)} calls, the last: {last[-700:]}")
    lab.close()
    return models["first"], output, wrong


def in_terminal():
    """A person sits there: each result wakes the idle session."""
    host = Claude()
    model = scripted([host.begin(QUICK), host.begin(SLOW), host.begin(SERVER, service=True)])
    lab = host.open(model)
    # What a person says yes to at the first start.
    known = {"hasCompletedOnboarding": True, "customApiKeyResponses": {"approved": ["none"]}}
    known["projects"] = {str(lab.work): {"hasTrustDialogAccepted": True}}
    lab.add(".claude.json", known)
    terminal = Terminal(lab, "claude", "please build", *host.allowed)
    wait_for(lambda: len(model.requests) >= 4)
    found = [told(model, end) for end in (QUICK_END, SLOW_END)]
    wrong = [] if found == [(2, 1), (3, 1)] else [f"(call, times): {found}, expected [(2, 1), (3, 1)]"]
    more = reached(lab, model)
    terminal.close()
    lab.close()
    return model, terminal.text(), wrong, *more


def served():
    """The program stays, as the one in a terminal does: a result begins a turn."""
    host = Opencode()
    model = scripted(first(host), [host.work(WORK)])
    lab = host.open(model)
    server = lab.start("opencode", "serve", "--port", "0")
    url = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))

    def ask(path, body):
        request = urllib.request.Request(url + path, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    session = ask("/session", {})["id"]
    ask(f"/session/{session}/message", {"parts": [{"type": "text", "text": "please build"}]})
    # The turn is over; the next call is of the turn that the result begins.
    wait_for(lambda: len(model.requests) >= 4)
    wrong, more = check(model, 1), reached(lab, model)
    server.terminate()
    server.wait(timeout=20)
    lab.close()
    return model, "", wrong, *more


def first(host):
    return [host.begin(OTHER), host.begin(QUICK), host.begin(SLOW), host.begin(SERVER, service=True)]


def by_shell(host):
    """The same, by command lines in the agent's shell."""
    spawns = [f"{MEANWHILE} spawn -- sh -c '{line}'" for line in (OTHER, QUICK, SLOW)]
    return [host.work("; ".join([*spawns, f"{MEANWHILE} spawn --service -- {SERVER}"]))]


def refused(host):
    """The sandbox ends all processes with the command: no task is begun there, and the tool is named."""
    model = scripted([host.work(f"{MEANWHILE} spawn -- sh -c '{QUICK}'")])
    lab = host.open(model)
    output = lab.run(*host.line("please build", False))
    wrong = [] if "MCP server `meanwhile mcp`" in model.requests[-1] else ["the server is not named"]
    wrong += ["a task was begun"] if lab.tasks() else []
    lab.close()
    return model, output, wrong


for host in (Claude(), Codex(), Codex("read-only"), Gemini(), Opencode()):
    is_sandboxed = isinstance(host, Codex)
    named = f"{host.name} {host.sandbox}" if is_sandboxed else host.name
    case(f"{named}: by its tool, in the turn and at its end", lambda: turn(host, first(host)))
    if is_sandboxed:
        case(f"{named}: by its shell, refused", lambda: refused(host))
    else:
        case(f"{named}: by its shell, in the turn and at its end", lambda: turn(host, by_shell(host)))
    if is_sandboxed and host.sandbox == "read-only":
        continue
    case(f"{named}: killed and taken up again", lambda: killed(host))
    case(f"{named}: two sessions in one directory", lambda: two(host))
case("claude in a terminal: woken", in_terminal)
case("opencode serve: woken", served)
sys.exit(failed > 0)
