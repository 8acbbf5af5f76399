"""What a place costs. A figure and what stands beside it are measured alternately, sample by sample.

An end is measured from the moment that the command itself writes (`date`, its last action) until the client has read
the push. All hosts of the lab are this machine, so they have one clock.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import types

import slurm
import ssh

SAMPLES = int(os.environ.get("SAMPLES", "40"))
# The pace of an agent; the next idle shim starts meanwhile.
PAUSE = 0.05
DELAY = 20
WAITING = 100
# A Python that has submitit.
SUBMITIT = os.environ.get("SUBMITIT", sys.executable)
DATE = ["date", "+%s.%N"]


class Figures:
    """Samples by name, and the rows of the table."""

    def __init__(self):
        self.times, self.rows = {}, []
        # What is closed after a part, however that ends.
        self.labs = contextlib.ExitStack()

    def open(self, lab):
        self.labs.callback(lab.close)
        return lab

    def add(self, name, seconds):
        self.times.setdefault(name, []).append(seconds * 1000)

    def row(self, what, figure, beside, more=None, most=None):
        """A goal: at most so many milliseconds `more` than what stands first beside it, or so many at `most`."""
        found = [self.times[name] for name in (figure, *beside)]
        middle = [statistics.median(times) for times in found]
        shown = [f"{it:.1f} ms (p95 {statistics.quantiles(times, n=20)[-1]:.1f} ms)" for it, times in zip(middle, found)]
        others = "; ".join(f"{name} {text}" for name, text in zip(beside, shown[1:]))
        ratios = ", ".join(f"{middle[0] / it:.2f}" for it in middle[1:])
        aim, met = "", ""
        if more is not None:
            aim, met = f"<= {more} ms more", "yes" if middle[0] <= middle[1] + more else "**no**"
        if most is not None:
            aim, met = f"<= {most} ms", "yes" if middle[0] <= most else "**no**"
        load = os.getloadavg()[0]
        self.rows.append(f"| {what} | {shown[0]} | {others} | {ratios} | {aim} | {met} | {len(found[0])} | {load:.1f} |")
        print(self.rows[-1], flush=True)


def spawned(daemon, command, **more):
    """Spawns a task; returns its id, and how long the answer took."""
    time.sleep(PAUSE)
    begin = time.monotonic()
    task = daemon.call("task/spawn", {"command": command, **more})["task"]["id"]
    return task, time.monotonic() - begin, begin


def told(daemon, task):
    """Waits for a task that is `date`; returns when it was told, and how long after its last action."""
    at, push = daemon.exited(task)
    ended = float(push["params"]["notification"]["preview"]["head"])
    return at, at + (time.time() - time.monotonic()) - ended


def over_ssh(figures):
    """An open ssh without a delay and one with 20 ms each way, beside this machine and ssh with a control master."""
    lab = figures.open(ssh.Lab())
    with open(f"{lab.root}/ssh", "a") as file:
        file.write(f"Host far\n  ProxyCommand python3 {os.path.realpath('delay.py')} %h %p {DELAY}\n")
    ways = {name: ["ssh", "-F", f"{lab.root}/ssh", host] for name, host in (("near", "build"), ("far", "far"))}
    masters = {name: [*way[:3], "-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", f"ControlPath={lab.root}/{name}", way[3]]
               for name, way in ways.items()}
    for name, way in ways.items():
        out = lab.cli("place", "add", name, "--directory", f"{lab.there}/project", "--", *way, *lab.serve)
        assert out.returncode == 0, out
        subprocess.run([*masters[name], "true"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    daemon = ssh.Daemon(lab)
    sides = {"here": {}, "near": {"on": "near"}, "far": {"on": "far"}}
    for on in sides.values():
        told(daemon, spawned(daemon, DATE, **on)[0])
    for _ in range(SAMPLES):
        for name, on in sides.items():
            task, took, begin = spawned(daemon, DATE, **on)
            figures.add(f"{name}: spawn", took)
            at, late = told(daemon, task)
            figures.add(f"{name}: end", late)
            figures.add(f"{name}: whole", at - begin)
        for name, master in masters.items():
            time.sleep(PAUSE)
            begin = time.monotonic()
            out = subprocess.run([*master, *DATE], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            figures.add(f"ssh {name}: whole", time.monotonic() - begin)
            figures.add(f"ssh {name}: end", time.time() - float(out.stdout))
        for name, argv in (("ssh near: process", [*masters["near"], "true"]),
                           ("near: process", [ssh.BIN, "spawn", "--on", "near", "--", "true"])):
            time.sleep(PAUSE)
            begin = time.monotonic()
            subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL, env=lab.env, cwd=lab.project)
            figures.add(name, time.monotonic() - begin)
    figures.row("spawn to answer, over an open ssh", "near: spawn", ["here: spawn"], 3)
    figures.row(f"the same, {DELAY} ms away", "far: spawn", ["here: spawn"], 3)
    figures.row("last instruction there to the push here", "near: end", ["here: end", "ssh near: end"], most=5)
    figures.row(f"the same, {DELAY} ms away", "far: end", ["here: end", "ssh far: end"], most=DELAY + 5)
    figures.row("spawn to the push of its end", "near: whole", ["here: whole", "ssh near: whole"])
    figures.row(f"the same, {DELAY} ms away", "far: whole", ["here: whole", "ssh far: whole"])
    figures.row("`meanwhile spawn --on`, whole process", "near: process", ["ssh near: process"])
    for master in masters.values():
        subprocess.run([*master, "-O", "exit"], capture_output=True)
    daemon.kill()


def away(figures):
    """A store with a place that cannot be reached and tasks that wait for it, beside a store without one."""
    lab = figures.open(ssh.Lab())
    other = types.SimpleNamespace(env={**lab.env, "MEANWHILE_STATE_DIR": f"{lab.here}/other"}, project=lab.project, server=lab.server)
    unreachable = ["ssh", "-F", f"{lab.root}/ssh", "-o", "HostName=" + lab.address.rsplit(".", 1)[0] + ".9", "build", "meanwhile", "serve"]
    os.makedirs(f"{lab.here}/.config/meanwhile", exist_ok=True)
    ssh.write(f"{lab.here}/.config/meanwhile/config.toml", f"[places.away]\ncommand = {json.dumps(unreachable)}\n")
    sides = {"with it": ssh.Daemon(lab), "without": ssh.Daemon(other)}
    for _ in range(WAITING):
        task = spawned(sides["with it"], ["true"], on="away")[0]
    contact = lambda: sides["with it"].call("task/check", {"id": task})["task"].get("contact")
    print(f"  {WAITING} tasks wait: {ssh.wait('the loss to be noticed', contact)}", flush=True)
    for daemon in sides.values():
        told(daemon, spawned(daemon, DATE)[0])
    for _ in range(SAMPLES):
        for name, daemon in sides.items():
            task, took, _ = spawned(daemon, DATE)
            figures.add(f"{name}: spawn", took)
            figures.add(f"{name}: end", told(daemon, task)[1])
    figures.row(f"spawn here, while {WAITING} tasks wait for a place that is away", "with it: spawn", ["without: spawn"], 0.5)
    figures.row("last instruction here to the push, the same", "with it: end", ["without: end"], 0.5)
    for daemon in sides.values():
        daemon.kill()


SUBMIT = """
import sys, time, logging, submitit
logging.disable(logging.CRITICAL)
executor = submitit.SlurmExecutor(folder=sys.argv[1])
executor.update_parameters(time=5, mem="500M")
for line in sys.stdin:
    begin = time.monotonic()
    job = executor.submit(submitit.helpers.CommandFunction(["date", "+%s.%N"], verbose=False))
    took = time.monotonic() - begin
    job.wait()
    late = time.time() - float(job.result())
    print(took, late, time.monotonic() - begin, flush=True)
