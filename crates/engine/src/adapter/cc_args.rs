//! What a driver's arguments say, as far as places and messages depend on it: sources, outputs, whether there is debug
//! information. Response files are read for that, too.
//!
//! Knows nothing about actions; what it does not know, it leaves to the compiler.

use super::cc_flags;
use kache_key::{Form, Root, Roots};
use kache_os::bytes;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// clang-cl's flags that take their value from the next argument (`clang-cl /?`); they may start with `/` as well.
const CL_TAKES_VALUE: &[&str] =
    &["o", "I", "D", "U", "FI", "Tc", "Tp", "Xclang", "imsvc", "winsysroot", "link", "MF", "MT", "MQ", "MJ"];

/// Beginnings of flags whose results name places that no map reaches, or hide them: coverage, profiles, recorded flags.
const UNMAPPED: &[&str] = &[
    "--coverage",
    "-coverage",
    "-ftest-coverage",
    "-fprofile",
    "-fcoverage-mapping",
    "-fcs-profile-generate",
    "-fauto-profile",
    "-frecord-gcc-switches",
    "-frecord-command-line",
    "-grecord-command-line",
    "-fdump-",
    "-fstack-usage",
    "-fcallgraph-info",
    "-save-temps",
    "--save-temps",
];

/// A response file longer than this is not read for its flags, nor are more than so many arguments looked at.
const RESPONSE_LIMIT: u64 = 16 << 20;
const ARGUMENT_LIMIT: usize = 1 << 20;

/// gcc gives up at the same number: a file may name itself.
const RESPONSE_FILES: usize = 2000;

/// What the arguments say, response files included.
#[derive(Debug, Default)]
pub struct Parsed {
    pub sources: Vec<PathBuf>,
    pub output: Option<PathBuf>,
    pub depfiles: Vec<(PathBuf, Form)>,
    pub wants_depfile: bool,
    /// Compiles, but does not link.
    pub stops: bool,
    pub preprocesses: bool,
    /// Writes a dependency file instead of a result.
    pub lists: bool,
    pub debug: bool,
    pub lto: bool,
    pub unmapped: bool,
    /// Shows what runs: as without kache, so without its maps.
    pub shows: bool,
    pub native: bool,
    pub coloured: bool,
    pub stdin: bool,
    pub cl: bool,
    /// The user's own prefix maps: their old prefixes.
    pub maps: Vec<Vec<u8>>,
    /// Those of them that reach `__FILE__`.
    pub macro_maps: Vec<Vec<u8>>,
    /// Flags without their values, and all that a question about the same compile needs.
    pub flags: Vec<String>,
    pub probe: Vec<OsString>,
}

impl Parsed {
    /// Whether anything is compiled: what runs into a link may be objects only.
    pub fn compiles(&self) -> bool {
        const OBJECTS: &[&str] = &["o", "a", "so", "lo", "obj", "lib"];
        let is_object = |file: &Path| file.extension().is_some_and(|e| OBJECTS.iter().any(|o| e == *o));
        self.stops || self.lto || self.sources.iter().any(|s| !is_object(s))
    }

    /// Whether the compiler is only asked about itself.
    pub fn is_query(&self) -> bool {
        self.sources.is_empty()
    }

    /// The first source that is a file.
    pub fn file(&self) -> Option<&Path> {
        self.sources.iter().map(PathBuf::as_path).find(|s| *s != Path::new("-"))
    }

    pub fn name(&self) -> Option<String> {
        let about = self.result().or_else(|| self.sources.first().cloned());
        Some(about?.file_name()?.to_string_lossy().into_owned())
    }

    /// Where the result goes, as far as people ask for it: what the drivers choose when nobody says is in their manuals.
    pub fn result(&self) -> Option<PathBuf> {
        let has = |flag: &str| self.flags.iter().any(|f| f == flag);
        let beside = |ending: &str| Some(Path::new(self.file()?.file_name()?).with_extension(ending));
        match &self.output {
            Some(output) => Some(output.clone()).filter(|o| o != Path::new("-")),
            None if self.cl || self.preprocesses => None,
            None if has("-c") => beside("o"),
            None if has("-S") => beside("s"),
            None if self.stops => None,
            None => self.file().map(|_| PathBuf::from("a.out")),
        }
    }

