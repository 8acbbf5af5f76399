"""Tasks over ssh: set up as a person does it, with kills of all processes, with a lost connection, and measured.

An sshd runs in a network namespace with its own home and state directory. `MEANWHILE_BIN` names the program.
"""

import json
import os
import pwd
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BIN = os.path.realpath(os.environ.get("MEANWHILE_BIN", "target/debug/meanwhile"))
TASKS, KILLS = 120, 40
# How long to wait for a condition on a busy machine, in seconds.
PATIENCE = 120


class Lab:
    """An sshd in a network namespace, and the client's directories."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="meanwhile-ssh-")
        self.space = f"mw{os.getpid()}"
        self.here, self.there = f"{self.root}/here", f"{self.root}/there"
        self.project, self.server = f"{self.here}/project", [BIN, "serve"]
        for path in (f"{self.here}/.config/meanwhile", self.project, f"{self.there}/.ssh", f"{self.there}/project"):
            os.makedirs(path)
        os.makedirs("/run/sshd", exist_ok=True)
        self.link = (f"a{os.getpid()}", f"b{os.getpid()}")
        net = f"10.{77 + os.getpid() % 100}.{os.getpid() % 250}"
        self.address = f"{net}.2"
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", self.link[0], "type", "veth", "peer", "name", self.link[1])
        run("ip", "link", "set", self.link[1], "netns", self.space)
        run("ip", "addr", "add", f"{net}.1/24", "dev", self.link[0])
        run("ip", "link", "set", self.link[0], "up")
        self.inside("ip", "addr", "add", f"{net}.2/24", "dev", self.link[1])
        self.inside("ip", "link", "set", self.link[1], "up")
        self.inside("ip", "link", "set", "lo", "up")
        for key in ("host", "id"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.root}/{key}")
        shutil.copy(f"{self.root}/id.pub", f"{self.there}/.ssh/authorized_keys")
        bin_there = f"{self.there}/bin"
        os.makedirs(bin_there)
        os.symlink(BIN, f"{bin_there}/meanwhile")
        write(f"{self.root}/sshd", f"""Port 22
HostKey {self.root}/host
PidFile {self.root}/sshd.pid
AuthorizedKeysFile {self.there}/.ssh/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
SetEnv HOME={self.there} MEANWHILE_STATE_DIR={self.there}/state XDG_CONFIG_HOME={self.there}/.config PATH={bin_there}:/usr/bin:/bin
""")
        write(f"{self.root}/ssh", f"""Host build login far
  HostName {self.address}
  User root
  IdentityFile {self.root}/id
  IdentitiesOnly yes
  UserKnownHostsFile {self.root}/known
  StrictHostKeyChecking yes
""")
        self.sshd = subprocess.Popen(
            ["ip", "netns", "exec", self.space, "/usr/sbin/sshd", "-D", "-f", f"{self.root}/sshd", "-E", f"{self.root}/sshd.log"])
        key = open(f"{self.root}/host.pub").read().split()
        write(f"{self.root}/known", f"{self.address} {key[0]} {key[1]}\n")
        self.ssh = ["ssh", "-F", f"{self.root}/ssh", "build"]
        self.env = {"PATH": os.environ["PATH"], "HOME": self.here, "MEANWHILE_STATE_DIR": f"{self.here}/state"}
        # Start in the home directory of the place, not in that of the user who logs in.
        self.serve = ["sh", "-c", f"'cd {self.there} && exec meanwhile serve'"]
        wait("sshd", lambda: subprocess.run([*self.ssh, "true"], capture_output=True).returncode == 0)

    def inside(self, *argv):
        run("ip", "netns", "exec", self.space, *argv)

    def cli(self, *argv, **more):
        return subprocess.run([BIN, *argv], env=self.env, cwd=self.project, capture_output=True, text=True, **more)

    def reach(self, is_up):
        """Connects or cuts the network; neither side is notified."""
        run("ip", "link", "set", self.link[0], "up" if is_up else "down")

    def processes(self, *words, home=None):
        """Those with these words in their command line, of both sides or of the one with this home."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = open(f"/proc/{pid}/cmdline", "rb").read().decode(errors="replace").split("\0")
                env = open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace")
            except OSError:
                continue
            if (f"HOME={home}\0" if home else self.root) in env and all(word in line for word in words):
                found.append(int(pid))
        return found

    def close(self):
        self.reach(True)
        for pid in [*self.processes("courier"), *self.processes("serve")]:
            os.kill(pid, signal.SIGTERM)
        self.sshd.terminate()
        self.sshd.wait()
        try:
            wait("nothing is left", lambda: not self.processes(), 20)
        except AssertionError:
            left = [open(f"/proc/{pid}/cmdline").read().replace("\0", " ") for pid in self.processes()]
            print(f"FAILED: processes are left: {left}", flush=True)
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.space], check=True)
        subprocess.run(["ip", "link", "del", self.link[0]], capture_output=True)
        shutil.rmtree(self.root)


