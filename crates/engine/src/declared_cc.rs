//! Declared inputs of a C or C++ compile: what its dependency file names, and the places where the compiler looked for each
//! of these headers before it found it.
//!
//! The compiler tells its search list (`-E -v`) and its parts (`-print-prog-name`) when a result is recorded, never on a
//! hit. What neither a dependency file nor the list can tell, the sources' text does: `__has_include`, `.incbin`, the
//! clock's macros, and what these gave in the preprocessed source. It errs on the side of refusing.

use crate::action::Action;
use crate::reason::{Reason, Why};
use crate::sources;
use crate::world::World;
use kache_key::{Input, PathSet};
use kache_os::{Stamp, bytes};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// More places than this to look for headers are not kept.
const PLACES: usize = 50_000;

/// What the compiler says of itself.
struct Told {
    /// Where it looks for headers, in order, absent ones included.
    search: Vec<PathBuf>,
    /// Its programs, with the libraries they load, and the files that set it up.
    parts: Vec<PathBuf>,
    /// The source, preprocessed.
    preprocessed: Vec<u8>,
    /// Endings of precompiled headers that it would take in a header's place.
    precompiled: &'static [&'static str],
}

/// The path set of a finished compile.
pub fn path_set(action: &Action, world: &World, start: Stamp) -> Result<PathSet, Why> {
    let info = sources::dep_info(action).ok_or(Why::new(Reason::Blind, "there is no dependency file"))?;
    let told = ask(action, world)?;
    let mut files: Vec<PathBuf> = info.files.iter().map(|file| plain(file)).collect();
    files.extend(action.source.as_deref().map(plain));
    if tells_time(&told.preprocessed) {
        return Err(Why::new(Reason::Clock, action.source.as_deref().unwrap_or(&action.cwd).display()));
    }
    // gcc's dependency files name no precompiled header that it took, nor what that is made of.
    let real = |file: &Path| std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let named: BTreeSet<PathBuf> = files.iter().map(|file| real(file)).collect();
    let mut entered = entered(&told.preprocessed).into_iter().map(|file| action.cwd.join(file));
    if let Some(file) = entered.find(|file| !named.contains(&real(file))) {
        return Err(Why::new(Reason::Blind, format!("{} is not in the dependency file", file.display())));
    }
    let mut places: BTreeSet<PathBuf> = BTreeSet::new();
    let mut beside: BTreeSet<PathBuf> = BTreeSet::from([action.cwd.clone()]);
    beside.extend(files.iter().filter_map(|file| file.parent().map(Path::to_path_buf)));
    for file in &files {
        for (at, dir) in told.search.iter().enumerate() {
            let Ok(name) = file.strip_prefix(dir) else { continue };
            places.extend(told.search[..at].iter().chain(&beside).map(|earlier| earlier.join(name)));
        }
        let text = kache_os::read_bounded(file, sources::LIMIT).map_err(|e| Why::new(Reason::TooNew, e))?;
        for name in asked_for(&text).map_err(|why| Why::new(why, file.display()))? {
            places.extend(told.search.iter().chain(&beside).map(|dir| dir.join(&name)));
        }
        if places.len() > PLACES {
            return Err(Why::new(Reason::Blind, "too many places where headers may be"));
        }
    }
    places.extend(files.iter().cloned());
    for ending in told.precompiled {
        let headers: Vec<PathBuf> = places.iter().map(|place| with(place, ending)).collect();
        places.extend(headers);
    }
    places.extend(told.search);
    places.extend(told.parts);
    let stored = |place: &PathBuf| Input::Path(world.roots.encode_path(bytes(place)));
    let mut inputs: BTreeSet<Input> = places.iter().map(stored).collect();
    world.freeze(inputs.iter().map(|input| (input.clone(), None)).collect());
    world.all_unchanged_since(start, &files)?;
    inputs.extend(action.bound_to.iter().map(|root| Input::Place(*root)));
    Ok(PathSet { inputs: inputs.into_iter().collect(), bound: None })
}

fn with(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_os_string();
    name.push(ending);
    name.into()
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
    let failed = |what: &str, why: &dyn Display| {
        Why::new(Reason::Blind, format!("{} does not tell {what}: {why}", action.program.display()))
    };
    let places = "where it looks for headers";
    let out = sources::ask(action, action.probe.iter().cloned()).map_err(|e| failed(places, &e))?;
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
        return Err(failed(places, &"it names no place"));
    }
    if text.contains("Configuration file: ") {
        return Err(Why::new(Reason::Blind, format!("{} takes flags from a file", action.program.display())));
    }
    let (mut parts, precompiled): (_, &[_]) = if text.contains("clang version") {
        let includes = action.args.iter().any(|arg| bytes(arg).starts_with(b"-include"));
        (of_clang(action, &text), if includes { &[".pch", ".gch"] } else { &[] })
    } else {
        let answer = |question: &str| {
            let out = sources::ask(action, [question.into()]).map_err(|e| failed("its parts", &e))?;
            Ok(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()))
        };
        (of_gcc(action, world, &answer)?, &[".gch"])
    };
    let searched: Vec<PathBuf> = dirs_of(action, world, b"LD_LIBRARY_PATH");
    for program in parts.clone().iter().filter(|part| is_program(part)) {
        for library in libraries(program)? {
            let name = library.file_name().unwrap_or_default();
            parts.extend(searched.iter().map(|dir| dir.join(name)));
            parts.push(library);
        }
    }
    Ok(Told { search, parts, preprocessed: out.stdout, precompiled })
}

