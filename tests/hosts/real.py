"""Real agents with a scripted model: each result is delivered once, without a call of the model for it.

`tests/hosts/by-hand` installs the agents and runs this. A third argument selects the cases whose names contain it.
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
# The text with which the end of each is reported.
QUICK_END, OTHER_END, SLOW_END = "exited 3 after", "exited 0 after 1", "exited 0 after 9"
WORK = "sleep 4; echo worked"
failed = 0


class Host:
    """An agent: its tool that starts a task, its shell, and its command lines."""

    blocks = 1
    """How often it sends its model a reason that blocks the end of a turn."""
    leaves = False
    """Whether it exits at the end of its turn even if tasks still run."""

    def open(self, model):
        """A lab in which the agent uses this model."""
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
        # A setting that users have to choose: no approval is needed for background_run.
        approved = '[mcp_servers.meanwhile.tools.background_run]\napproval_mode = "approve"\n'
        state = json.dumps(lab.env["MEANWHILE_STATE_DIR"])
        server = settings.read_text().replace('args = ["mcp"]', f'args = ["mcp"]\nenv = {{ MEANWHILE_STATE_DIR = {state} }}')
        settings.write_text(own + server + approved)
        lab.env |= {"SCRIPTED_KEY": "none"}
        while not self.trusts(lab, settings):
            pass

    def trusts(self, lab, settings):
        """Trusts the hooks as a person does, in the program; sometimes it does not ask, and has to be started again."""
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
    """A model that makes these tool calls, one list in each turn, and then answers."""
    return Model(lambda n, _: list(turns[n]) if n < len(turns) else f"answer {n}")


def case(name, body):
    """Runs a case if it was selected."""
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
    """The number of the first model call with a result, and how often the last call has it."""
    came = next((n for n, it in enumerate(model.requests) if end in it), None)
    return came, model.requests[-1].count(end) if model.requests else 0


def check(model, blocks, expected=(2, 2, 3)):
    """Checks that two results entered the turn together, one arrived at its end, and the server was not waited for."""
    ends = (OTHER_END, QUICK_END, SLOW_END)
    found = [told(model, end) for end in ends]
    wanted = list(zip(expected, (1, 1, blocks)))
    wrong = [] if found == wanted else [f"(call, times) of {ends}: {found}, expected {wanted}"]
    if len(model.requests) != 4:
        wrong.append(f"{len(model.requests)} calls of the model, expected 4")
    return wrong


def reached(lab, model):
    """How long it took from the end of the slow task until its result reached the model."""
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
    """The agent and its server are killed during a turn; the result is delivered when the session is resumed."""
    # Claude Code refuses a command that is only a `sleep`.
    model = scripted([host.begin("sleep 3; echo late-output")], [host.work("timeout 60 tail -f /dev/null")])
    lab = host.open(model)
    agent = lab.start(*host.line("please build", False), start_new_session=True)
    wait_for(lambda: len(model.requests) >= 2)
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()
    wait_for(lambda: any(task["state"] == "exited" for task in lab.tasks()))
    output = lab.run(*host.line("and now?", True))
    times = [it.count("exited 0 after 3") for it in model.requests]
    wrong = [] if times == [0, 0, 1] else [f"each call has the result {times} times, expected [0, 0, 1]"]
    lab.close()
    return model, output, wrong


def two(host):
    """Two sessions at once in one directory: each gets its own results."""
    names = ("first", "second")
    models = {own: scripted([host.begin(f"sleep 2; echo {own}-output")], [host.work(WORK)]) for own in names}
    lab = host.open(models["first"])
    if host.name == "opencode":
        # Its first start creates its database, and one of two simultaneous first starts fails.
        lab.run("opencode", "session", "list")
    agents = []
    for own, model in models.items():
        # Codex reads the address of its model from its settings.
        line = host.line("please build", False)
        if host.name == "codex":
            line[2:2] = ["-c", f'model_providers.scripted.base_url="{model.url}/v1"']
        agents.append(lab.start(*line, env=host.environment(model)))
    output = "".join(agent.communicate(timeout=120)[0] for agent in agents)
    wrong = []
    for own, model in models.items():
        last = model.requests[-1] if model.requests else ""
        others = [it for it in names if it != own and f"{it}-output" in last]
        # The output is on a separate line, unlike the command.
        if last.count(f"\\n{own}-output") != 1 or others or len(model.requests) != 3:
            wrong.append(f"{own}: {len(model.requests)} calls, the last: {last[-700:]}")
    lab.close()
    return models["first"], output, wrong


def in_terminal():
    """In an interactive session each result wakes the idle session."""
    host = Claude()
    model = scripted([host.begin(QUICK), host.begin(SLOW), host.begin(SERVER, service=True)])
    lab = host.open(model)
    # What a person confirms at the first start.
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
    """The program does not exit, as in a terminal: a result starts a turn."""
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
    # The turn has ended; the next call belongs to the turn that the result starts.
    wait_for(lambda: len(model.requests) >= 4)
    wrong, more = check(model, 1), reached(lab, model)
    server.terminate()
    server.wait(timeout=20)
    lab.close()
    return model, "", wrong, *more


def first(host):
    return [host.begin(OTHER), host.begin(QUICK), host.begin(SLOW), host.begin(SERVER, service=True)]


def by_shell(host):
    """The same tasks, started with command lines in the agent's shell."""
    spawns = [f"{MEANWHILE} spawn -- sh -c '{line}'" for line in (OTHER, QUICK, SLOW)]
    return [host.work("; ".join([*spawns, f"{MEANWHILE} spawn --service -- {SERVER}"]))]


def refused(host):
    """The sandbox kills all processes when the command exits: no task is started, and the error names the tool."""
    model = scripted([host.work(f"{MEANWHILE} spawn -- sh -c '{QUICK}'")])
    lab = host.open(model)
    output = lab.run(*host.line("please build", False))
    wrong = [] if "MCP server `meanwhile mcp`" in model.requests[-1] else ["the server is not named"]
    wrong += ["a task was started"] if lab.tasks() else []
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
    case(f"{named}: killed and resumed", lambda: killed(host))
    case(f"{named}: two sessions in one directory", lambda: two(host))
case("claude in a terminal: woken", in_terminal)
case("opencode serve: woken", served)
sys.exit(failed > 0)
