//! Declared inputs of a C or C++ compile: what its dependency file names, and the places where the compiler looked for each
//! of these headers before it found it.
//!
//! The compiler tells its search list (`-E -v`) and its parts (`-print-prog-name`) when a result is recorded, never on a
//! hit. What neither a dependency file nor the list can tell, the sources' text does: `__has_include`, the clock's macros,
//! `.incbin`. It errs on the side of refusing.

use crate::action::Action;
use crate::reason::{Reason, Why};
use crate::sources;
use crate::world::World;
use kache_key::{Input, PathSet};
use kache_os::{Stamp, bytes};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// More places than this to look for headers are not kept.
const PLACES: usize = 50_000;

/// A source longer than this is not searched for macros.
const TEXT_LIMIT: u64 = 64 << 20;

/// What the compiler says of itself.
struct Told {
    /// Where it looks for headers, in order, absent ones included.
    search: Vec<PathBuf>,
    /// Its programs.
    parts: Vec<PathBuf>,
}

/// The path set of a finished compile.
pub fn path_set(action: &Action, world: &World, start: Stamp) -> Result<PathSet, Why> {
    let info = sources::dep_info(action).ok_or(Why::new(Reason::Blind, "there is no dependency file"))?;
    let told = ask(action, world)?;
    let mut files: Vec<PathBuf> = info.files.iter().map(|file| plain(file)).collect();
    files.extend(action.source.as_deref().map(plain));
    let mut places: BTreeSet<PathBuf> = BTreeSet::new();
    let mut beside: BTreeSet<PathBuf> = BTreeSet::from([action.cwd.clone()]);
    beside.extend(files.iter().filter_map(|file| file.parent().map(Path::to_path_buf)));
    for file in &files {
        world.was_settled(file, start)?;
        for (at, dir) in told.search.iter().enumerate() {
            let Ok(name) = file.strip_prefix(dir) else { continue };
            places.extend(told.search[..at].iter().chain(&beside).map(|earlier| earlier.join(name)));
        }
        let text = kache_os::read_bounded(file, TEXT_LIMIT).map_err(|e| Why::new(Reason::TooNew, e))?;
        for name in asked_for(&text).map_err(|why| Why::new(why, file.display()))? {
            places.extend(told.search.iter().chain(&beside).map(|dir| dir.join(&name)));
        }
        if places.len() > PLACES {
            return Err(Why::new(Reason::Blind, "too many places where headers may be"));
        }
    }
    places.extend(files);
    places.extend(told.search);
    places.extend(told.parts);
    let stored = |place: &PathBuf| Input::Path(world.roots.encode_path(bytes(place)));
    let mut inputs: BTreeSet<Input> = places.iter().map(stored).collect();
    inputs.extend(action.bound_to.iter().map(|root| Input::Place(*root)));
    Ok(PathSet { inputs: inputs.into_iter().collect(), bound: None })
}

/// Without `..`, where that does not go through a link.
fn plain(file: &Path) -> PathBuf {
    let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return file.to_path_buf() };
    if !parent.components().any(|c| c == std::path::Component::ParentDir) {
        return file.to_path_buf();
    }
    std::fs::canonicalize(parent).map_or(file.to_path_buf(), |dir| dir.join(name))
}