    /// Dependency files: those named, or the one beside the output.
    pub fn dependency_files(&self) -> Vec<(PathBuf, Form)> {
        let mut files = self.depfiles.clone();
        if self.wants_depfile {
            let beside = self.output.as_ref().map(|o| o.with_extension("d"));
            let source = self.sources.first().and_then(|s| s.file_name()).map(|n| Path::new(n).with_extension("d"));
            files.extend(beside.or(source).map(|f| (f, Form::Make)));
        }
        if self.lists {
            files.extend(self.output.clone().map(|f| (f, Form::Make)));
        }
        files
    }

    /// The result's path within its project (without one, the source's): what tells one compile from others of its name.
    pub fn unit(&self, roots: &Roots, cwd: &Path) -> Option<String> {
        let place = kache_os::lexical(&cwd.join(self.result().or_else(|| self.file().map(Path::to_path_buf))?));
        let text = Roots::readable(&roots.encode_path(bytes(&place)));
        let within = [Root::Build, Root::Workspace].iter().find_map(|r| text.strip_prefix(r.name())?.strip_prefix('/'));
        Some(within.unwrap_or(&text).to_string())
    }
}

pub fn parse(arguments: &[OsString], cl: bool) -> Parsed {
    let mut p = Parsed { cl, ..Parsed::default() };
    let mut at = 0;
    let mut only_files = false;
    while at < arguments.len() {
        let arg = bytes(&arguments[at]);
        let next = arguments.get(at + 1).map(|a| kache_os::path(bytes(a)).to_path_buf());
        at += 1;
        let is_flag = arg.starts_with(b"-") && arg != b"-" || p.cl && arg.starts_with(b"/") && !is_file(arg);
        if only_files || !is_flag {
            p.stdin |= arg == b"-";
            p.sources.push(kache_os::path(arg).to_path_buf());
            continue;
        }
        let text = String::from_utf8_lossy(arg);
        let plain = if p.cl { text.trim_start_matches(['-', '/']) } else { &text };
        let first = at - 1;
        let takes_value = if p.cl { CL_TAKES_VALUE.contains(&plain) } else { cc_flags::takes_value(plain) };
        at += usize::from(takes_value);
        p.flags.push(text.to_string());
        if !(plain == "-c" || ["-o", "-M"].iter().any(|output| plain.starts_with(output))) {
            p.probe.extend(arguments[first..at.min(arguments.len())].iter().cloned());
        }
        let file = |flag: &str| text.strip_prefix(flag).filter(|rest| !rest.is_empty()).map(PathBuf::from);
        match plain {
            "--" => only_files = true,
            "--driver-mode=cl" => p.cl = true,
            "-c" | "-S" | "c" | "-fsyntax-only" => p.stops = true,
            "-E" | "E" | "EP" => (p.stops, p.preprocesses) = (true, true),
            "-M" | "-MM" => (p.stops, p.preprocesses, p.lists) = (true, true, true),
            "-MD" | "-MMD" => p.wants_depfile = true,
            "-MF" | "-dependency-file" => p.depfiles.extend(next.map(|f| (f, Form::Make))),
            "-MJ" => p.depfiles.extend(next.map(|f| (f, Form::Json))),
            "-o" | "o" => p.output = next,
            "Tc" | "Tp" if p.cl => p.sources.extend(next),
            _ if p.cl && ["Tc", "Tp"].iter().any(|flag| plain.starts_with(flag)) => p.sources.push(plain[2..].into()),
            "-g0" => p.debug = false,
            "-ggdb0" => p.debug = false,
            _ if text.starts_with("-Wp,-M") => {
                let file = text.split(',').nth(2).map(PathBuf::from);
                p.depfiles.extend(file.map(|f| (f, Form::Make)));
            }
            _ if text.starts_with("-MF") => p.depfiles.extend(file("-MF").map(|f| (f, Form::Make))),
            _ if text.starts_with("-MJ") => p.depfiles.extend(file("-MJ").map(|f| (f, Form::Json))),
            _ if !p.cl && text.starts_with("-o") && !text.starts_with("-object") => p.output = file("-o"),
            _ if text.starts_with("-fdiagnostics-color") || text.ends_with("color-diagnostics") => p.coloured = true,
            _ if text.contains("-prefix-map=") => {
                let old = text.split('=').nth(1).unwrap_or_default();
                p.maps.push(old.as_bytes().to_vec());
                if ["-ffile-", "-fmacro-"].iter().any(|kind| text.starts_with(kind)) {
                    p.macro_maps.push(old.as_bytes().to_vec());
                }
            }
            "-###" | "-v" | "--verbose" => p.shows = true,
            _ if text.starts_with("-flto") => p.lto = true,
            _ if UNMAPPED.iter().any(|flag| text.starts_with(flag)) => p.unmapped = true,
            _ if text.ends_with("=native") => p.native = true,
            _ if text.starts_with("-g") && !text.starts_with("-gno-") && !text.starts_with("-gcc") => p.debug = true,
            _ => {}
        }
    }
    p
}

