//! What the text of sources and dependency files says: files and variables read, how `OUT_DIR` is used, who asks for its path.

use crate::action::{Action, Kind};
use crate::world::World;
use kache_config::Settings;
use kache_key::{Input, State};
use kache_os::{bytes, path};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

/// rustc's dep-info: sources and tracked variables.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DepInfo {
    pub files: Vec<PathBuf>,
    pub variables: Vec<Vec<u8>>,
}

/// Longer texts are not read: dependency files, sources, and what the preprocessor makes of these.
pub const LIMIT: u64 = 64 << 20;

/// A compiler that is asked is not waited for any longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Words by which C sources get their own path, to print it or to measure, widen or hash it.
const OWN_PATH: [&[u8]; 4] = [b"__FILE__", b"__BASE_FILE__", b"__builtin_FILE", b"source_location"];

/// Where no such source is: programs and libraries, and headers that only hand the path on as it is.
const HARMLESS: &[&str] =
    &["/usr/bin/", "/usr/lib", "/usr/libexec/", "/usr/include/c++/", "/usr/include/assert.h", "/lib", "/bin/", "/etc/"];

/// Whether a source among the inputs asks for its path, or can't be read.
pub fn ask_for_their_path(world: &World, inputs: &[Input]) -> bool {
    inputs.iter().any(|input| {
        let Input::Path(stored) = input else { return false };
        let is_file = matches!(world.state(input), State::File { .. } | State::Failed(_));
        let Some(file) = is_file.then(|| world.place(stored)).flatten() else { return false };
        if HARMLESS.iter().any(|start| bytes(&file).starts_with(start.as_bytes())) {
            return false;
        }
        let Ok(text) = kache_os::read_bounded(&file, LIMIT) else { return true };
        let binary = [&b"\x7fELF"[..], b"!<arch>", b"!<thin>"].iter().any(|magic| text.starts_with(magic));
        !binary && OWN_PATH.iter().any(|word| memchr::memmem::find(&text, word).is_some())
    })
}

/// What the action's compiler says to a question.
pub fn ask(action: &Action, args: impl IntoIterator<Item = OsString>) -> io::Result<Output> {
    let mut command = Command::new(&action.program);
    kache_os::ask(command.args(args).current_dir(&action.cwd).env("LC_ALL", "C"), LIMIT, PATIENCE)
        .and_then(|out| if out.status.success() { Ok(out) } else { Err(io::Error::other(out.status.to_string())) })
}

/// Whether a C or C++ source tells its path to more than messages of the preprocessor: what asks for it is replaced by a
/// word, which stands in the preprocessed source then. Also if the preprocessor can't be asked.
pub fn tell_their_path(action: &Action) -> bool {
    const WORD: &str = "kache_own_path";
    let replaced = ["__FILE__", "__BASE_FILE__"].map(|name| format!("-D{name}={WORD}").into());
    let args = ["-w", "-P"].map(OsString::from).into_iter().chain(replaced).chain(action.probe.iter().cloned());
    let told = ask(action, args).ok();
    let words = || OWN_PATH.iter().copied().chain([WORD.as_bytes()]);
    told.is_none_or(|out| words().any(|word| memchr::memmem::find(&out.stdout, word).is_some()))
}

/// Reads a dep-info file (`rule: file file…` with `\ ` for a space, `# env-dep:NAME[=VALUE]`).
pub fn dep_info(action: &Action) -> Option<DepInfo> {
    let text = kache_os::read_bounded(action.dep_info.as_deref()?, LIMIT).ok()?;
    Some(parse_dep_info(&text, &action.cwd))
}

fn parse_dep_info(text: &[u8], cwd: &std::path::Path) -> DepInfo {
    let mut info = DepInfo::default();
    // make's long lines, as C compilers write them.
    let mut whole = text.to_vec();
    for at in memchr::memmem::find_iter(text, b"\\\n") {
        whole[at..at + 2].fill(b' ');
    }
    for line in whole.split(|b| *b == b'\n') {
        if let Some(variable) = line.strip_prefix(b"# env-dep:") {
            let name = variable.split(|b| *b == b'=').next().unwrap_or_default();
            info.variables.push(name.to_vec());
        } else if !line.starts_with(b"#")
            && let Some(at) = memchr::memmem::find(line, b": ")
        {
            for file in split_escaped(&line[at + 2..]) {
                let file = cwd.join(path(&file));
                if !info.files.contains(&file) {
                    info.files.push(file);
                }
            }
        }
    }
    info
}