fn is_program(file: &Path) -> bool {
    kache_os::stat(file).is_ok_and(|m| m.is_file() && m.mode & 0o111 != 0)
}

/// The directories that a variable lists.
fn dirs_of(action: &Action, world: &World, name: &[u8]) -> Vec<PathBuf> {
    let list = world.invocation.value(name).into_iter().flat_map(|list| list.split(|b| *b == b':'));
    list.map(|dir| action.cwd.join(kache_os::path(dir))).collect()
}

/// clang's program, and its own configuration, which is not there (clang's manual, "Configuration files").
fn of_clang(action: &Action, told: &str) -> Vec<PathBuf> {
    let target = told.lines().find_map(|line| line.strip_prefix("Target: ")).unwrap_or_default();
    let mut parts = vec![action.program.clone()];
    for program in [Some(action.program.clone()), std::fs::canonicalize(&action.program).ok()].into_iter().flatten() {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let names = [format!("{name}.cfg"), format!("{target}.cfg"), format!("{target}-{name}.cfg")];
        parts.extend(names.map(|name| program.with_file_name(name)));
    }
    parts
}

/// gcc's driver, what it starts, and the file that may change how.
fn of_gcc(action: &Action, world: &World, answer: &dyn Fn(&str) -> Result<PathBuf, Why>) -> Result<Vec<PathBuf>, Why> {
    let mut parts = vec![action.program.clone(), answer("-print-libgcc-file-name")?.with_file_name("specs")];
    for part in ["cc1", "cc1plus", "as"] {
        let place = answer(&format!("-print-prog-name={part}"))?;
        if place.components().count() > 1 {
            parts.push(action.cwd.join(place));
        } else if part == "as" {
            let on_path = dirs_of(action, world, b"PATH").into_iter().map(|dir| dir.join(part));
            let places: Vec<PathBuf> = on_path.collect();
            let found = places.iter().position(|file| is_program(file)).map_or(places.len(), |at| at + 1);
            parts.extend_from_slice(&places[..found]);
        }
    }
    Ok(parts)
}

/// The shared libraries a program loads: the C library's loader lists them and starts nothing (ld.so(8)). What is no
/// program by itself may start any other.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, Why> {
    let unknown = || Why::new(Reason::Blind, format!("what {} loads or starts is not known", program.display()));
    let interpreter = interpreter(program).map_err(|_| unknown())?;
    if interpreter.is_empty() {
        return Ok(Vec::new());
    }
    if memchr::memmem::find(&interpreter, b"/ld-linux").is_none() {
        return Err(unknown());
    }
    let mut command = Command::new(program);
    let out = kache_os::ask(command.env("LD_TRACE_LOADED_OBJECTS", "1"), sources::LIMIT, sources::PATIENCE);
    let out = out.ok().filter(|out| out.status.success()).ok_or_else(unknown)?;
    let text = String::from_utf8(out.stdout).map_err(|_| unknown())?;
    // `name => /path (address)`, `/path (address)`; the kernel's own has no path.
    let lines = text.lines().filter_map(|line| line.trim().rsplit_once(" (").map(|(file, _)| file));
    let files = lines.map(|file| PathBuf::from(file.rsplit_once(" => ").map_or(file, |(_, place)| place)));
    Ok(files.filter(|file| file.is_absolute()).collect())
}

