//! Steps: tasks that an agent runs in the foreground. Lists leave them out until they continue in the
//! background.

use std::path::Path;

use rusqlite::{OptionalExtension, params};

use super::retention::{bury_if_told, delete_session};
use super::rows::{id_of, path_bytes, row_id};
use super::{Ledger, LedgerError};
use crate::background::task::TaskId;

impl Ledger {
    /// Turns a step into a task, permanently.
    pub fn promote(&mut self, id: TaskId) -> Result<(), LedgerError> {
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO steps (task, is_step) VALUES (?1, 0)
                 ON CONFLICT (task) DO UPDATE SET is_step = 0",
            )?
            .execute([row_id(id)])?;
            Ok(())
        })
    }

    /// Keeps only those of the steps that have become tasks: they were promoted, or `is_alive` says that the
    /// holder of their agent's session is dead, so no turn waits for them any more.
    pub fn keep_promoted(
        &self,
        steps: &mut Vec<TaskId>,
        is_alive: &dyn Fn(&str) -> bool,
    ) -> Result<(), LedgerError> {
        let mut select = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM steps WHERE task = t.id AND is_step = 0), s.holder
             FROM tasks t LEFT JOIN sessions s ON s.workspace = t.workspace AND s.id = t.queue
             WHERE t.id = ?1",
        )?;
        let mut promoted = Vec::new();
        for id in steps.iter() {
            let found: Option<(bool, Option<String>)> =
                select.query_row([row_id(*id)], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            // A step without a row was spawned just now.
            if found.is_some_and(|(is_task, holder)| {
                is_task || !holder.is_some_and(|holder| is_alive(&holder))
            }) {
                promoted.push(*id);
            }
        }
        *steps = promoted;
        Ok(())
    }

    /// Deletes a session with its transcript and its ended tasks, and returns their ids: their files may be
    /// deleted.
    pub fn forget_session(
        &mut self,
        workspace: &Path,
        id: &str,
    ) -> Result<Vec<TaskId>, LedgerError> {
        self.write(|tx| {
            let path = path_bytes(workspace);
            let n: Option<i64> = tx
                .prepare_cached("SELECT n FROM sessions WHERE workspace = ?1 AND id = ?2")?
                .query_row(params![path, id], |row| row.get(0))
                .optional()?;
            let Some(n) = n else { return Ok(Vec::new()) };
            delete_session(tx, n)?;
            for sql in [
                "DELETE FROM notifications WHERE workspace = ?1 AND queue = ?2",
                "DELETE FROM queues WHERE workspace = ?1 AND name = ?2",
                "DELETE FROM steps WHERE task IN (SELECT id FROM tasks WHERE workspace = ?1
                   AND queue = ?2 AND outcome IS NOT NULL)",
                "DELETE FROM tokens WHERE task IN (SELECT id FROM tasks WHERE workspace = ?1
                   AND queue = ?2 AND outcome IS NOT NULL)",
                "DELETE FROM durations WHERE workspace = ?1 AND command IN (SELECT command FROM tasks
                   WHERE workspace = ?1 AND queue = ?2) AND command NOT IN (SELECT command FROM
                   tasks WHERE workspace = ?1 AND queue <> ?2)",
                "UPDATE tasks SET removed = 1 WHERE workspace = ?1 AND queue = ?2
                   AND outcome IS NOT NULL",
            ] {
                tx.prepare_cached(sql)?.execute(params![path, id])?;
            }
            let ended: Vec<i64> = tx
                .prepare_cached(
                    "SELECT id FROM tasks WHERE workspace = ?1 AND queue = ?2 AND removed = 1",
                )?
                .query_map(params![path, id], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for task in &ended {
                bury_if_told(tx, *task)?;
            }
            Ok(ended.into_iter().map(id_of).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{finish_of, new_task, open};
    use super::super::{Ledger, NewTask};
    use crate::background::task::{Outcome, TaskId, Timestamp};
    use crate::limits::STEPS_KEPT;

    fn step(n: u32) -> NewTask {
        NewTask { is_step: true, ..new_task(n, "s") }
    }

    fn listed(ledger: &Ledger, steps: bool) -> Vec<TaskId> {
        let workspace = new_task(0, "s").workspace;
        let tasks = ledger.tasks(&workspace, None, 1_000, steps).expect("read");
        tasks.into_iter().map(|task| task.id).collect()
    }

    #[test]
    fn a_step_is_listed_once_it_is_a_task() {
        let (_dir, mut ledger) = open();
        let (one, two) = (step(1), new_task(2, "s"));
        ledger.insert(&[one.clone(), two.clone()]).expect("made");
        assert_eq!(listed(&ledger, false), [two.id]);
        assert_eq!(listed(&ledger, true).len(), 2);
        let by_id = ledger.task(&one.workspace, one.id).expect("read").expect("there");
        assert!(by_id.is_step && ledger.facts(one.id).expect("read").expect("there").is_step);
        ledger.promote(one.id).expect("promoted");
        let mut steps = vec![one.id, TaskId::random()];
        ledger.keep_promoted(&mut steps, &|_| true).expect("read");
        assert_eq!(steps, [one.id]);
        // A process that finds the task by its files writes its row again.
        ledger.insert(std::slice::from_ref(&one)).expect("nothing");
        assert_eq!(listed(&ledger, false).len(), 2);
        assert!(!ledger.task(&one.workspace, one.id).expect("read").expect("there").is_step);
    }

    #[test]
    fn a_step_whose_agent_has_gone_is_a_task() {
        let (_dir, mut ledger) = open();
        let one = step(1);
        ledger.create_session(&one.workspace, "s", "m", ("holder", 1)).expect("made");
        ledger.insert(std::slice::from_ref(&one)).expect("made");
        for is_alive in [true, false] {
            let mut steps = vec![one.id];
            ledger
                .keep_promoted(&mut steps, &|holder| holder == "holder" && is_alive)
                .expect("read");
            assert_eq!(steps.len(), usize::from(!is_alive));
        }
    }

    #[test]
    fn steps_push_no_task_out_of_the_store() {
        let (_dir, mut ledger) = open();
        let task = new_task(1, "s");
        let steps: Vec<NewTask> = (2..STEPS_KEPT + 7).map(step).collect();
        for task in std::iter::once(&task).chain(&steps) {
            ledger.insert(std::slice::from_ref(task)).expect("made");
            let ended = finish_of(task.clone(), Outcome::Exited);
            ledger.record(&[], &[], &[], &[ended]).expect("ended");
        }
        let now = Timestamp::now();
        let kept = Duration::MAX;
        let gone = ledger.prune(&task.workspace, kept, 1, now, &|_| false).expect("pruned");
        assert_eq!(gone.len(), 5, "the steps beyond their number, and no task");
        assert_eq!(listed(&ledger, false), [task.id]);
    }

    #[test]
    fn a_forgotten_session_leaves_nothing() {
        let (_dir, mut ledger) = open();
        let (mine, other) = (step(1), new_task(2, "default"));
        ledger.create_session(&mine.workspace, "s", "m", ("holder", 1)).expect("made");
        for task in [&mine, &other] {
            ledger.insert(std::slice::from_ref(task)).expect("made");
            let ended = finish_of(task.clone(), Outcome::Exited);
            ledger.record(&[], &[], &[], &[ended]).expect("ended");
        }
        let gone = ledger.forget_session(&mine.workspace, "s").expect("forgotten");
        assert_eq!(gone, [mine.id]);
        assert_eq!(listed(&ledger, true), [other.id]);
        assert!(ledger.session(&mine.workspace, "s").expect("read").is_none());
        assert!(ledger.facts(mine.id).expect("read").is_none());
    }
}