/// In cl style a path may look like a flag. clang-cl takes for a source what its table does not hold; its tables differ
/// from version to version, what is there does not. (A flag and its value are no file: `/Fo/w/x.obj`.)
fn is_file(arg: &[u8]) -> bool {
    kache_os::stat(kache_os::path(arg)).is_ok_and(|m| m.kind != kache_os::FileKind::Dir)
}

/// The arguments with `@file` replaced by what stands in it (gcc's manual: white space separates, quotes and `\` protect).
pub fn expanded(arguments: &[OsString], cwd: &Path) -> Vec<OsString> {
    let mut all = Vec::with_capacity(arguments.len());
    let mut rest: Vec<OsString> = arguments.iter().rev().cloned().collect();
    let mut read = 0;
    while let Some(arg) = rest.pop() {
        let may_read = read < RESPONSE_FILES && all.len() + rest.len() < ARGUMENT_LIMIT;
        let file = bytes(&arg).strip_prefix(b"@").filter(|_| may_read).map(|f| cwd.join(kache_os::path(f)));
        // Reading a pipe would leave nothing for the compiler.
        let file = file.filter(|f| kache_os::stat(f).is_ok_and(|m| m.is_file()));
        match file.and_then(|f| kache_os::read_bounded(&f, RESPONSE_LIMIT).ok()) {
            Some(text) => {
                read += 1;
                rest.extend(words(&text).into_iter().rev());
            }
            None => all.push(arg),
        }
    }
    all
}

fn words(text: &[u8]) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = text.iter();
    while let Some(&b) = rest.next() {
        match (quote, b) {
            (_, b'\\') => word.get_or_insert_default().extend(rest.next()),
            (Some(q), _) if b == q => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(b),
            (None, b'"' | b'\'') => {
                quote = Some(b);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(b),
        }
    }
    words.extend(word);
    words.iter().map(|w| kache_os::os_string(w)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_outputs_and_depfiles() {
        let parsed = |line: &str| parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>(), false);
        let p = parsed("-c -I inc -o out/x.o -MMD x.c");
        assert_eq!((p.sources, p.output), (vec![PathBuf::from("x.c")], Some(PathBuf::from("out/x.o"))));
        let p = parsed("-c -MD -MF deps/x.dep -MT x.o x.c -g");
        assert!(p.dependency_files().contains(&("deps/x.dep".into(), Form::Make)) && p.debug && !p.unmapped);
        assert!(!parsed("-g x.o liby.a -o x").compiles() && parsed("-c -g --coverage x.c").unmapped);
    }

    /// Guards: files in files are read in their place, and one that names itself, twice, comes to an end.
    #[test]
    fn response_files_in_response_files() {
        let dir = std::env::temp_dir().join(format!("kache-response-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("a"), "-c @b x.c").unwrap();
        std::fs::write(dir.join("b"), "-g -O2").unwrap();
        std::fs::write(dir.join("endless"), "-c @endless @endless").unwrap();
        let of = |line: &str| expanded(&line.split(' ').map(OsString::from).collect::<Vec<_>>(), &dir);
        assert_eq!(of("-v @a @none"), ["-v", "-c", "-g", "-O2", "x.c", "@none"].map(OsString::from));
        assert_eq!(of("@endless").iter().filter(|arg| *arg == "-c").count(), RESPONSE_FILES);
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Guards: words of a response file as gcc splits them.
    #[test]
    fn response_files() {
        let words = words(b"-DA=\"a b\" 'c d'\\ e\n-o x");
        assert_eq!(words, ["-DA=a b", "c d e", "-o", "x"].map(OsString::from));
    }
}
