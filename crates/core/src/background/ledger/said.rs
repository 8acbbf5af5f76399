//! Reads a session's messages and facts back: all of them, or those after a reader's position.

use std::path::Path;

use rusqlite::{Transaction, params};

use super::rows::{count, int};
use super::sessions::{SessionRow, base, last, session};
use super::{Ledger, LedgerError};
use crate::background::task::Timestamp;

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number in the session, from 1.
    pub n: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// Whether the model's history starts over with this message.
    pub fresh: bool,
    /// The message, as JSON.
    pub body: String,
}

/// A stored fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFact {
    /// Its number in the session, from 1.
    pub n: u64,
    /// The time of the event.
    pub at: Timestamp,
    /// The fact, as JSON.
    pub fact: String,
}

/// What a process that watches a session reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The session's row.
    pub session: SessionRow,
    /// The process that has it open: its name in leases, and its pid.
    pub holder: Option<(String, u32)>,
    /// The messages after the reader's position.
    pub messages: Vec<StoredMessage>,
    /// The facts after the reader's position.
    pub facts: Vec<StoredFact>,
}

/// The parts of a session's trace, read in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The process that has the session open: its name in leases.
    pub holder: Option<String>,
    /// The requested facts, oldest first.
    pub facts: Vec<StoredFact>,
    /// All facts about a task, oldest first.
    pub of_tasks: Vec<StoredFact>,
}

impl Ledger {
    /// All messages of a session, oldest first.
    pub fn messages(&self, id: &str) -> Result<Vec<StoredMessage>, LedgerError> {
        self.read(|tx| match base(tx, id)? {
            Some(base) => messages(tx, base, 0),
            None => Ok(Vec::new()),
        })
    }

    /// The parts of a session's trace in one snapshot: the facts after `after`, at most `limit` of them.
    /// `None`: the workspace has no such session.
    pub fn traced(
        &self,
        workspace: &Path,
        id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Option<Traced>, LedgerError> {
        self.read(|tx| {
            let (Some(_), Some(base)) = (session(tx, workspace, id)?, base(tx, id)?) else {
                return Ok(None);
            };
            Ok(Some(Traced {
                holder: holder(tx, id)?.map(|(name, _)| name),
                facts: facts(tx, base, after, limit, false)?,
                of_tasks: facts(tx, base, 0, u32::MAX, true)?,
            }))
        })
    }

    /// All facts of a session, oldest first.
    pub fn trace(&self, id: &str) -> Result<Vec<StoredFact>, LedgerError> {
        self.read(|tx| match base(tx, id)? {
            Some(base) => facts(tx, base, 0, u32::MAX, false),
            None => Ok(Vec::new()),
        })
    }

    /// Which process has a session open, and what was added to it after this message and this fact, in one
    /// snapshot. `None`: the workspace has no such session.
    pub fn followed(
        &self,
        workspace: &Path,
        id: &str,
        message: u64,
        fact: u64,
    ) -> Result<Option<Followed>, LedgerError> {
        self.read(|tx| {
            let (Some(session), Some(base)) = (session(tx, workspace, id)?, base(tx, id)?) else {
                return Ok(None);
            };
            Ok(Some(Followed {
                session,
                holder: holder(tx, id)?,
                messages: messages(tx, base, message)?,
                facts: facts(tx, base, fact, u32::MAX, false)?,
            }))
        })
    }
}

/// The process that has a session open: its name in leases, and its pid.
fn holder(tx: &Transaction<'_>, id: &str) -> Result<Option<(String, u32)>, LedgerError> {
    let (name, pid): (Option<String>, Option<u32>) = tx
        .prepare_cached("SELECT holder, holder_pid FROM sessions WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(name.zip(pid))
}

fn messages(
    tx: &Transaction<'_>,
    base: i64,
    after: u64,
) -> Result<Vec<StoredMessage>, LedgerError> {
    let mut select = tx.prepare_cached(
        "SELECT id, at, fresh, body FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id",
    )?;
    let from = base.saturating_add(int(after)).min(last(base));
    let rows = select
        .query_map(params![from, last(base)], |row| {
            Ok(StoredMessage {
                n: count(row.get::<_, i64>(0)? - base),
                at: Timestamp(row.get(1)?),
                fresh: row.get(2)?,
                body: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

fn facts(
    tx: &Transaction<'_>,
    base: i64,
    after: u64,
    limit: u32,
    of_tasks: bool,
) -> Result<Vec<StoredFact>, LedgerError> {
    let mut select = tx.prepare_cached(
        "SELECT id, at, fact FROM trace
         WHERE id > ?1 AND id <= ?2 AND (?4 = 0 OR task IS NOT NULL) ORDER BY id LIMIT ?3",
    )?;
    let from = base.saturating_add(int(after)).min(last(base));
    let rows = select
        .query_map(params![from, last(base), limit, of_tasks], |row| {
            Ok(StoredFact {
                n: count(row.get::<_, i64>(0)? - base),
                at: Timestamp(row.get(1)?),
                fact: row.get(2)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}
