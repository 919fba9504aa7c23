//! What is known of programs that take part in actions: one table.
//!
//! A program that is not in the table counts as having read the whole environment, and its reading of the clock counts.

use crate::pattern::matches;
use kache_os::bytes;
use std::path::Path;

/// What a program's behaviour lets us conclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traits {
    /// Asks for variables through `getenv` only, so the names it asked for are all it read.
    pub asks_by_name: bool,
    /// Reads of the wall clock that do not reach its results.
    pub clock_reads: u32,
    pub is_shell: bool,
}

impl Traits {
    /// Looks as it starts what `PWD` and `OLDPWD` lead to: compilers, and shells (POSIX, sh, "Shell Variables").
    pub fn looks_at_pwd(self) -> bool {
        self.asks_by_name || self.is_shell
    }
}

pub const ANY: u32 = u32::MAX;

/// Names (see [`is_called`]), traits and the reason.
const PROGRAMS: &[(&str, Traits, &str)] = &[
    ("rustc", by_name(0), "asks by name; for the clock it has a rule of its own (`observed.rs`)"),
    ("clippy-driver", by_name(0), "as rustc"),
    ("rust-lld", by_name(ANY), "the linker writes no times"),
    ("ld.lld", by_name(ANY), "the linker writes no times"),
    ("lld", by_name(ANY), "as ld.lld; its times in programs for Windows are seen there"),
    ("lld-link", by_name(ANY), "as lld"),
    ("mold", by_name(ANY), "the linker writes no times"),
    ("ld.mold", by_name(ANY), "as mold"),
    ("*gcc", by_name(ANY), "driver; seeds names of temporary files by the clock"),
    ("*gcc-[0-9]*", by_name(ANY), "driver"),
    ("*gcc-posix", by_name(ANY), "driver"),
    ("*gcc-win32", by_name(ANY), "driver"),
    ("*g++", by_name(ANY), "driver"),
    ("*g++-posix", by_name(ANY), "driver"),
    ("*g++-win32", by_name(ANY), "driver"),
    ("*g++-[0-9]*", by_name(ANY), "driver"),
    ("*cc", by_name(ANY), "driver"),
    ("*c++", by_name(ANY), "driver"),
    ("*clang", by_name(0), "driver; reads it for __DATE__ only"),
    ("*clang++", by_name(0), "as clang"),
    ("*clang-[0-9]*", by_name(0), "as clang"),
    ("cc1", by_name(1), "seeds random names once; a second read would be __DATE__"),
    ("cc1plus", by_name(1), "as cc1"),
    ("cc1obj", by_name(1), "as cc1"),
    ("cc1objplus", by_name(1), "as cc1"),
    ("collect2", by_name(ANY), "looks for ld on PATH"),
    ("lto-wrapper", by_name(ANY), "part of gcc"),
    ("lto1", by_name(ANY), "part of gcc"),
    ("*as", by_name(ANY), "the assembler writes no times"),
    ("*ld", by_name(ANY), "the linker writes no times"),
    ("*ld.bfd", by_name(ANY), "the linker writes no times"),
    ("*ld.gold", by_name(ANY), "the linker writes no times"),
    ("*ar", by_name(ANY), "archives are deterministic unless asked otherwise"),
    ("*gcc-ar", by_name(ANY), "as ar"),
    ("*gcc-ar-[0-9]*", by_name(ANY), "as ar"),
    ("*ranlib", by_name(ANY), "as ar"),
    ("*nm", by_name(ANY), "reads only"),
    ("gnm", by_name(ANY), "collect2 looks for nm by this name, too"),
    ("*strip", by_name(ANY), "writes no times"),
    ("gstrip", by_name(ANY), "collect2 looks for strip by this name, too"),
    ("*objcopy", by_name(ANY), "writes no times"),
    ("cmake", by_name(ANY), "compares file times with the clock"),
    ("ninja", by_name(ANY), "compares file times with the clock"),
    ("pkg-config", by_name(ANY), "asks for its own variables by name"),
    ("pkgconf", by_name(ANY), "asks for its own variables by name"),
    ("git", by_name(ANY), "asks for its own variables by name"),
    ("kache", by_name(0), "becomes the compiler it was called for; its settings are in the key"),
    ("make", whole(ANY), "imports the environment; compares file times with the clock"),
    ("gmake", whole(ANY), "as make"),
    ("sh", SHELL, "imports the environment; seeds $RANDOM"),
    ("dash", SHELL, "as sh"),
    ("bash", SHELL, "as sh"),
    ("perl", whole(1), "imports the environment; notes its start time"),
    ("python3", whole(1), "imports the environment; notes its start time"),
    ("python3.*", whole(1), "as python3"),
];

const fn by_name(clock_reads: u32) -> Traits {
    Traits { asks_by_name: true, clock_reads, is_shell: false }
}

