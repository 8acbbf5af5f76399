"""Tasks whose record lies on NFS: a file server, a login host and two nodes, each a User-Mode-Linux kernel of its own.

The kernels share this machine's root, read only, and a bridge. Slurm's controller runs on the login host, and so does
the daemon that is tested. `MEANWHILE_BIN` names the program, `MOUNT` the options of the mount.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import types

import ssh

HOSTS = {"files": 1, "login": 2, "n1": 3, "n2": 4}
NODES = ("n1", "n2")
NET = "10.79.0"
SHARED = "/mnt/shared"
MOUNT = os.environ.get("MOUNT", "vers=4.2")
TASKS, RACES, CONTENDERS = 20, 100, 3
# How long the file server or a node is away, in seconds.
AWAY = 20
# What the kernel restores of a processor has no room for these registers.
TUNABLES = "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,-AVX512DQ"
CONF = """ClusterName=meanwhile
SlurmctldHost=login({net}.2)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=/run/munge/socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
StateSaveLocation=/mnt/slurm
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmdSpoolDir=/mnt/spool
SlurmdTimeout=300
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=5
SlurmdParameters=config_overrides
NodeName=n1 NodeAddr={net}.3 NodeHostname=n1 CPUs=8 State=UNKNOWN
NodeName=n2 NodeAddr={net}.4 NodeHostname=n2 CPUs=8 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class Guests:
    """The four kernels, and a way to run commands in each."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="meanwhile-nfs-")
        os.chmod(self.root, 0o755)
        for key in ("host", "id"):
            ssh.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.root}/{key}")
        ssh.write(f"{self.root}/sshd", f"""HostKey {self.root}/host
AuthorizedKeysFile {self.root}/id.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
MaxSessions 100
SetEnv HOME=/mnt/home MEANWHILE_STATE_DIR=/mnt/state SLURM_CONF={self.root}/slurm.conf {TUNABLES} PATH={self.root}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
""")
        ssh.write(f"{self.root}/ssh", "".join(f"Host {name}\n  HostName {NET}.{n}\n" for name, n in HOSTS.items()) + f"""Host *
  User root
  IdentityFile {self.root}/id
  IdentitiesOnly yes
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  LogLevel ERROR
  ControlMaster auto
  ControlPersist 600
  ControlPath {self.root}/%n.master
""")
        os.symlink(ssh.BIN, f"{self.root}/meanwhile")
        self.kernels = {}
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        ssh.run("ip", "link", "add", "mwnfs", "type", "bridge")
        ssh.run("ip", "addr", "add", f"{NET}.254/24", "dev", "mwnfs")
        ssh.run("ip", "link", "set", "mwnfs", "up")
        for name in HOSTS:
            self.boot(name)
        for name in HOSTS:
            ssh.wait(f"sshd of {name}", lambda: self.inside(name, "true").returncode == 0)
        with open(f"{self.root}/key", "wb") as key:
            key.write(os.urandom(1024))
        os.chmod(f"{self.root}/key", 0o400)
        ssh.write(f"{self.root}/slurm.conf", CONF.format(net=NET))
        ssh.write(f"{self.root}/cgroup.conf", "CgroupPlugin=cgroup/v1\n")
        for name in ("login", *NODES):
            self.do(name, f"mount -t nfs -o {MOUNT} {NET}.1:{'/mnt/export' if 'vers=3' in MOUNT else '/'} /mnt/shared")
            self.do(name, "mkdir -p -m 755 /run/munge && mkdir -p /mnt/slurm /mnt/spool /mnt/shared/ws/ran")
            self.do(name, f"munged --key-file={self.root}/key --socket=/run/munge/socket --pid-file=/run/munge/pid"
                          " --log-file=/run/munge/log --seed-file=/run/munge/seed")
        self.do("login", "setsid slurmctld -D > /mnt/slurmctld.out 2>&1 &")
        for name in NODES:
            self.do(name, "mount -t tmpfs tmpfs /sys/fs/cgroup; setsid slurmd -D > /mnt/slurmd.out 2>&1 &")
        ssh.wait("two idle nodes", lambda: self.inside("login", "sinfo -h -t idle -o %D").stdout.strip() == "2")
        self.env, self.project = dict(os.environ), self.root
        self.server = self.command("login", "cd /mnt/shared/ws && exec meanwhile serve")

    def boot(self, name):
        tap = f"mwnfs-{name}"
        ssh.run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        ssh.run("ip", "link", "set", tap, "master", "mwnfs", "up")
        init = os.path.realpath("nfs.init")
        argv = ["linux.uml", f"umid=mw{os.getpid()}{name}", f"uml_dir={self.root}/uml/", f"mem=384M",
                "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", f"vec0:transport=tap,ifname={tap},depth=64",
                "con0=fd:0,fd:1", "con=null", "ssl=null", "quiet", TUNABLES, f"role={name}", f"address={NET}.{HOSTS[name]}",
                f"lab={self.root}"]
        env = {**os.environ, "TMPDIR": "/dev/shm"}
        console = open(f"{self.root}/{name}.console", "wb")
        self.kernels[name] = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                                              start_new_session=True)

    def command(self, name, line):
        return ["ssh", "-F", f"{self.root}/ssh", name, line]

    def inside(self, name, line, **more):
        return subprocess.run(self.command(name, line), capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)

    def do(self, name, line):
        out = self.inside(name, line)
        assert out.returncode == 0, (name, line, out)
        return out.stdout

    def reach(self, name, is_up):
        """Plugs the cable of a host in, or pulls it: the kernels' driver does not survive the loss of the device itself."""
        ssh.run("ip", "link", "set", f"mwnfs-{name}", *(("master", "mwnfs") if is_up else ("nomaster",)))

    def close(self):
        for name, kernel in self.kernels.items():
            subprocess.run(["ssh", "-F", f"{self.root}/ssh", "-O", "exit", name], capture_output=True)
            os.killpg(kernel.pid, signal.SIGKILL)
            kernel.wait()
        for name in HOSTS:
            subprocess.run(["ip", "link", "del", f"mwnfs-{name}"], capture_output=True)
        subprocess.run(["ip", "link", "del", "mwnfs"], capture_output=True)
        shutil.rmtree(self.root)