"""


def on_slurm(figures):
    """A cluster of two nodes, beside submitit and a bare sbatch."""
    cluster = figures.open(slurm.Lab())
    client = types.SimpleNamespace(env=cluster.env, project=f"{cluster.root}/home/ws", server=[ssh.BIN, "serve"])
    daemon = ssh.Daemon(client)
    submitit = subprocess.Popen([SUBMITIT, "-c", SUBMIT, f"{cluster.root}/submitit"], env=cluster.env, cwd=client.project, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    sbatch = ["sbatch", "--parsable", "--output=/dev/null", "--wrap", "true"]
    told(daemon, spawned(daemon, DATE, on="gpu")[0])
    for _ in range(SAMPLES):
        task, took, begin = spawned(daemon, DATE, on="gpu")
        figures.add("slurm: spawn", took)
        at, late = told(daemon, task)
        figures.add("slurm: end", late)
        figures.add("slurm: whole", at - begin)
        submitit.stdin.write("\n")
        submitit.stdin.flush()
        for name, seconds in zip(("spawn", "end", "whole"), submitit.stdout.readline().split(), strict=True):
            figures.add(f"submitit: {name}", float(seconds))
        begin = time.monotonic()
        subprocess.run(sbatch, check=True, capture_output=True, env=cluster.env, cwd=client.project)
        figures.add("sbatch", time.monotonic() - begin)
    figures.row("Slurm: spawn to answer", "slurm: spawn", ["submitit: spawn", "sbatch"])
    figures.row("Slurm: last instruction on the node to the push here", "slurm: end", ["submitit: end"])
    figures.row("Slurm: spawn to the push of its end", "slurm: whole", ["submitit: whole"])
    submitit.stdin.close()
    daemon.kill()


PARTS = {"ssh": over_ssh, "slurm": on_slurm, "away": away}


def main(wanted):
    figures = Figures()
    for name, part in PARTS.items():
        if wanted in ("all", name):
            with figures.labs:
                part(figures)
    print("\n| what | figure | beside | ratio | target | met | n | load |\n|---|---|---|---|---|---|---|---|")
    print("\n".join(figures.rows))


main(sys.argv[1])