const fn whole(clock_reads: u32) -> Traits {
    Traits { asks_by_name: false, clock_reads, is_shell: false }
}

const SHELL: Traits = Traits { asks_by_name: false, clock_reads: ANY, is_shell: true };

/// Traits of the program at `exe`, by its name; see [`env_use`] for Rust programs, whose symbols tell more.
pub fn traits_of(exe: &Path) -> Traits {
    let name = exe.file_name().unwrap_or_default().to_string_lossy();
    if let Some((_, traits, _)) = PROGRAMS.iter().find(|(row, _, _)| is_called(row, &name)) {
        return *traits;
    }
    // coreutils and friends, which scripts start by the dozen, land here: the whole environment.
    whole(0)
}

/// Whether a program bears the name in a row: `*x` is `x` or `anything-x` (a target's prefix), `x-[0-9]*` a versioned name.
fn is_called(row: &str, name: &str) -> bool {
    let (row, name) = match row.strip_suffix("-[0-9]*") {
        None => (row, name),
        Some(row) => match name.rsplit_once('-') {
            Some((start, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => (row, start),
            _ => return false,
        },
    };
    match row.strip_prefix('*') {
        Some(tool) => name.strip_suffix(tool).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('-')),
        None => matches(row, name),
    }
}

/// Programs that ask what the machine is called, or which kernel it runs, whatever they do. Those that ask for variables by
/// name (rustup's rustc, compilers) do not tell it in results either.
const ASK_FOR_MACHINE: &[(&str, &str)] =
    &[("bash", "sets $HOSTNAME as it starts"), ("tclsh*", "sets $tcl_platform as it starts")];

/// Whether a program's asking for the machine says nothing of its results.
pub fn asks_for_machine(exe: &Path) -> bool {
    let name = exe.file_name().unwrap_or_default().to_string_lossy();
    traits_of(exe).asks_by_name || ASK_FOR_MACHINE.iter().any(|(row, _)| is_called(row, &name))
}

/// How a Rust program or library reads its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvUse {
    ByName,
    /// It holds `std::env::vars_os`, as all do that start programs with a changed environment.
    Perhaps,
    /// It calls `std::env::vars`, or can't be read.
    Whole,
}

/// Reads the symbol names of a Rust program or library: what of `std::env` is among them is there because something calls
/// it. Both of rustc's name manglings write `std::env::vars` as `3std3env4vars`. A stripped binary tells by what it imports.
pub fn env_use(binary: &Path) -> EnvUse {
    use object::{Object, ObjectSymbol};
    const LIMIT: u64 = 1 << 30;
    let Ok(data) = kache_os::read_bounded(binary, LIMIT) else { return EnvUse::Whole };
    let Ok(file) = object::File::parse(&*data) else { return EnvUse::Whole };
    let mut of_std = false;
    let mut found = EnvUse::ByName;
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        let name = symbol.name_bytes().unwrap_or_default();
        let Some(at) = memchr::memmem::find(name, b"3std") else { continue };
        of_std = true;
        let rest = &name[at + 4..];
        if rest.starts_with(b"3env4vars") {
            return EnvUse::Whole;
        }
        if rest.starts_with(b"3env7vars_os") {
            found = EnvUse::Perhaps;
        }
    }
    if of_std {
        return found;
    }
    // Stripped: whoever goes through the environment reaches it through this variable of libc's (environ(7)).
    let mut imports = file.dynamic_symbols().filter_map(|s| s.name_bytes().ok()).peekable();
    let is_dynamic = imports.peek().is_some();
    let reaches = imports.any(|name| [&b"environ"[..], b"__environ", b"_environ"].contains(&name));
    if is_dynamic && !reaches { EnvUse::ByName } else { EnvUse::Whole }
}

/// Whether a path is a build script's real program, which is the user's own code in Rust: [`env_use`] can read it.
pub fn is_rust_binary(path: &Path) -> bool {
    bytes(path).ends_with(b".real")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let t = |n: &str| traits_of(Path::new(n));
        assert!(t("/usr/bin/x86_64-linux-gnu-gcc-12").asks_by_name);
        assert!(t("/usr/lib/gcc/x86_64-linux-gnu/12/cc1").asks_by_name);
        assert!(!t("/usr/bin/python3.11").asks_by_name);
        assert_eq!(t("/usr/bin/date").clock_reads, 0);
        assert!(t("/usr/bin/x86_64-linux-gnu-ld.bfd").asks_by_name);
        assert!(t("/usr/bin/x86_64-w64-mingw32-g++-posix").asks_by_name);
        assert!(["mold", "ld.mold", "lld-link"].iter().all(|linker| t(linker).asks_by_name));
        assert!(!t("/usr/bin/tar").asks_by_name && !t("/usr/bin/esbuild").asks_by_name);
    }
}