def spawn(daemon, command, **more):
    return daemon.call("task/spawn", {"command": command, "on": "gpu", **more})["task"]["id"]


def check(daemon, task):
    return daemon.call("task/check", {"id": task})["task"]


def end_of(daemon, task):
    return daemon.exited(task)[1]["params"]["notification"]["task"]


PROBE = """
import fcntl, mmap, os, sys
path = sys.argv[1]
def says(name, what):
    try:
        what()
        print(name, "works", end="; ")
    except OSError as error:
        print(name, "fails:", error.strerror, end="; ")
file = open(path, "w+b")
file.write(bytes(8192))
file.flush()
says("flock", lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB))
fcntl.flock(file, fcntl.LOCK_UN)
says("fcntl's lock", lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB))
says("a shared mapping", lambda: mmap.mmap(file.fileno(), 8192).flush())
says("fallocate", lambda: os.posix_fallocate(file.fileno(), 0, 16384))
def fifo():
    os.mkfifo(path + ".fifo")
    end = os.open(path + ".fifo", os.O_RDWR | os.O_NONBLOCK)
    os.write(os.open(path + ".fifo", os.O_WRONLY | os.O_NONBLOCK), b"x")
    assert os.read(end, 1) == b"x"
says("a FIFO", fifo)
print()
"""


def is_what_the_shim_needs(lab):
    """What the file system can do, and the place as `place add` finds it."""
    ssh.write(f"{lab.root}/probe.py", PROBE)
    print("  " + lab.do("n1", f"python3 {lab.root}/probe.py {SHARED}/probe").strip())
    print("  " + lab.do("login", f"meanwhile place add gpu --slurm --shared {SHARED}/meanwhile").strip())


def is_told_soon(lab):
    """Ends and output on a node are seen on the login host; how soon."""
    daemon = ssh.Daemon(lab)
    task = spawn(daemon, "echo early; read line < gate; exit 7", resources={"extra": ["-w", "n2"]})
    lab.do("n2", "mkfifo /mnt/shared/ws/gate")
    ssh.wait("the output", lambda: "early" in daemon.call("task/read", {"id": task})["data"])
    assert check(daemon, task)["place"]["node"] == "n2"
    lab.do("n2", "timeout 60 sh -c 'echo > /mnt/shared/ws/gate'")
    assert end_of(daemon, task)["exit"]["code"] == 7
    late = []
    for number in range(TASKS):
        task = spawn(daemon, f"date +%s.%N; exit {number}")
        at, push = daemon.exited(task)
        told = push["params"]["notification"]
        assert told["task"]["exit"]["code"] == number, told
        late.append(at + (time.time() - time.monotonic()) - float(told["preview"]["head"]))
    print(f"  {TASKS} ends, last instruction on the node to the push: median {statistics.median(late):.2f} s, longest {max(late):.2f} s")
    daemon.kill()


