//! What an action is named by: digests, framed hashing, the recipe and its sinks, roots and placeholders, inputs.
//!
//! Knows nothing about where anything is stored, how a file is read, or which tool runs.

mod digest;
mod input;
mod recipe;
mod roots;

pub use digest::{Digest, Framed};
pub use input::{Bound, Input, PathSet, State};
pub use recipe::{Description, Recipe, Sink};
pub use roots::{Form, MARK, Root, Roots};

/// Version of every fingerprint. Raise it when the meaning of any key field or input state changes.
///
/// History: 1, the first. 2: the working directory's name is an input where it was observed, no field of every key.
pub const KEY_VERSION: u32 = 2;
