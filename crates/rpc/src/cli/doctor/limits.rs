//! Checks the limits for this session: files, processes, memory.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::Check;
use super::mounts::{self, Mount};
use crate::cli::show;

/// With fewer open files a busy daemon reaches the limit: it needs a few for each task that it starts or shows.
const FILES_LOW: u64 = 256;
/// With fewer processes, tasks fail with misleading errors. A task is at least two processes.
const PROCESSES_LOW: u64 = 64;
/// With less memory the kernel soon kills tasks.
const MEMORY_LOW: u64 = 64 << 20;

pub(super) fn check() -> Vec<Check> {
    let mut checks = vec![files(), processes()];
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = mounts::read();
    checks.extend(group_processes(&groups, &mounts));
    checks.extend(group_memory(&groups, &mounts));
    checks
}

fn files() -> Check {
    const NAME: &str = "open files";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < FILES_LOW => Check::warn(
            NAME,
            format!("{soft}, at most {}", limit(hard)),
            "starting many tasks at once fails with `too many open files`",
            &format!("ulimit -n {}", hard.min(4_096)),
        ),
        Ok((soft, hard)) => Check::ok(NAME, format!("{}, at most {}", limit(soft), limit(hard))),
        Err(error) => Check::warn(NAME, error.desc(), "the limit could not be read", "ulimit -n"),
    }
}

fn processes() -> Check {
    const NAME: &str = "processes";
    match getrlimit(Resource::RLIMIT_NPROC) {
        Ok((soft, _)) if soft < PROCESSES_LOW => Check::warn(
            NAME,
            format!("{soft} for this user"),
            "tasks fail to start, or fail inside with `cannot fork`",
            "ulimit -u 4096",
        ),
        Ok((soft, _)) => Check::ok(NAME, format!("{} for this user", limit(soft))),
        Err(error) => Check::warn(NAME, error.desc(), "the limit could not be read", "ulimit -u"),
    }
}

fn limit(value: u64) -> String {
    if value == RLIM_INFINITY { "unlimited".to_owned() } else { show::thousands(value) }
}

fn group_processes(groups: &str, mounts: &[Mount]) -> Option<Check> {
    const NAME: &str = "processes of the cgroup";
    let (most, used) = tightest(&directories(groups, mounts, "pids"), "pids.max", "pids.current")?;
    let found = format!("{} of {} in use", show::thousands(used), show::thousands(most));
    Some(if most.saturating_sub(used) < PROCESSES_LOW {
        Check::warn(
            NAME,
            found,
            "tasks fail to start, or fail inside with `cannot fork`",
            "raise the limit of the container or service (pids.max), or stop what is not needed",
        )
    } else {
        Check::ok(NAME, found)
    })
}

fn group_memory(groups: &str, mounts: &[Mount]) -> Option<Check> {
    const NAME: &str = "memory of the cgroup";
    let directories = directories(groups, mounts, "memory");
    let (most, used) = tightest(&directories, "memory.max", "memory.current").or_else(|| {
        tightest(&directories, "memory.limit_in_bytes", "memory.usage_in_bytes")
            // Version 1 represents "unlimited" as the largest number of whole pages.
            .filter(|(most, _)| *most < 1 << 62)
    })?;
    let found = format!("{} of {} in use", show::bytes(used), show::bytes(most));
    Some(if most < MEMORY_LOW {
        Check::warn(
            NAME,
            found,
            "the kernel ends tasks with SIGKILL when it is used up",
            "raise the limit of the container or service",
        )
    } else {
        Check::ok(NAME, found)
    })
}

/// The limit of a cgroup or one of its ancestors that leaves the least room, and its usage.
fn tightest(directories: &[PathBuf], limit: &str, usage: &str) -> Option<(u64, u64)> {
    let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    directories
        .iter()
        // Without a limit the file contains `max`, which is not a number.
        .filter_map(|dir| Some((number(dir.join(limit))?, number(dir.join(usage)).unwrap_or(0))))
        .min_by_key(|(most, used)| (most.saturating_sub(*used), *most))
}

/// The directories of this process's cgroup and its ancestors (cgroups(7)): those of version 1 if the controller is
/// mounted there, else those of version 2.
fn directories(groups: &str, mounts: &[Mount], controller: &str) -> Vec<PathBuf> {
    let line = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            controllers.split(',').any(wanted).then_some(path)
        })
    };
    let version_1 = || {
        let mount = mounts.iter().find(|mount| {
            mount.kind == "cgroup" && mount.options.iter().any(|option| option == controller)
        })?;
        Some((mount, line(&|name| name == controller)?))
    };
    let version_2 = || {
        let mount = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
        Some((mount, line(&str::is_empty)?))
    };
    let Some((mount, path)) = version_1().or_else(version_2) else { return Vec::new() };
    // In a container the mount shows only a part of the tree, and the path may be outside of it.
    let path = Path::new(path);
    let below = path.strip_prefix(&mount.root).or_else(|_| path.strip_prefix("/"));
    let leaf = mount.point.join(below.unwrap_or(Path::new("")));
    leaf.ancestors().take_while(|dir| dir.starts_with(&mount.point)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_looked_for_in_its_mount() {
        let check = |groups: &str, mounts: &str, controller: &str, expected: &[&str]| {
            let found = directories(groups, &mounts::parse(mounts), controller);
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(found, expected, "{groups:?}");
        };
        let unified = "30 21 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let split = "31 21 0:27 /box /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                     32 21 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        let top = "/sys/fs/cgroup";
        check(
            "0::/user.slice/a.scope\n",
            unified,
            "pids",
            &["/sys/fs/cgroup/user.slice/a.scope", "/sys/fs/cgroup/user.slice", top],
        );
        check("0::/\n", unified, "memory", &[top]);
        check(
            "8:pids:/box/a\n0::/\n",
            split,
            "pids",
            &["/sys/fs/cgroup/pids/a", "/sys/fs/cgroup/pids"],
        );
        check("3:cpuacct,cpu:/x\n", split, "cpu", &["/sys/fs/cgroup/cpu/x", "/sys/fs/cgroup/cpu"]);
        check("8:pids:/a\n", split, "memory", &[]);
        check("", "", "pids", &[]);
    }

    #[test]
    fn the_group_with_the_least_room_counts() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let group = |name: &str, max: &str, current: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).expect("it is writable");
            fs::write(path.join("pids.max"), max).expect("it is writable");
            fs::write(path.join("pids.current"), current).expect("it is writable");
            path
        };
        let groups =
            [group("a", "max\n", "3\n"), group("b", "100\n", "90\n"), group("c", "50\n", "3\n")];
        assert_eq!(tightest(&groups, "pids.max", "pids.current"), Some((100, 90)));
        assert_eq!(tightest(&groups[..1], "pids.max", "pids.current"), None);
        assert_eq!(tightest(&[], "pids.max", "pids.current"), None);
    }

    #[test]
    fn limits_are_read_on_this_machine() {
        assert!(files().found.contains("at most"), "{:?}", files());
        assert!(processes().found.contains("for this user"), "{:?}", processes());
    }
}