/// Words separated by spaces; `\ ` is a space in a word.
fn split_escaped(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new()];
    let mut rest = text.iter().peekable();
    while let Some(&b) = rest.next() {
        match b {
            b'\\' if rest.peek() == Some(&&b' ') => {
                rest.next();
                words.last_mut().expect("never empty").push(b' ');
            }
            b' ' => words.push(Vec::new()),
            _ => words.last_mut().expect("never empty").push(b),
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// What the sources and settings say of variables.
#[derive(Debug, Default)]
pub struct Variables {
    /// Those rustc tracks (`env!`, `option_env!`): inputs, whatever else is known of them.
    pub tracked: Vec<Vec<u8>>,
    /// Those that rustc itself uses only to find files, whose content is an input by itself (`include!(concat!(env!("OUT_DIR"),
    /// …))` and its siblings).
    included: Vec<Vec<u8>>,
    /// Those that the settings declare to be only places.
    path_only: Vec<String>,
}

impl Variables {
    pub fn of(action: &Action, settings: &Settings, world: &World) -> Variables {
        let path_only = settings.path_only_env_vars.clone();
        let info = match dep_info(action) {
            Some(info) if matches!(action.kind, Kind::Rustc | Kind::Clippy) => info,
            _ => return Variables { path_only, ..Variables::default() },
        };
        let placed = |v: &&Vec<u8>| world.is_placed(world.invocation.value(v).unwrap_or_default());
        let mut included: Vec<Vec<u8>> =
            info.variables.iter().filter(placed).filter(|v| only_includes(&info, v)).cloned().collect();
        // clippy-driver looks for clippy.toml from there upward; what it finds, and what not, is observed.
        if action.kind == Kind::Clippy && !info.variables.iter().any(|v| v == b"CARGO_MANIFEST_DIR") {
            included.push(b"CARGO_MANIFEST_DIR".to_vec());
        }
        Variables { tracked: info.variables, included, path_only }
    }

    /// The input that a variable is. `by_user`: the user's own code (a procedural macro) asked for it.
    pub fn input(&self, action: &Action, world: &World, name: Vec<u8>, by_user: bool) -> Input {
        let value = world.invocation.value(&name).unwrap_or_default();
        // Below the build directory: what a script writes of it is stored with placeholders.
        let of_build = || action.kind == Kind::BuildScript && world.portable_value(value) != value;
        let path_only = || self.path_only.iter().any(|p| p.as_bytes() == name);
        if path_only() || !by_user && self.included.contains(&name) || of_build() {
            Input::EnvPortable(name)
        } else if world.is_placed(value) {
            Input::EnvPlace(name)
        } else {
            Input::Env(name)
        }
    }
}

/// Whether all that the sources do with a variable is to include the file it names.
fn only_includes(info: &DepInfo, variable: &[u8]) -> bool {
    let quoted = [b"\"", variable, b"\""].concat();
    let mut uses = 0;
    for file in &info.files {
        let Ok(text) = kache_os::read_bounded(file, LIMIT) else { return false };
        for at in memchr::memmem::find_iter(&text, &quoted) {
            let line_start = memchr::memrchr(b'\n', &text[..at]).map_or(0, |n| n + 1);
            if text[line_start..at].trim_ascii_start().starts_with(b"//") {
                continue;
            }
            if !is_include(&text[..at]) {
                return false;
            }
            uses += 1;
        }
    }
    uses > 0
}

/// Whether the text ends in `include!(env!(` or `include!(concat!(env!(`, or a sibling of them.
fn is_include(before: &[u8]) -> bool {
    let strip = |text: &[u8], tokens: &[&[u8]]| {
        tokens.iter().try_fold(text.len(), |end, token| {
            let shorter = text[..end].trim_ascii_end().strip_suffix(*token)?;
            Some(shorter.len())
        })
    };
    let direct: [&[u8]; 3] = [b"(", b"env!", b"("];
    let joined: [&[u8]; 5] = [b"(", b"env!", b"(", b"concat!", b"("];
    [&joined[..], &direct].iter().filter_map(|tokens| strip(before, tokens)).any(|end| {
        let rest = before[..end].trim_ascii_end();
        let name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let names: [&[u8]; 3] = [b"include!", b"include_str!", b"include_bytes!"];
        names.iter().filter_map(|m| rest.strip_suffix(*m)).any(|before| !before.last().is_some_and(name))
    })
}

/// The files that would make rustc see another module, or an error, beside one that it read: `x.rs` and `x/mod.rs`.
pub fn module_siblings(file: &std::path::Path) -> Option<PathBuf> {
    if file.extension()? != "rs" {
        return None;
    }
    match bytes(file.file_name()?) {
        b"mod.rs" => Some(file.parent()?.with_extension("rs")),
        _ => Some(file.with_extension("").join("mod.rs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dep_info() {
        let text = b"/t/x.d: src/lib.rs src/a\\ b.rs\n\nsrc/lib.rs:\n\n# env-dep:FOO=bar\n# env-dep:UNSET\n";
        let info = parse_dep_info(text, std::path::Path::new("/w"));
        assert_eq!(info.files, [PathBuf::from("/w/src/lib.rs"), "/w/src/a b.rs".into()]);
        assert_eq!(info.variables, [b"FOO".to_vec(), b"UNSET".to_vec()]);
    }

    /// Guards: only uses that include a file are exempt from binding.
    #[test]
    fn recognizes_includes() {
        assert!(is_include(b"include!(concat!(env!("));
        assert!(is_include(b"x = include_bytes! ( concat! (\n env! ("));
        assert!(is_include(b"include_str!(env!("));
        assert!(!is_include(b"let d = env!("));
        assert!(!is_include(b"concat!(env!("));
        assert!(!is_include(b"f(env!("));
        assert!(!is_include(b"my_include!(env!("));
    }
}
