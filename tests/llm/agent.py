#!/usr/bin/env python3
"""Whole sessions of the real binary with a model server on loopback, in every wire format.

    python3 tests/llm/agent.py [PATH/TO/meanwhile]   # default: target/debug/meanwhile

The session has everything that a history can contain: parallel background tasks, a foreground command,
one that moves to the background, files, errors of every kind, a truncated answer, and results that arrive
during a turn, during its last call and after it. It runs once without faults, once with a fault of the
server before every other answer, and once with a refusal that ends the run, which is then resumed. Each
time every request is validated against the vendor's description and by `pairing.py`, each must extend
the one before it, each result must be delivered once, and each command must have run once.
"""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pairing
from comply import FORMATS, ROOT, call, judges, settings, text
from recorder import Recorder

SETTINGS = '[agent]\nyield_after = "300ms"\n'
TASK = re.compile(r"task ([0-9a-f]{8})\b")
OPEN = "<background-results>"


class Lab:
    """A store, a workspace, and gates at which commands wait."""

    def __init__(self, binary, root, vendor):
        self.binary, self.root, self.vendor = binary, root, vendor
        self.workspace = root / "workspace"
        self.workspace.mkdir()
        (root / "config/meanwhile").mkdir(parents=True)
        (root / "config/meanwhile/config.toml").write_text(SETTINGS)
        (self.workspace / "notes.txt").write_text("one\ntwo\n")
        self.gates = {}
        for name in "abc":
            path = self.workspace / f"gate-{name}"
            os.mkfifo(path)
            # Open both ends, so that a command never blocks when it opens the FIFO.
            self.gates[name] = os.open(path, os.O_RDWR)
        self.tasks = {}

    def command(self, name, code):
        return f"echo {name} >> ran; read x < gate-{name}; echo said by {name}; exit {code}"

    def open(self, name):
        os.write(self.gates[name], b"\n")

    def meanwhile(self, *words, url="http://127.0.0.1:9"):
        """Runs the binary until it exits."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "MEANWHILE_STATE_DIR": str(self.root / "state"),
        } | settings(self.vendor, url)
        command = [self.binary, *words]
        try:
            return subprocess.run(command, env=env, cwd=self.workspace, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired as late:
            output = ((it or b"").decode(errors="replace") for it in (late.stdout, late.stderr))
            return subprocess.CompletedProcess(command, 124, *output)

    def ended(self, name):
        """Opens a task's gate, and waits until the task ends."""
        self.open(name)
        self.meanwhile("wait", self.tasks[name])

    def answers(self):
        """The model's answers, as values or as functions that first open gates or learn ids."""

        def learn(*names):
            def learned(body, answer):
                ids = TASK.findall(last_results(body))
                self.tasks.update(zip(names, ids, strict=True))
                return answer

            return learned

        first, moved = learn("a", "b"), learn("c")

        def second(body):
            wrong = call("toolu_6", "bash", '["ls"]')
            unknown = call("toolu_5", "no_such_tool", {"x": 1})
            read = call("toolu_4", "read_file", {"path": "notes.txt"})
            stays = call("toolu_3", "bash", {"command": self.command("c", 0)})
            return first(body, ([text("One that stays."), stays, read, unknown, wrong], "tool_use"))

        def third(body):
            answer = moved(body, ([call("toolu_7", "bash", {"command": "echo d >> ran; exit 2"})], "tool_use"))
            self.ended("a")
            return answer

        write = call("toolu_8", "write_file", {"path": "made.txt", "content": "x\n"})
        cut = call("toolu_9", "edit_file", '{"path": "notes.txt", "old_str')
        edit = {"path": "notes.txt", "old_string": "three", "new_string": "x"}

        def fifth(_):
            check = call("toolu_10", "check_background", {"task_id": self.tasks["b"]})
            read = call("toolu_11", "task_output", {"task_id": self.tasks["a"]})
            return [check, read, call("toolu_12", "edit_file", edit), call("toolu_13", "bash", "")], "tool_use"

        def sixth(_):
            self.ended("b")
            return [text("I wait for the rest.")], "end_turn"

        def seventh(_):
            self.open("c")
            return [text("One is left.")], "end_turn"

        thinking = {"type": "thinking", "thinking": "Long.", "signature": "c2ln"}
        first_two = {"toolu_1": self.command("a", 1), "toolu_2": self.command("b", 2)}
        start = [call(id, "background_run", {"command": line}) for id, line in first_two.items()]
        return [
            ([thinking, text("I start both."), *start], "tool_use"),
            second,
            third,
            ([text("On it."), write, cut], "max_tokens"),
            fifth,
            sixth,
            seventh,
            ([text("All have ended.")], "end_turn"),
        ]


def last_results(body):
    """The text of the newest tool results."""
    messages = pairing.messages(body)
    answered = max(at for at, message in enumerate(messages) if message["role"] == "assistant")
    said = []
    for message in messages[answered + 1 :]:
        said += [message["content"]] if message["role"] == "tool" else [
            block["content"] for block in pairing.blocks(message, "tool_result")
        ]
    return "\n".join(said)