fn ask(action: &Action, world: &World) -> Result<Told, Why> {
    let failed = |what: &str| Why::new(Reason::Blind, format!("{} does not tell {what}", action.program.display()));
    let run = |args: &[OsString]| {
        let mut command = Command::new(&action.program);
        command.args(args).current_dir(&action.cwd).stdin(Stdio::null()).env("LC_ALL", "C");
        command.output().ok().filter(|out| out.status.success())
    };
    let out = run(&action.probe).ok_or_else(|| failed("where it looks for headers"))?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let mut search = Vec::new();
    let mut listing = false;
    for line in text.lines() {
        let ignored = line.strip_prefix("ignoring nonexistent directory \"").and_then(|l| l.strip_suffix('"'));
        search.extend(ignored.map(|dir| action.cwd.join(dir)));
        if line.starts_with("#include ") && line.ends_with("search starts here:") {
            listing = true;
        } else if line.starts_with("End of search list") {
            listing = false;
        } else if let Some(dir) = line.strip_prefix(' ').filter(|_| listing) {
            search.push(plain(&action.cwd.join(dir).join(".")).components().collect());
        }
    }
    if search.is_empty() && !action.probe.iter().any(|arg| arg == "-nostdinc") {
        return Err(failed("where it looks for headers"));
    }
    let mut parts = vec![action.program.clone()];
    if text.contains("clang version") {
        // Its own configuration (clang's manual, "Configuration files").
        let mut name = action.program.file_name().unwrap_or_default().to_os_string();
        name.push(".cfg");
        parts.push(action.program.with_file_name(name));
        return Ok(Told { search, parts });
    }
    for part in ["cc1", "cc1plus", "as"] {
        let out = run(&[format!("-print-prog-name={part}").into()]).ok_or_else(|| failed("its parts"))?;
        let place = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
        if place.components().count() > 1 {
            parts.push(action.cwd.join(place));
        } else if part == "as" {
            let path = world.invocation.value(b"PATH").unwrap_or_default();
            let on_path = path.split(|b| *b == b':').map(|dir| action.cwd.join(kache_os::path(dir)).join(part));
            parts.extend(on_path);
        }
    }
    let out = run(&["-print-libgcc-file-name".into()]).ok_or_else(|| failed("its parts"))?;
    parts.push(Path::new(String::from_utf8_lossy(&out.stdout).trim()).with_file_name("specs"));
    Ok(Told { search, parts })
}

/// The headers a source asks `__has_include` for; refuses what makes a result depend on more than headers.
fn asked_for(text: &[u8]) -> Result<Vec<PathBuf>, Reason> {
    let holds = |word: &str| memchr::memmem::find(text, word.as_bytes()).is_some();
    if holds(".incbin") || holds("#embed") || holds("# embed") {
        return Err(Reason::Blind);
    }
    if holds("__DATE__") || holds("__TIME__") || holds("__TIMESTAMP__") {
        return Err(Reason::Clock);
    }
    let mut names = Vec::new();
    for at in memchr::memmem::find_iter(text, "has_include") {
        let rest = text[at + "has_include".len()..].strip_prefix(b"_next").unwrap_or(&text[at + "has_include".len()..]);
        let Some(rest) = rest.trim_ascii_start().strip_prefix(b"(") else { continue };
        let rest = rest.trim_ascii_start();
        let end = match rest.first() {
            Some(b'<') => b'>',
            Some(b'"') => b'"',
            // A macro that passes its own argument on is used by a name that is found here, too.
            _ if is_definition(text, at) => continue,
            _ => return Err(Reason::Blind),
        };
        let name = rest[1..].iter().position(|b| *b == end).map(|len| &rest[1..1 + len]);
        names.push(kache_os::path(name.ok_or(Reason::Blind)?).to_path_buf());
    }
    Ok(names)
}

/// Whether the line at this place defines a macro whose name holds `has_include`, too.
fn is_definition(text: &[u8], at: usize) -> bool {
    let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let end = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |n| at + n);
    let line = text[start..end].trim_ascii_start();
    let defined = line.strip_prefix(b"#").map(<[u8]>::trim_ascii_start).and_then(|l| l.strip_prefix(b"define"));
    defined.is_some_and(|d| {
        d.trim_ascii_start()
            .split(|b| *b == b'(')
            .next()
            .is_some_and(|name| memchr::memmem::find(name, b"has_include").is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sources_ask_for() {
        let names = |text: &str| asked_for(text.as_bytes());
        assert_eq!(
            names("#if __has_include(<a.h>) && __has_include_next ( \"b/c.h\" )"),
            Ok(vec!["a.h".into(), "b/c.h".into()])
        );
        assert_eq!(names("#ifdef __has_include\n# define x_has_include(h) __has_include(h)\n"), Ok(vec![]));
        assert_eq!(names("#if __has_include(NAME)"), Err(Reason::Blind));
        assert_eq!(names("const char *s = __DATE__;"), Err(Reason::Clock));
        assert_eq!(names("asm(\".incbin \\\"x\\\"\");"), Err(Reason::Blind));
    }
}
