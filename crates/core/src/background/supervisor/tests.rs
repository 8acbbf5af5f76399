//! The supervisor on a scripted executor: its requests and its events, with paused time and without any task's
//! files.

mod bench;
mod ends;
mod orders;
mod ports;
mod spawns;
mod watches;
