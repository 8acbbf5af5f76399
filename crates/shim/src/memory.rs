//! The kernel's OOM killer: which process it kills first, and whether it has killed any.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use meanwhile_shim::record::{Actor, Cause};

/// How much higher a task's `oom_score_adj` is than its shim's (proc_pid_oom_score_adj(5)), so that the kernel
/// kills the task first: as if the task used another tenth of the memory.
const HIGHER: i32 = 100;
/// The highest value of `oom_score_adj`.
const HIGHEST: i32 = 1_000;
const CGROUPS: &str = "/sys/fs/cgroup";

/// This process's `oom_score_adj`, which its children inherit.
pub struct Score {
    file: File,
    own: i32,
}

impl Score {
    /// Opens it; `None` if it cannot be read or written.
    pub fn open() -> Option<Self> {
        let path = "/proc/self/oom_score_adj";
        let own = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(Self { file: File::options().write(true).open(path).ok()?, own })
    }

    /// Calls `start` with a raised score, so that the kernel kills the processes started there before this one.
    pub fn raised<T>(score: Option<&Self>, start: impl FnOnce() -> T) -> T {
        let set = |value: i32| {
            // A sandbox may refuse the write: then both have the same score.
            score.map(|score| score.file.write_all_at(value.to_string().as_bytes(), 0))
        };
        let own = score.map_or(0, |score| score.own);
        set((own + HIGHER).min(HIGHEST));
        let started = start();
        set(own);
        started
    }
}

/// How many processes of this control group the kernel has killed because of low memory; `None` if the kernel
/// does not report it.
pub fn kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    counters(&groups).iter().find_map(|file| count(&fs::read_to_string(file).ok()?))
}

/// The files that may hold this number for a process in these control groups (cgroups(7)): first those of the
/// memory controller's own hierarchy. In a container the path may be the host's; then the root of the mount is
/// the process's group.
fn counters(groups: &str) -> Vec<PathBuf> {
    let place = |mount: &str, path: &str, file: &str| {
        let mount = Path::new(CGROUPS).join(mount);
        [mount.join(path.trim_start_matches('/')).join(file), mount.join(file)]
    };
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if controllers.split(',').any(|name| name == "memory") {
            found.splice(0..0, place("memory", path, "memory.oom_control"));
        } else if controllers.is_empty() {
            found.extend(place("", path, "memory.events"));
        }
    }
    found
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// The cause of an end, if the number rose while the task ran. It is not known which processes were killed.
pub fn cause(before: Option<u64>, after: Option<u64>) -> Option<Cause> {
    let (before, after) = (before?, after?);
    (after > before).then(|| Cause {
        actor: Actor::Limit,
        message: format!(
            "while it ran, the kernel killed processes of its control group because memory was short \
             (out of memory: oom_kill went from {before} to {after})"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> String {
        fs::read_to_string("/proc/self/oom_score_adj").unwrap()
    }

    #[test]
    fn the_counter_is_found_in_both_versions_of_control_groups() {
        let table: [(&str, &[&str]); 4] = [
            ("0::/user.slice/a.scope\n", &["user.slice/a.scope/memory.events", "memory.events"]),
            ("0::/\n", &["memory.events", "memory.events"]),
            (
                "0::/x\n5:cpu,memory:/docker/ab:c\n1:name=systemd:/y\n",
                &[
                    "memory/docker/ab:c/memory.oom_control",
                    "memory/memory.oom_control",
                    "x/memory.events",
                    "memory.events",
                ],
            ),
            ("", &[]),
        ];
        for (groups, wanted) in table {
            let wanted: Vec<_> = wanted.iter().map(|it| Path::new(CGROUPS).join(it)).collect();
            assert_eq!(counters(groups), wanted, "{groups}");
        }
        assert_eq!(count("low 0\noom 2\noom_kill 7\noom_group_kill 0\n"), Some(7));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(count("oom_kill_disable 0\n"), None);
    }

    #[test]
    fn only_a_number_that_rose_is_a_cause() {
        for (before, after) in [(None, Some(1)), (Some(1), None), (Some(1), Some(1))] {
            assert_eq!(cause(before, after), None);
        }
        let told = cause(Some(1), Some(3)).unwrap();
        assert!(told.message.contains("oom_kill went from 1 to 3"), "{told:?}");
    }

    #[test]
    fn what_is_started_is_taken_before_its_starter() {
        let Some(score) = Score::open() else { return };
        let before = own();
        let childs = Score::raised(Some(&score), || {
            let child = std::process::Command::new("cat").arg("/proc/self/oom_score_adj").output();
            String::from_utf8(child.unwrap().stdout).unwrap()
        });
        let wanted = (score.own + HIGHER).min(HIGHEST);
        assert_eq!(childs.trim(), wanted.to_string());
        assert_eq!(own(), before);
    }
}
