//! Automation of this repository, run as `cargo xtask <command>`.
//!
//! A library beside the binary so that the tests of `tests/` call the same functions as the
//! command line. It depends on none of the crates it looks after: whatever it says about them it
//! learns from their files, their processes and their sockets.
#![warn(missing_docs)]
// This is a command line tool: its tables and progress lines are meant for the terminal.
#![allow(clippy::print_stdout)]

pub mod attacks;
pub mod browser;
pub mod chaos;
pub mod cluster;
pub mod conformance;
pub mod deploy_check;
pub mod image;
pub mod instructions;
pub mod sim;
pub mod tidy;