class Daemon:
    """A `meanwhile serve`, and its client."""

    def __init__(self, lab):
        self.process = subprocess.Popen(
            lab.server, env=lab.env, cwd=lab.project, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.answers, self.pushes, self.number = {}, [], 0
        self.news = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        self.call("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        self.send({"jsonrpc": "2.0", "method": "initialized", "params": {}})

    def send(self, message):
        body = json.dumps(message).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def read(self):
        out = self.process.stdout
        while True:
            length = None
            while (line := out.readline().strip()):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if length is None:
                return
            message = json.loads(out.read(length))
            with self.news:
                if "method" in message:
                    self.pushes.append((time.monotonic(), message))
                else:
                    self.answers[message["id"]] = message
                self.news.notify_all()

    def call(self, method, params):
        self.number += 1
        number = self.number
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        with self.news:
            assert self.news.wait_for(lambda: number in self.answers, PATIENCE), f"no answer to {method}"
            answer = self.answers.pop(number)
        assert "result" in answer, f"{method}: {answer}"
        return answer["result"]

    def exited(self, task):
        def found():
            return next((it for it in self.pushes if it[1]["method"] == "task/exited"
                         and it[1]["params"]["notification"]["task"]["id"] == task), None)
        with self.news:
            assert self.news.wait_for(found, PATIENCE), f"the end of {task} was not pushed"
            return found()

    def kill(self):
        self.process.kill()
        self.process.wait()


def run(*argv):
    subprocess.run(argv, check=True)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def wait(what, is_so, patience=PATIENCE):
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if (value := is_so()):
            return value
        time.sleep(0.05)
    raise AssertionError(f"timed out waiting for: {what}")


def is_set_up_as_the_page_says(lab):
    """`place add` tests the connection; then a command runs at the place, and its end is reported."""
    out = lab.cli("place", "add", "build", "--directory", f"{lab.there}/project", "--", *lab.ssh, *lab.serve)
    assert out.returncode == 0 and "answered in" in out.stdout, out
    out = lab.cli("spawn", "--on", "build", "--wait", "--", "sh", "-c", "echo at $PWD; hostname >/dev/null; exit 5")
    assert (out.returncode, out.stdout) == (5, f"at {lab.there}/project\n"), out
    # If the connection fails, the error has ssh's message.
    for options, words in (
        (["-o", f"UserKnownHostsFile={lab.root}/none"], "Host key verification failed"),
        (["-o", "PubkeyAuthentication=no"], "Permission denied"),
        (["-p", "23"], "Connection refused"),
    ):
        out = lab.cli("place", "add", "bad", "--", "ssh", "-F", f"{lab.root}/ssh", *options, "build", *lab.serve)
        assert out.returncode == 1 and words in out.stderr, (words, out)
    out = lab.cli("place", "add", "bad", "--", *lab.ssh, "no-such-meanwhile", "serve")
    assert out.returncode == 1 and "not found" in out.stderr, out
    # If the program is missing at the place, `--copy` copies it, or the build in a file, and the copy works.
    for copy in ("--copy", f"--copy={BIN}"):
        out = lab.cli("place", "add", "copied", copy, "--", *lab.ssh, "meanwhile", "serve")
        assert out.returncode == 0 and "answered in" in out.stdout, out
    # Another build can be copied, if it runs there.
    for build, words in (("/no/such/build", "no such file"), ("/bin/false", "it does not run there")):
        out = lab.cli("place", "add", "other", f"--copy={build}", "--", *lab.ssh, "meanwhile", "serve")
        assert out.returncode == 1 and words in out.stderr, (build, out)
    # The sshd may take the home directory of the account instead of the one that the lab has set.
    homes = [lab.there, pwd.getpwuid(os.getuid()).pw_dir]
    copies = [os.path.join(home, ".local/bin/meanwhile") for home in homes]
    assert not any(os.path.exists(f"{copy}.new") for copy in copies)
    os.remove(wait("the copy", lambda: next(filter(os.path.exists, copies), None)))
    lab.cli("place", "remove", "copied")


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def is_told_once_whatever_is_killed(lab):
    """120 tasks; 40 kills of the daemon, the courier, ssh, or the server at the place."""
    storm(lab, "build", TASKS, KILLS, 0.9, [
        lambda: kill(lab.processes("ssh")), lambda: kill(lab.processes("courier")),
        lambda: kill(lab.processes("serve", home=lab.there)), None])


def storm(lab, on, tasks, rounds, longest, faults):
    """Tasks of up to `longest` seconds, and a fault in each round, of these in turn; `None` is the daemon's death."""
    dice = random.Random(int(os.environ.get("SEED", "7")))
    daemon, spawned, told, numbers = Daemon(lab), {}, {}, {}
    os.makedirs(f"{lab.there}/project/ran")

    def drain():
        # Acknowledge each notification after storing it, like a client that may be killed.
        for notification in daemon.call("task/drain", {"ack": "manual"})["notifications"]:
            numbers[notification["seq"]] = notification["task"]["id"]
            daemon.call("task/ack", {"through": notification["seq"]})
        told.clear()
        for task in numbers.values():
            if task in spawned:
                told[task] = told.get(task, 0) + 1

    for round_ in range(rounds):
        for _ in range(tasks // rounds):
            number = len(spawned)
            command = f"echo $$ >> ran/{number}; sleep {dice.random() * longest:.1f}; exit {number % 7}"
            spawned[daemon.call("task/spawn", {"command": command, "on": on})["task"]["id"]] = number
        # This does not wait for a condition: the fault must come at a random moment.
        time.sleep(dice.random() * longest / 3)
        fault = faults[round_ % len(faults)]
        if fault:
            fault()
        else:
            drain()
            daemon.kill()
            daemon = Daemon(lab)

    def all_told():
        drain()
        return len(told) == tasks

    try:
        wait("every end to be reported", all_told, 240)
    except AssertionError:
        missing = [daemon.call("task/check", {"id": task})["task"] for task in spawned if task not in told]
        raise AssertionError(f"not reported: {json.dumps(missing, indent=1)}") from None
    assert all(times == 1 for times in told.values()), f"reported twice: {told}"
    for task, number in spawned.items():
        runs = open(f"{lab.there}/project/ran/{number}").read().splitlines()
        assert len(runs) == 1, f"task {number} ran {len(runs)} times"
        exit_ = daemon.call("task/check", {"id": task})["task"]["exit"]
        assert exit_["code"] == number % 7, (number, exit_)
    daemon.kill()


def is_told_after_the_lid_was_open_again(lab):
    """The network fails without a notice; the task ends meanwhile; its end is reported once the network works again."""
    daemon = Daemon(lab)
    task = daemon.call("task/spawn", {"command": "echo begun; sleep 3; exit 9", "on": "build"})["task"]["id"]
    wait("the task to run", lambda: daemon.call("task/check", {"id": task})["task"].get("pid"))
    lab.reach(False)
    lost = wait("the loss to be noticed", lambda: daemon.call("task/check", {"id": task})["task"].get("contact"))
    assert "not answered" in lost["reason"] or "timed out" in lost["reason"].lower(), lost
    assert daemon.call("task/check", {"id": task})["task"]["state"] == "running"
    lab.reach(True)
    _, push = daemon.exited(task)
    assert push["params"]["notification"]["task"]["exit"]["code"] == 9, push
    assert daemon.call("task/read", {"id": task})["data"] == "begun\n"
    daemon.kill()


def costs_little(lab):
    """Measures spawns and ends at the place through an open connection, the same here, and ssh with a master."""
    daemon = Daemon(lab)
    master = ["ssh", "-F", f"{lab.root}/ssh", "-o", f"ControlPath={lab.root}/master"]
    subprocess.run([*master, "-o", "ControlMaster=yes", "-Nf", "build"], check=True)
    rows = {"here: spawn answered": [], "there: spawn answered": [], "here: spawn to told end": [], "there: spawn to told end": [],
            "ssh with a master": []}
    for _ in range(40):
        for where, on in (("here", {}), ("there", {"on": "build"})):
            begin = time.monotonic()
            task = daemon.call("task/spawn", {"command": "true", **on})["task"]["id"]
            rows[f"{where}: spawn answered"].append(time.monotonic() - begin)
            at, _ = daemon.exited(task)
            rows[f"{where}: spawn to told end"].append(at - begin)
        begin = time.monotonic()
        subprocess.run([*master, "build", "true"], check=True)
        rows["ssh with a master"].append(time.monotonic() - begin)
    for name, times in rows.items():
        print(f"  {name}: median {statistics.median(times) * 1000:.1f} ms, slowest {max(times) * 1000:.1f} ms")
    subprocess.run([*master, "-O", "exit", "build"], capture_output=True)
    daemon.kill()


TESTS = [is_set_up_as_the_page_says, costs_little, is_told_after_the_lid_was_open_again, is_told_once_whatever_is_killed]


def main(wanted, make, tests, what):
    failed = 0
    lab = make()
    try:
        for test in tests:
            if wanted not in ("all", test.__name__) and test is not tests[0]:
                continue
            begin = time.monotonic()
            try:
                test(lab)
                print(f"ok: {what} {test.__name__.replace('_', ' ')} ({time.monotonic() - begin:.1f} s)", flush=True)
            except (AssertionError, subprocess.SubprocessError, OSError) as error:
                failed += 1
                print(f"FAILED: {test.__name__}: {error}", flush=True)
    finally:
        lab.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Lab, TESTS, "a place over ssh"))
