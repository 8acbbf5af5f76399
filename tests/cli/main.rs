//! The command line, with the real binary. Every test has its own store.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod agent;
mod chat;
mod demo;
mod doctor;
mod drain;
mod elsewhere;
mod generated;
mod harness;
mod hosts;
mod learn;
mod logs;
mod places;
mod ps;
mod restart;
mod run;
mod serve;
mod sessions;
mod signal;
mod spawn;
mod stop;
mod terminal;
mod wait;
