"""What a case of `real.py` needs: temporary directories with the agent set up, and a terminal."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
from pathlib import Path


def wait_for(holds, seconds=60):
    """Waits until a condition holds; returns whether it does."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)
    return holds()


class Lab:
    """A temporary home, workspace and store, in which the binary has set up the agent."""

    def __init__(self, meanwhile, agents, host):
        self.meanwhile = meanwhile
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.home, self.work = root / "home", root / "work"
        self.home.mkdir()
        self.work.mkdir()
        keep = {name: value for name, value in os.environ.items() if name in ("LANG", "TERM")}
        path = f"{agents}:{os.environ['PATH']}"
        self.env = {**keep, "HOME": str(self.home), "PATH": path, "MEANWHILE_STATE_DIR": str(root / "state")}
        self.run(meanwhile, "setup", host, "--yes")

    def start(self, *command, **options):
        """Starts a program."""
        return subprocess.Popen(
            command, cwd=self.work, env=self.env | options.pop("env", {}), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
        )

    def run(self, *command):
        """Runs a program; returns its output."""
        with self.start(*command) as program:
            return program.communicate(timeout=120)[0]

    def tasks(self):
        return json.loads(self.run(self.meanwhile, "ps", "--all", "--json"))["tasks"]

    def add(self, file, members):
        """Adds members to a JSON file in the home."""
        path = self.home / file
        path.write_text(json.dumps(json.loads(path.read_text()) | members))

    def close(self):
        self.run(self.meanwhile, "stop", "--all", "--grace", "0s")
        self.folder.cleanup()


# The terminal's answers to queries for its type and its cursor position.
ANSWERS = {b"\x1b[c": b"\x1b[?62;c", b"\x1b[6n": b"\x1b[1;1R"}


class Terminal:
    """A program in a terminal of 120 columns."""

    def __init__(self, lab, *command):
        self.screen, self.answered = bytearray(), {}
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            # Set the size before the program starts.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            os.chdir(lab.work)
            os.execvpe(command[0], command, lab.env | {"TERM": "xterm-256color"})
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        # Until the program ends.
        while True:
            try:
                part = os.read(self.file, 1 << 16)
            except OSError:
                return
            self.screen.extend(part)
            for question, answer in ANSWERS.items():
                asked = self.screen.count(question)
                os.write(self.file, answer * (asked - self.answered.get(question, 0)))
                self.answered[question] = asked

    def press(self, keys):
        os.write(self.file, keys)

    def text(self):
        """What was written, without the escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.screen.decode("utf8", "replace"))

    def shows(self, words):
        """Whether these words were written; spaces are ignored, because many programs move the cursor instead."""
        return words.replace(" ", "") in self.text().replace(" ", "")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
