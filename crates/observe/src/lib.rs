//! What a tool reads: a library that is preloaded into it and writes a trace, and the reader of that trace.
//!
//! Knows nothing of fingerprints, of the store, or of what an input means for a given tool: it says what happened, or
//! why it cannot say ([`Blind`]).
//!
//! Use: place [`PRELOAD`] somewhere permanent, make a [`Trace::create`], start one program with the variables of
//! [`ENV`] set, wait for it, and call [`TraceFile::read`].

#[cfg(target_os = "linux")]
pub mod tell;
mod trace;

pub use trace::{Blind, Kind, Program, Record, Trace, TraceFile, flag, is_program};

/// Whether this build has an observer. Without one the byte strings below are empty.
pub const SUPPORTED: bool = cfg!(observed);

/// The shared object to name in `LD_PRELOAD`. Its path must hold no space, colon or `$` (ld.so(8)).
#[cfg(observed)]
pub const PRELOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preload.so"));
#[cfg(not(observed))]
pub const PRELOAD: &[u8] = &[];

/// The program that stands in for a compiled build script; see `launcher.c`.
#[cfg(observed)]
pub const LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));
#[cfg(not(observed))]
pub const LAUNCHER: &[u8] = &[];

/// The loader's variable: the observer's path, and what the user preloads after it.
pub const ENV_PRELOAD: &str = "LD_PRELOAD";
/// Where the trace is: [`TraceFile::env_value`].
pub const ENV_TRACE: &str = "KACHE_TRACE";
/// `FROM=TO[:FROM=TO…]`, at most 16: given to each C compiler the observed programs start, as `-fdebug-prefix-map`.
pub const ENV_MAP: &str = "KACHE_MAP";
/// All variables the observer uses. It puts them back into every environment that is passed on.
pub const ENV: [&str; 3] = [ENV_PRELOAD, ENV_TRACE, ENV_MAP];
