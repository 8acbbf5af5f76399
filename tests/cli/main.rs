//! The command line, through the real binary. Every test has a store of its own.

mod doctor;
mod drain;
mod generated;
mod harness;
mod logs;
mod ps;
mod spawn;
mod stop;
mod terminal;
mod wait;
