//! The supervisor on a scripted executor: what it asks for and what it tells, with time standing
//! still and without a file of any task.

mod bench;
mod ends;
mod orders;
mod ports;
mod spawns;
mod watches;