def said_to(body):
    """The texts of user messages, without tool results."""
    for message in pairing.messages(body):
        if message["role"] == "user":
            content = message["content"]
            yield from [content] if isinstance(content, str) else [b["text"] for b in content if b["type"] == "text"]


def plain(value):
    """A copy without the cache markers, which move from request to request."""
    value = copy.deepcopy(value)
    for message in value:
        for block in message["content"] if isinstance(message.get("content"), list) else []:
            block.pop("cache_control", None)
    return value


def judged(lab, recorder, judge, route):
    """The problems with the requests and the effects of a session."""
    problems = []
    before = None
    for number, (path, headers, body) in enumerate(recorder.requests, 1):
        found = judge(body) + pairing.wrong(body) + ([] if path == route else [f"sent to {path}, not {route}"])
        if before is not None:
            key = "input" if "input" in body else "messages"
            if plain(body[key])[: len(before[key])] != plain(before[key]):
                found.append("it changes messages that were sent before")
            if any(body.get(key) != before.get(key) for key in ("system", "instructions", "tools")):
                found.append("the system prompt or the tools have changed")
        before = body
        problems += [f"request {number}: {problem[:600]}" for problem in found]
    told = [said for said in said_to(body) if said.startswith(OPEN)]
    for name, code in (("a", 1), ("b", 2), ("c", 0)):
        entry = f"[bg:{lab.tasks[name]}] exited {code}"
        times = sum(said.count(entry) for said in told)
        if times != 1 or sum(said.count(lab.tasks[name]) for said in told) != 1:
            problems.append(f"{name} was delivered {times} times: {told}")
        if not any(entry in said and f"said by {name}" in said for said in told):
            problems.append(f"the output of {name} is not with its end: {told}")
    # Each arrived in a separate message: a during the turn, b during its last call, c after it.
    if len(told) != 3:
        problems.append(f"{len(told)} messages with results, expected 3: {told}")
    ran = sorted((lab.workspace / "ran").read_text().split())
    if ran != ["a", "b", "c", "d"]:
        problems.append(f"these commands ran: {ran}")
    if (lab.workspace / "notes.txt").read_text() != "one\ntwo\n" or not (lab.workspace / "made.txt").exists():
        problems.append("the files are wrong")
    return problems


def ends_well(run, words):
    problems = [] if run.returncode == 0 else [f"exit {run.returncode}"]
    problems += [f"`{word}` was not printed, or not once" for word in words if run.stdout.count(word) != 1]
    return problems


def in_peace(lab, recorder):
    run = lab.meanwhile("run", "--allow", "*", "do it all", url=recorder.url)
    return run, ends_well(run, ["I start both.", "On it.", "I wait for the rest.", "One is left.", "All have ended."])


def with_faults(lab, recorder):
    recorder.faults = {1: 429, 2: "cut", 3: 529, 4: "error", 5: 500, 6: "garbage", 7: "cut"}
    faults = len(recorder.faults)
    run, problems = in_peace(lab, recorder)
    if len(recorder.requests) != recorder.answered + faults:
        problems.append(f"{len(recorder.requests)} requests for {recorder.answered} answers and {faults} faults")
    return run, problems


def resumed(lab, recorder):
    # The refused request carries a result, and the next request still has it.
    recorder.faults = {3: 401}
    run = lab.meanwhile("run", "--allow", "*", "do it all", url=recorder.url)
    problems = [] if run.returncode else ["the refused run ended with 0"]
    if f"{lab.vendor.split('-')[0].upper()}_API_KEY" not in run.stderr:
        problems.append(f"the error does not name the variable: {run.stderr}")
    run = lab.meanwhile("run", "--allow", "*", "--resume", "last", "go on", url=recorder.url)
    problems += ends_well(run, ["On it.", "I wait for the rest.", "One is left.", "All have ended."])
    return run, problems


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/debug/meanwhile")
    wrong, judge = 0, judges()
    for vendor, (route, _, _) in FORMATS.items():
        for hold in (in_peace, with_faults, resumed):
            with tempfile.TemporaryDirectory(prefix="meanwhile-llm-") as root:
                lab = Lab(binary, pathlib.Path(root), vendor)
                recorder = Recorder(lab.answers())
                run, problems = hold(lab, recorder)
                if recorder.answered != 8:
                    problems.append(f"{recorder.answered} answers were given, expected 8")
                else:
                    problems += judged(lab, recorder, judge[vendor], route)
                print(f"{vendor}, {hold.__name__}: {len(recorder.requests)} requests, {'; '.join(problems) or 'clean'}")
                if problems:
                    print(run.stdout, run.stderr)
                    for _, _, body in recorder.requests[-1:]:
                        print(json.dumps(pairing.messages(body), indent=1)[-6000:])
                for task in lab.tasks.values():
                    lab.meanwhile("stop", task)
                wrong += len(problems)
    sys.exit(f"{wrong} problems" if wrong else 0)


if __name__ == "__main__":
    main()
