//! The command line, through the real binary. Every test has a store of its own.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, there and then")]

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
