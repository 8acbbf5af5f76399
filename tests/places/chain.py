"""From here through ssh to a login host, and from there to a Slurm cluster of two nodes, with faults at each link.

The login host is the sshd of `ssh.py` in its network namespace. The cluster of `slurm.py` runs in the same namespace,
because only the login host reaches it. `MEANWHILE_BIN` names the program.
"""

import os
import signal
import subprocess
import sys
import time

import slurm
import ssh

TASKS, ROUNDS = 24, 12


class Chain(ssh.Lab):
    """The client's side, the login host and the cluster."""

    def __init__(self):
        super().__init__()
        self.cluster = slurm.Lab(["nsenter", f"--net=/run/netns/{self.space}"])
        self.conf = f"SLURM_CONF={self.cluster.root}/slurm.conf"
        self.serve = ["sh", "-c", f"'cd {self.there} && export {self.conf} && exec meanwhile serve'"]

    def login(self, *argv):
        return subprocess.run([*self.ssh, "env", self.conf, "meanwhile", *argv], capture_output=True, text=True)

    def close(self):
        self.cluster.tool("scancel", "-u", "root")
        for pid in self.processes("courier"):
            os.kill(pid, signal.SIGTERM)
        self.cluster.close()
        super().close()


def is_set_up_as_the_page_says(lab):
    """`place add` there with `--slurm`, here with the way and with `--via`; then a command runs on a node."""
    out = lab.login("place", "add", "gpu", "--slurm", "--shared", lab.cluster.shared)
    assert out.returncode == 0, out
    out = lab.cli("place", "add", "login", "--", *lab.ssh, *lab.serve)
    assert out.returncode == 0 and "answered in" in out.stdout, out
    out = lab.cli("place", "add", "gpu", "--via", "login", "--directory", f"{lab.there}/project")
    assert out.returncode == 0, out
    command = "echo $SLURM_JOB_NAME at $PWD on $SLURMD_NODENAME; exit 5"
    out = lab.cli("spawn", "--on", "gpu", "--wait", "--", "sh", "-c", command)
    assert out.returncode == 5 and f"at {lab.there}/project on n" in out.stdout, out
    print(f"  {out.stdout.strip()}")


def is_looked_at_and_stopped(lab):
    """Output comes while the task runs; job and node are known; a stop ends the tree on the node."""
    daemon = ssh.Daemon(lab)
    task = spawn(daemon, f"echo first; {slurm.TREE}")
    ssh.wait("the output", lambda: "first" in daemon.call("task/read", {"id": task})["data"])
    place = ssh.wait("the node", lambda: (lambda it: it.get("node") and it)(check(daemon, task)["place"]))
    print(f"  {place}")
    daemon.call("task/stop", {"id": task})
    _, push = daemon.exited(task)
    end = push["params"]["notification"]["task"]
    assert (end["state"], end["cause"]["actor"]) == ("stopped", "client"), end
    ssh.wait("none of the tree is left", lambda: slurm.left() == "0", 20)
    daemon.kill()


def is_queued_with_a_reason(lab):
    """A held job is `queued` with Slurm's reason. One is released and ends, one is stopped and never runs."""
    daemon = ssh.Daemon(lab)
    held = {"resources": {"extra": ["--hold"]}}
    released, stopped = spawn(daemon, "exit 6", **held), spawn(daemon, "touch stopped", **held)
    for id in (released, stopped):
        task = ssh.wait("the reason", lambda: (lambda it: "JobHeldUser" in it["shown"]["stands"] and it)(check(daemon, id)))
        assert task["shown"]["outcome"] == "queued" and "pid" not in task, task
    print(f"  {task['shown']['stands']}")
    daemon.call("task/stop", {"id": stopped})
    end = daemon.exited(stopped)[1]["params"]["notification"]["task"]
    assert end["state"] == "stopped", end
    job = check(daemon, released)["place"]["job"]
    assert lab.cluster.tool("scontrol", "release", job).returncode == 0
    end = daemon.exited(released)[1]["params"]["notification"]["task"]
    assert (end["state"], end["exit"]["code"]) == ("exited", 6), end
    assert not os.path.exists(f"{lab.there}/project/stopped")
    # What sbatch refuses ends with the words of sbatch.
    refused = spawn(daemon, "true", resources={"partition": "nosuch"})
    end = daemon.exited(refused)[1]["params"]["notification"]["task"]
    assert "Invalid partition name specified" in end["cause"]["message"], end
    print(f"  {end['shown']['ended']}")
    daemon.kill()


def is_told_after_the_cable_was_plugged_in(lab):
    """The cable is pulled; the job ends; its end is told once the cable is plugged in again."""
    daemon = ssh.Daemon(lab)
    task = spawn(daemon, "echo begun; sleep 4; exit 9")
    ssh.wait("the task to run", lambda: check(daemon, task).get("pid"))
    job = check(daemon, task)["place"]["job"]
    lab.reach(False)
    lost = ssh.wait("the loss to be noticed", lambda: check(daemon, task).get("contact"))
    assert check(daemon, task)["state"] == "running"
    state = ["squeue", "-h", "-t", "all", "-j", job, "-o", "%T"]
    ssh.wait("the end of the job", lambda: lab.cluster.tool(*state).stdout.strip() == "FAILED")
    assert check(daemon, task)["state"] == "running"
    print(f"  while the cable is pulled: {lost['reason']}")
    lab.reach(True)
    begin = time.monotonic()
    at, push = daemon.exited(task)
    end = push["params"]["notification"]["task"]
    assert (end["exit"]["code"], end["place"]["job"]) == (9, job), end
    assert daemon.call("task/read", {"id": task})["data"] == "begun\n"
    print(f"  told {at - begin:.1f} s after the cable was plugged in")
    daemon.kill()


def is_told_once_whatever_is_killed(lab):
    """24 tasks; 12 faults: of ssh, of each courier and each daemon, and of the cable."""
    def cable():
        lab.reach(False)
        time.sleep(1)
        lab.reach(True)

    def killed(*words, home):
        return lambda: ssh.kill(lab.processes(*words, home=home))

    ssh.storm(lab, "gpu", TASKS, ROUNDS, 4, [
        killed("ssh", home=lab.here), killed("courier", home=lab.here), killed("serve", home=lab.there),
        killed("courier", home=lab.there), cable, None])
    jobs = lab.cluster.tool("squeue", "-h", "-t", "all", "-o", "%j").stdout.split()
    print(f"  {TASKS} tasks, {ROUNDS} faults; jobs that Slurm has had in all: {len(jobs)}, of as many names: {len(set(jobs))}")


def spawn(daemon, command, **more):
    return daemon.call("task/spawn", {"command": command, "on": "gpu", **more})["task"]["id"]


def check(daemon, id):
    return daemon.call("task/check", {"id": id})["task"]


TESTS = [is_set_up_as_the_page_says, is_looked_at_and_stopped, is_queued_with_a_reason,
         is_told_after_the_cable_was_plugged_in, is_told_once_whatever_is_killed]

if __name__ == "__main__":
    sys.exit(ssh.main(sys.argv[1], Chain, TESTS, "a cluster behind ssh"))
