//! The supervisor of one background task, and the files it shares with the daemon.
//!
//! A shim outlives every daemon. It owns the task's pipes, its log, its process tree and its exit
//! record, and it alone writes the record; daemons and the command line only read it. A shim never
//! touches the ledger: its files are the journal from which the ledger is updated.
//!
//! The library holds what both sides must agree on: where files are ([`layout`]), what they mean
//! ([`record`], [`spec`]), how one side wakes the other ([`bell`], [`ctl`]), what a daemon asks its
//! keeper for ([`keep`]), how a process tree is found and ended ([`tree`]), how a process is started
//! ([`launch`]), how it is confined ([`confine`]), how it waits for its turn ([`slots`]), and what is
//! known about other machines ([`place`], [`node`]).

pub mod bell;
pub mod clock;
pub mod confine;
pub mod ctl;
pub mod identity;
pub mod keep;
pub mod launch;
pub mod layout;
pub mod lock;
pub mod log;
pub mod map;
pub mod node;
pub mod output;
pub mod place;
pub mod record;
pub mod slots;
pub mod spec;
pub mod temporary;
pub mod tree;
