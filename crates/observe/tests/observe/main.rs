//! The observer on real processes: it sees what strace sees, nobody escapes it, and nobody notices it.

mod complete;
mod escapes;
mod harness;
mod hosts;
mod launcher;
mod maps;
mod records;