/// The loader that a program names; empty where it needs none. (64-bit ELF; elf(5).)
fn interpreter(program: &Path) -> io::Result<Vec<u8>> {
    const PT_INTERP: u64 = 3;
    let none = || io::Error::from(io::ErrorKind::InvalidData);
    let file = File::open(program)?;
    let word = |at: u64, size: usize| {
        let mut bytes = [0; 8];
        kache_os::read_at(&file, &mut bytes[..size], at)?;
        io::Result::Ok(u64::from_le_bytes(bytes))
    };
    // Magic, 64 bits, least significant byte first.
    if word(0, 6)? != u64::from_le_bytes(*b"\x7fELF\x02\x01\0\0") {
        return Err(none());
    }
    let (start, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
    for at in (0..count).map(|n| start.saturating_add(n * size)) {
        if word(at, 4)? == PT_INTERP {
            let (place, length) = (word(at + 8, 8)?, word(at + 32, 8)?);
            let mut name = vec![0; usize::try_from(length).ok().filter(|n| *n < 4096).ok_or_else(none)?];
            kache_os::read_at(&file, &mut name, place)?;
            return Ok(name);
        }
    }
    Ok(Vec::new())
}

/// The files that a preprocessed source says it goes into: `# 1 "file" 1` (cpp's manual, "Preprocessor Output").
fn entered(preprocessed: &[u8]) -> Vec<PathBuf> {
    let of_line = |line: &[u8]| {
        let rest = line.strip_prefix(b"# ")?;
        let (first, last) = (memchr::memchr(b'"', rest)?, memchr::memrchr(b'"', rest)?);
        let mut name = Vec::with_capacity(last - first);
        let mut letters = rest.get(first + 1..last)?.iter();
        while let Some(letter) = letters.next() {
            name.extend(if *letter == b'\\' { letters.next() } else { Some(letter) });
        }
        let enters = rest[last + 1..].split(|b| *b == b' ').any(|flag| flag == b"1");
        (enters && !name.starts_with(b"<")).then(|| kache_os::path(&name).to_path_buf())
    };
    preprocessed.split(|b| *b == b'\n').filter_map(of_line).collect()
}

/// Whether a preprocessed source holds what `__DATE__`, `__TIME__` or `__TIMESTAMP__` gives: their names can be put
/// together from parts that no search of the sources finds.
fn tells_time(preprocessed: &[u8]) -> bool {
    const FORMS: [&[u8]; 3] = [b"\"Aaa _0 0000\"", b"\"00:00:00\"", b"\"Aaa Aaa _0 00:00:00 0000\""];
    let fits = |(is, form): (&u8, &u8)| match form {
        b'A' | b'a' => is.is_ascii_alphabetic(),
        b'0' => is.is_ascii_digit(),
        b'_' => *is == b' ' || is.is_ascii_digit(),
        _ => is == form,
    };
    let quotes = memchr::memchr_iter(b'"', preprocessed).map(|at| &preprocessed[at..]);
    let is_time = |text: &[u8]| FORMS.iter().any(|form| text.len() >= form.len() && text.iter().zip(*form).all(fits));
    quotes.into_iter().any(is_time)
}

/// The headers a source asks `__has_include` for; refuses what makes a result depend on more than headers.
fn asked_for(text: &[u8]) -> Result<Vec<PathBuf>, Reason> {
    let holds = |word: &str| memchr::memmem::find(text, word.as_bytes()).is_some();
    let is_directive = |at: usize| [&b"#"[..], b"%:"].iter().any(|mark| text[..at].trim_ascii_end().ends_with(mark));
    let embeds = memchr::memmem::find_iter(text, "embed").any(is_directive);
    if holds(".incbin") || holds(".include") || embeds {
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
        for text in [
            "asm(\".incbin \\\"x\\\"\");",
            "asm(\".include \\\"x.s\\\"\");",
            "char c[] = {\n#embed \"x\"\n};",
            "#\t  embed <x>",
            "%: embed <x>",
        ] {
            assert_eq!(names(text), Err(Reason::Blind), "{text}");
        }
        assert_eq!(names("int embed, x_embed;"), Ok(vec![]));
    }

    #[test]
    fn times_in_preprocessed_text() {
        for text in ["x = \"Nov  2 2026\";", "\"Nov 21 2026\"", "f(\"13:05:59\")", "\"Sat Nov 21 13:01:57 2026\""] {
            assert!(tells_time(text.as_bytes()), "{text}");
        }
        for text in ["", "\"", "\"Nov 21 2026", "# 1 \"13:05\"", "\"Now 211 202\"", "\"13:05:5x\""] {
            assert!(!tells_time(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn files_of_preprocessed_text() {
        let text = "# 0 \"x.c\"\n# 1 \"a \\\"b\\\\.h\" 1 3 4\nint x; \"# 1\" 1\n# 2 \"x.c\" 2\n# 1 \"<built-in>\" 1\n# 7 \"y.y\"\n# 1";
        assert_eq!(entered(text.as_bytes()), [PathBuf::from("a \"b\\.h")]);
    }

    /// Guards: of a program, the loader it names, or that it names none; of anything else, nothing.
    #[test]
    fn programs_and_their_libraries() {
        assert!(libraries(Path::new("/bin/sh")).unwrap().iter().any(|file| file.ends_with("libc.so.6")));
        assert!(libraries(Path::new("/etc/passwd")).is_err() && libraries(Path::new("/nowhere")).is_err());
    }
}
