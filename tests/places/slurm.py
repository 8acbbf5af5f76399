"""Tasks on a Slurm cluster: every fault with its right answer, kills at every point, and how often Slurm is asked.

Two slurmds, a slurmctld and a munged run here, under a folder of their own. `MEANWHILE_BIN` is the program.
"""

import collections
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

BIN = os.path.realpath(os.environ.get("MEANWHILE_BIN", "target/debug/meanwhile"))
TASKS, ROUNDS = 60, 30
# How long something may take on a machine that has other work to do.
PATIENCE = 180
CONF = """ClusterName=meanwhile
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/munge.sock
CredType=cred/munge
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=20
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
SlurmctldPort={port}
StateSaveLocation={root}/state
SlurmctldPidFile={root}/ctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmdSpoolDir={root}/spool.%n
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MinJobAge=300
KillWait=5
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=20
MaxJobCount=20000
SlurmdParameters=config_overrides
NodeName=n1 NodeAddr=127.0.0.1 NodeHostname={host} Port={n1} CPUs=8 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeAddr=127.0.0.1 NodeHostname={host} Port={n2} CPUs=8 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""
# Nothing of it but SIGKILL ends this tree, and a part of it leaves the session.
TREE = "echo begin; setsid sh -c 'trap \"\" TERM; sleep 301' & (sh -c 'sleep 302' &) ; sleep 300"


def run(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, **more)


def until(what, probe, patience=PATIENCE):
    end = time.time() + patience
    while time.time() < end:
        found = probe()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"waited in vain for: {what}")


class Lab:
    """A cluster, and a client's side. `within`: words before each command of the cluster, such as those of a namespace."""

    def __init__(self, within=()):
        self.within = within
        self.root = tempfile.mkdtemp(prefix="meanwhile-slurm-")
        port = 20_000 + os.getpid() % 20_000
        for folder in ("munge", "state", "spool.n1", "spool.n2", "home/ws/ran", "home/.config"):
            os.makedirs(f"{self.root}/{folder}")
        os.chmod(f"{self.root}/munge", 0o700)
        self.shared = f"{self.root}/shared"
        with open(f"{self.root}/munge/key", "wb") as key:
            key.write(os.urandom(1024))
        os.chmod(f"{self.root}/munge/key", 0o400)
        with open(f"{self.root}/slurm.conf", "w") as conf:
            conf.write(CONF.format(host=os.uname().nodename.split(".")[0], root=self.root, port=port, n1=port + 1, n2=port + 2))
        self.env = {**os.environ, "SLURM_CONF": f"{self.root}/slurm.conf", "HOME": f"{self.root}/home",
                    "MEANWHILE_STATE_DIR": f"{self.root}/home/state", "XDG_CONFIG_HOME": f"{self.root}/home/.config",
                    "PATH": os.environ["PATH"] + ":/usr/sbin"}
        for name in ("MEANWHILE_TASK_ID", "MEANWHILE_QUEUE"):
            self.env.pop(name, None)
        self.servers = {}
        self.start("munged")
        until("munged", lambda: os.path.exists(f"{self.root}/munge/munge.sock"))
        for name in ("ctld", "n1", "n2"):
            self.start(name)
        until("two idle nodes", lambda: self.tool("sinfo", "-h", "-o", "%A").stdout.strip() == "0/2")
        self.meanwhile("place", "add", "gpu", "--slurm", "--shared", self.shared, check=True)

    def start(self, name):
        munge = f"{self.root}/munge"
        argv = {
            "munged": ["munged", "-f", "-F", f"--key-file={munge}/key", f"--socket={munge}/munge.sock", f"--pid-file={munge}/pid",
                       f"--log-file={munge}/log", f"--seed-file={munge}/seed"],
            "ctld": ["slurmctld", "-D"],
        }.get(name, ["slurmd", "-D", "-N", name])
        log = open(f"{self.root}/{name}.out", "a")
        self.servers[name] = subprocess.Popen([*self.within, *argv], env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def kill(self, name):
        self.servers[name].kill()
        self.servers[name].wait()

    def tool(self, *argv):
        return run(*self.within, *argv, env=self.env)

    def meanwhile(self, *args, **more):
        return run(*self.within, BIN, *args, cwd=f"{self.root}/home/ws", env=self.env, **more)

    def spawn(self, *args):
        done = self.meanwhile("spawn", "--on", "gpu", "--json", *args)
        if done.returncode:
            raise SystemExit(f"spawn failed: {done.stderr}")
        return json.loads(done.stdout)["task"]["id"]

    def task(self, id):
        for task in json.loads(self.meanwhile("ps", "-a", "--json").stdout)["tasks"]:
            if task["id"] == id:
                return task

    def folder(self, id):
        return f"{self.shared}/tasks/{id}"

    def numbers(self, id):
        """The shim and the leader of a task, once it runs."""
        try:
            with open(f"{self.folder(id)}/record", "rb") as file:
                record = file.read(24)
            return struct.unpack_from("<II", record, 16) if record[:8] == b"MWTASK01" else (0, 0)
        except (FileNotFoundError, struct.error):
            return (0, 0)

    def runs(self, id):
        return until(f"task {id} runs", lambda: (lambda found: found[1] and found)(self.numbers(id)))

    def keeper(self, id):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = open(f"/proc/{pid}/cmdline").read().split("\0")
                if line[1:3] == ["node", self.folder(id)] and os.stat(f"/proc/{pid}/exe"):
                    parent = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
                    if open(f"/proc/{parent}/cmdline").read().split("\0")[1:2] != ["node"]:
                        return int(pid)
            except OSError:
                pass
        return 0

    def job(self, id):
        return (self.tool("squeue", "-h", "-t", "all", "-n", f"mw-{id}", "-o", "%i").stdout.split() or [""])[-1]

    def ended(self, id):
        def over():
            self.meanwhile("wait", id, timeout=PATIENCE)
            task = self.task(id)
            return task if "endedAt" in task else None

        return until(f"task {id} ends", over)

    def couriers(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = open(f"/proc/{pid}/cmdline").read().split("\0")
                if line[1:2] == ["courier"] and self.root in open(f"/proc/{pid}/environ").read():
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def close(self):
        self.tool("scancel", "-u", "root")
        for pid in self.couriers():
            os.kill(pid, signal.SIGTERM)
        time.sleep(1)
        for server in self.servers.values():
            server.kill()
            server.wait()
        shutil.rmtree(self.root, ignore_errors=True)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def left():
    return run("pgrep", "-fc", "^sleep 30[12]$").stdout.strip()


class Faults:
    """Each row of the table: what is done, what Slurm says, what is right."""

    def __init__(self, lab):
        self.lab, self.wrong = lab, 0

    def check(self, name, id, state, code=None, actor=None, words="", more=True):
        task = self.lab.ended(id)
        cause = task.get("cause") or {}
        found = (task["state"], (task.get("exit") or {}).get("code"), cause.get("actor"))
        right = found[0] == state and (code is None or found[1] == code) and (actor is None or found[2] == actor)
        right = right and words in cause.get("message", "") and more
        self.wrong += not right
        print(f"{'ok   ' if right else 'WRONG'} {name}: {task['shown']['ended']}", flush=True)

    def all(self):
        lab = self.lab
        for name, kills, code in (("slurmctld killed, the task ends", "ctld", 5), ("slurmd killed, the task ends", "n2", 5)):
            id = lab.spawn("--extra=-w", "--extra=n2", "--", "sh", "-c", f"sleep 3; exit {code}")
            lab.runs(id)
            lab.kill(kills)
            self.check(name, id, "exited", code)
            lab.start(kills)
            until("slurmctld", lambda: "UP" in run("scontrol", "ping", env=lab.env).stdout)
        id = lab.spawn("--", "sh", "-c", "sleep 5; exit 7")
        lab.runs(id)
        stepd = run("pgrep", "-f", f"^slurmstepd: \\[{lab.job(id)}\\.").stdout.split()[0]
        kill(int(stepd))
        self.check("slurmstepd killed", id, "exited", 7)
        id = lab.spawn("--", "sh", "-c", TREE)
        lab.runs(id)
        run("scancel", lab.job(id), env=lab.env)
        self.check("scancel, a setsid TERM-ignorer in the tree", id, "stopped", None, "engine", "CANCELLED")
        until("none of the tree is left", lambda: left() == "0", 20)
        id = lab.spawn("--", "sh", "-c", TREE)
        lab.runs(id)
        lab.meanwhile("stop", id)
        self.check("our own stop", id, "stopped", None, "client")
        until("none of the tree is left", lambda: left() == "0", 20)
        id = lab.spawn("--", "sh", "-c", "sleep 4; exit 7")
        kill(lab.runs(id)[0])
        self.check("shim killed", id, "exited", 7)
        id = lab.spawn("--", "sh", "-c", TREE)
        lab.runs(id)
        kill(lab.keeper(id))
        self.check("keeper killed", id, "stopped", None, "daemon")
        until("none of the tree is left", lambda: left() == "0", 20)
        id = lab.spawn("--", "sh", "-c", "sleep 100")
        shim, keeper = lab.runs(id)[0], lab.keeper(id)
        os.kill(keeper, signal.SIGSTOP)
        kill(shim)
        kill(keeper)
        self.check("shim and keeper killed", id, "lost", None, "engine", "Slurm: ")
        id = lab.spawn("--", "sh", "-c", "echo once >> ran/again; sleep 12; exit 6")
        lab.runs(id)
        job = lab.job(id)
        script = f"{lab.root}/again"
        with open(script, "w") as file:
            file.write(f"#!/bin/sh\nexec {lab.shared}/bin/{os.listdir(lab.shared + '/bin')[0]} node {lab.folder(id)}\n")
        again = run("sbatch", "--parsable", "-W", script, env=lab.env, cwd=lab.root)
        self.check(f"run again by the cluster (exit {again.returncode}, job {job})", id, "exited", 6, more=again.returncode == 98)
        assert open(f"{lab.root}/home/ws/ran/again").read() == "once\n"
        id = lab.spawn("--", "sh", "-c", "sleep 10; exit 5")
        lab.runs(id)
        node = run("squeue", "-h", "-j", lab.job(id), "-o", "%N", env=lab.env).stdout.strip()
        run("scontrol", "update", f"nodename={node}", "state=down", "reason=test", env=lab.env)
        self.check("the node is set down", id, "stopped", None, "engine", "NODE_FAIL")
        run("scontrol", "update", f"nodename={node}", "state=resume", env=lab.env)
        id = lab.spawn("--memory", "30M", "--", "python3", "-c", "import time; x = bytearray(300 << 20); time.sleep(60)")
        self.check("more memory than was asked for", id, "lost", None, "engine", "memory limit")
        id = lab.spawn("--partition", "nosuch", "--", "true")
        self.check("refused", id, "exited", None, None, "Invalid partition name specified")
        id = lab.spawn("--extra=--hold", "--", "true")
        until("the reason is known", lambda: "JobHeldUser" in lab.task(id)["shown"]["stands"])
        lab.meanwhile("stop", id)
        self.check("a pending job is stopped", id, "stopped", None, "client")
        id = lab.spawn("--extra=--hold", "--", "true")
        run("scancel", until("it is submitted", lambda: lab.job(id)), env=lab.env)
        self.check("a pending job is cancelled by another", id, "stopped", None, "engine", "CANCELLED")
        lab.kill("ctld")
        id = lab.spawn("--", "sh", "-c", "echo once >> ran/down; exit 3")
        until("the reason is known", lambda: "ontact" in lab.task(id)["shown"]["stands"])
        lab.start("ctld")
        self.check("spawned while slurmctld is down", id, "exited", 3)
        id = lab.spawn("--time", "1s", "--", "sh", "-c", TREE)
        self.check("a time limit", id, "timedOut", None, "engine", "TIMEOUT")
        until("none of the tree is left", lambda: left() == "0", 20)


def kills(lab):
    """Tasks under kills of everything: each is told once, none twice, none runs twice."""
    rng = random.Random(int(os.environ.get("SEED", "7")))
    queue, spawned, killed = "storm", {}, collections.Counter()
    hit = {"shim": set(), "keeper": set(), "both": set()}
    told = collections.Counter()
    down = {}

    def take():
        done = lab.meanwhile("drain", "--queue", queue, "--json")
        for line in filter(None, [done.stdout]):
            for notification in json.loads(line).get("notifications", []):
                told[notification["task"]["id"]] += 1

    daemon = None

    def serve():
        process = subprocess.Popen([BIN, "serve"], cwd=f"{lab.root}/home/ws", env=lab.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        root = f"file://{lab.root}/home/ws"
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"processId": None, "rootUri": root, "capabilities": {}}})
        process.stdin.write(f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        process.stdin.flush()
        return process

    daemon = serve()
    for round in range(ROUNDS):
        for _ in range(TASKS // ROUNDS):
            number = len(spawned)
            line = f"echo $$ >> ran/{number}; sleep {rng.uniform(0.5, 8):.1f}; exit {number % 7}"
            spawned[lab.spawn("--queue", queue, "--", "sh", "-c", line)] = number
        what = rng.choice(["daemon", "courier", "courier", "ctld", "ctld", "n1", "n2", "shim", "shim", "keeper", "both"])
        alive = [id for id in spawned if lab.numbers(id)[1] and not any(id in ids for ids in hit.values())]
        running = [id for id in alive if os.path.exists(f"/proc/{lab.numbers(id)[1]}") and lab.keeper(id)]
        if what == "daemon":
            daemon.kill()
            daemon.wait()
            daemon = serve()
        elif what == "courier":
            for pid in lab.couriers():
                kill(pid)
        elif what in lab.servers:
            lab.kill(what)
            down[what] = time.time() + rng.uniform(1, 5)
        elif running:
            id = rng.choice(running)
            shim, keeper = lab.numbers(id)[0], lab.keeper(id)
            hit[what].add(id)
            if what == "both":
                os.kill(keeper, signal.SIGSTOP)
            if what != "keeper":
                kill(shim)
            if what != "shim":
                kill(keeper)
        else:
            continue
        killed[what] += 1
        time.sleep(rng.uniform(0.2, 1.5))
        for name, at in list(down.items()):
            if time.time() >= at:
                lab.start(name)
                del down[name]
        take()
    for name in down:
        lab.start(name)

    def all_told():
        take()
        return len(told) >= len(spawned)

    try:
        # A node whose slurmd was killed is given out again some minutes later.
        until("all are told", all_told, 600)
    except SystemExit:
        for id in spawned.keys() - told.keys():
            print("UNTOLD", json.dumps(lab.task(id)), lab.numbers(id), os.listdir(lab.folder(id)) if os.path.exists(lab.folder(id)) else None)
        print(run("squeue", "-t", "all", env=lab.env).stdout, hit)
        print(open(f"{lab.root}/home/state/places/gpu/log").read(), lab.couriers())
        raise
    daemon.kill()
    daemon.wait()
    take()
    tasks = {task["id"]: task for task in json.loads(lab.meanwhile("ps", "-a", "--json").stdout)["tasks"]}
    lost, wrong, twice = set(), [], []
    for id, number in spawned.items():
        path = f"{lab.root}/home/ws/ran/{number}"
        ran = len(open(path).read().splitlines()) if os.path.exists(path) else 0
        if ran > 1:
            twice.append((id, number, ran))
        task = tasks[id]
        if task["state"] == "lost":
            lost.add(id)
        elif id in hit["keeper"] and task["state"] == "stopped":
            pass
        elif task["state"] != "exited" or task["exit"]["code"] != number % 7 or ran != 1:
            wrong.append((id, number, ran, task["state"], task.get("exit"), task.get("cause")))
    print(f"{len(spawned)} tasks, kills: {dict(killed)}")
    print(f"told once {sum(1 for it in told.values() if it == 1)}, twice {sum(1 for it in told.values() if it > 1)}, "
          f"never {len(spawned) - len(told)}; run twice {len(twice)}; lost {len(lost)}, of which shim and keeper were killed "
          f"{len(lost & hit['both'])} of {len(hit['both'])}; otherwise wrong {len(wrong)}")
    for id in lost - hit["both"]:
        print("LOST", id, spawned[id], os.path.exists(f"{lab.root}/home/ws/ran/{spawned[id]}"), tasks[id].get("cause"), tasks[id].get("place"))
    for line in wrong + twice:
        print("WRONG", line)
    return len(wrong) + len(twice) + sum(1 for it in told.values() if it != 1) + len(lost - hit["both"])


def queries(lab):
    """How often Slurm is asked for a thousand jobs that wait."""
    folder = f"{lab.root}/count"
    os.makedirs(folder)
    real = shutil.which("squeue")
    with open(f"{folder}/squeue", "w") as file:
        file.write(f"#!/bin/sh\necho >> {folder}/calls\nexec {real} \"$@\"\n")
    os.chmod(f"{folder}/squeue", 0o755)
    for pid in lab.couriers():
        os.kill(pid, signal.SIGTERM)
    lab.env["PATH"] = f"{folder}:{lab.env['PATH']}"
    count = int(os.environ.get("JOBS", "1000"))
    begin = time.time()
    for _ in range(count):
        lab.spawn("--extra=--hold", "--", "true")
    calls = lambda: len(open(f"{folder}/calls").read().splitlines()) if os.path.exists(f"{folder}/calls") else 0
    waiting = lambda: int(run("sh", "-c", "squeue -h -t PD | wc -l", env={**lab.env, "PATH": os.environ["PATH"]}).stdout)
    until("all are submitted", lambda: waiting() >= count, 600)
    print(f"{count} jobs submitted in {time.time() - begin:.0f} s, Slurm asked {calls()} times meanwhile", flush=True)
    time.sleep(45)
    before, begin = calls(), time.time()
    time.sleep(120)
    asked, took = calls() - before, time.time() - begin
    print(f"{count} jobs wait: Slurm asked {asked} times in {took:.0f} s")
    return int(asked > took / 30 + 1)


def main(which):
    lab = Lab()
    wrong = 0
    try:
        if which in ("faults", "all"):
            faults = Faults(lab)
            faults.all()
            wrong += faults.wrong
        if which in ("kills", "all"):
            wrong += kills(lab)
        if which in ("queries", "all"):
            wrong += queries(lab)
    finally:
        lab.close()
    print("all is right" if not wrong else f"{wrong} wrong")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