def is_claimed_once(lab):
    """The keepers of two nodes want the same task at the same moment; one has it, and it runs once."""
    daemon = ssh.Daemon(lab)
    held = spawn(daemon, "echo once >> ran/$MEANWHILE_TASK_ID", resources={"extra": ["--hold"]})
    ssh.wait("the folder", lambda: check(daemon, held).get("place", {}).get("job"))
    ssh.write(f"{lab.root}/race.py", RACE)
    tasks = f"{SHARED}/meanwhile/tasks"
    lab.do("login", f"python3 {lab.root}/race.py make {tasks} {held} {RACES}")
    begin = time.time() + 5
    racers = [subprocess.Popen(lab.command(node, f"python3 {lab.root}/race.py run {tasks} {RACES} {CONTENDERS} {begin}"),
                               stdout=subprocess.PIPE, text=True) for node in NODES]
    codes = [[line.split() for line in racer.communicate()[0].splitlines()] for racer in racers]
    winners = [sum(code != "98" for node in codes for code in node[race]) for race in range(RACES)]
    by_node = {name: sum(any(code != "98" for code in line) for line in node) for name, node in zip(NODES, codes)}
    ran = lab.do("login", "cat /mnt/shared/ws/ran/race*; ls /mnt/shared/ws/ran/race* | wc -l").split()
    print(f"  {RACES} races of {2 * CONTENDERS} keepers on 2 nodes: winners {sorted(set(winners))}, won by {by_node}; ran {ran.count('once')} times")
    assert winners == [1] * RACES and ran.count("once") == RACES and ran[-1] == str(RACES), (winners, ran)
    daemon.call("task/stop", {"id": held})
    assert end_of(daemon, held)["state"] == "stopped"
    daemon.kill()


RACE = """
import os, subprocess, sys, time
what, tasks = sys.argv[1:3]
if what == "make":
    held, count = sys.argv[3], int(sys.argv[4])
    read = lambda name: open(f"{tasks}/{held}/{name}", "rb").read()
    for race in range(count):
        os.mkdir(f"{tasks}/race{race:04}")
        for name in ("spec", "record", "beat", "job"):
            data = read(name).replace(held.encode(), b"race%04d" % race)
            open(f"{tasks}/race{race:04}/{name}", "wb").write(data)
else:
    count, contenders, at = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    shims = os.path.dirname(tasks) + "/bin"
    shim = shims + "/" + os.listdir(shims)[0]
    for race in range(count):
        # Each node begins with each race at the same time.
        time.sleep(max(0, at + race - time.time()))
        argv = [shim, "node", f"{tasks}/race{race:04}"]
        running = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(contenders)]
        print(*(it.wait() for it in running), flush=True)
"""


def is_told_whatever_is_away(lab):
    """A shim is killed; the file server, and the node, cannot be reached while the task ends; a tree is stopped."""
    daemon = ssh.Daemon(lab)
    task = spawn(daemon, "sleep 8; exit 6")
    node = ssh.wait("the task to run", lambda: (lambda it: it.get("pid") and it["place"].get("node"))(check(daemon, task)))
    lab.do(node, f"kill -9 $(od -An -tu4 -j16 -N4 {SHARED}/meanwhile/tasks/{task}/record)")
    end = end_of(daemon, task)
    print(f"  the shim killed: {end['shown']['ended']}")
    assert (end["state"], end["exit"]["code"]) == ("exited", 6), end
    for away in ("files", "node"):
        task = spawn(daemon, "sleep 6; exit 4")
        node = ssh.wait("the task to run", lambda: (lambda it: it.get("pid") and it["place"].get("node"))(check(daemon, task)))
        host = node if away == "node" else away
        lab.reach(host, False)
        # The task ends meanwhile; there is nothing here by which that can be seen.
        time.sleep(AWAY)
        lab.reach(host, True)
        begin = time.monotonic()
        end = end_of(daemon, task)
        print(f"  {host} away for {AWAY} s while the task ends: told {time.monotonic() - begin:.1f} s after: {end['shown']['ended']}")
        assert (end["state"], end["exit"]["code"]) == ("exited", 4), end
    task = spawn(daemon, "setsid sh -c 'trap \"\" TERM; sleep 301' & (sh -c 'sleep 302' &) ; sleep 300")
    node = ssh.wait("the task to run", lambda: (lambda it: it.get("pid") and it["place"].get("node"))(check(daemon, task)))
    daemon.call("task/stop", {"id": task})
    end = end_of(daemon, task)
    assert (end["state"], end["cause"]["actor"]) == ("stopped", "client"), end
    ssh.wait("none of the tree is left", lambda: lab.inside(node, "pgrep -f '^sleep 30'").returncode == 1)
    daemon.kill()


TESTS = [is_what_the_shim_needs, is_told_soon, is_claimed_once, is_told_whatever_is_away]

if __name__ == "__main__":
    sys.exit(ssh.main(sys.argv[1], Guests, TESTS, f"a record on NFS ({MOUNT})"))
