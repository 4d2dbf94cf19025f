//! The program, on real servers.

mod check;
mod commands;
mod copy;
mod support;
