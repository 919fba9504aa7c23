//! One snapshot of what this process was started with; nothing below reads the environment again.

use kache_key::{Root, Roots};
use kache_os::bytes;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// argv, environment and working directory.
pub struct Invocation {
    pub args: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    pub started: Instant,
}

impl Invocation {
    pub fn snapshot() -> Invocation {
        Invocation {
            args: std::env::args_os().collect(),
            env: std::env::vars_os().collect(),
            cwd: std::env::current_dir().unwrap_or_default(),
            started: Instant::now(),
        }
    }

    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_os_str())
    }

    /// A variable that holds an absolute path.
    pub fn path_var(&self, name: &str) -> Option<&Path> {
        self.var(name).map(Path::new).filter(|p| p.is_absolute())
    }

    /// The name that `PWD` gives the working directory, or another one of the checkout where a child may run, if that is
    /// not `getcwd`'s: shells and compilers go by it (POSIX, sh, "Shell Variables").
    pub fn directory_name(&self, roots: &Roots) -> Option<&Path> {
        let pwd = self.path_var("PWD").filter(|pwd| **pwd != self.cwd)?;
        let real = kache_os::canonical_dir(pwd).ok().filter(|real| real != pwd)?;
        let in_checkout = || roots.innermost(bytes(&real)).is_some_and(Root::moves_with_checkout);
        (real == self.cwd || in_checkout()).then_some(pwd)
    }

    /// Where scratch goes.
    pub fn temp(&self) -> &Path {
        self.path_var("TMPDIR").unwrap_or(Path::new("/tmp"))
    }

    /// A variable that is UTF-8.
    pub fn text_var(&self, name: &str) -> Option<String> {
        self.var(name).and_then(|v| v.to_str()).map(String::from)
    }

    /// A variable's bytes.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.env.iter().find(|(k, _)| bytes(k) == name).map(|(_, v)| bytes(v))
    }
}
