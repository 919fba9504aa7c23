//! gcc and clang drivers, under observation: compile, assemble, preprocess, link.
//!
//! What a run was seen to read is its input and what it wrote is its output, so no flag needs to be understood to be right.
//! Only what shapes places and messages is looked at.

use super::cc_args::{Parsed, expanded, parse};
use super::compiler::Compiler;
use super::project::roots;
use super::{cc_flags, kept_stdin, prefix_maps};
use crate::action::{Action, Kind, Outputs};
use crate::invocation::Invocation;
use crate::pattern::matches;
use crate::reason::{Reason, Why};
use kache_config::Settings;
use kache_key::{Form, Root, Roots};
use kache_os::bytes;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Beginnings of flags whose results hold text where no search finds it: compressed, packed into bits, hashed.
const HIDES: &[&str] = &[
    "-flto",
    "-emit-llvm",
    "-fembed-bitcode",
    "-gz",
    "--compress-debug-sections",
    "-Wa,--compress-debug",
    "-Wl,--compress-debug",
    "-funique-internal-linkage-names",
];

/// Flags that say where a result goes, and what dependency files name it.
const NAMES_OUTPUT: &[&[u8]] = &[b"-o", b"-MF", b"-MT", b"-MQ", b"-MJ"];

/// Variables that shape messages (gcc's manual "Environment Variables", "-fdiagnostics-color"). They count for results that
/// said something.
const SHAPES_MESSAGES: &[&str] =
    &["LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANG", "LANGUAGE", "GCC_COLORS", "GCC_URLS", "TERM_URLS", "COLUMNS"];

/// What a run that is passed through is about, as far as its arguments tell.
pub fn about(invocation: &Invocation, args: &[OsString], settings: &Settings) -> Action {
    let p = parse(&expanded(args, &invocation.cwd), false);
    let roots = roots(invocation, settings, p.file());
    let at = |file: &Path| invocation.cwd.join(file);
    Action {
        kind: Kind::Cc,
        name: p.name().unwrap_or_default(),
        unit: p.unit(&roots, &invocation.cwd).unwrap_or_default(),
        source: p.file().map(at),
        output: p.result().map(|o| at(&o)),
        cwd: invocation.cwd.clone(),
        roots,
        ..Action::default()
    }
}

/// Describes the run, or declines it. `args`: the tool first, then its arguments. `compiler` is the real one.
pub fn action(
    invocation: &Invocation,
    args: &[OsString],
    compiler: Compiler,
    settings: &Settings,
) -> Result<Action, Why> {
    let tool = Path::new(&args[0]).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let given = &args[1..];
    let all = expanded(given, &invocation.cwd);
    let p = parse(&all, tool.contains("clang-cl"));
    let name = p.name().unwrap_or_else(|| tool.clone());
    check(&p, &name, invocation, settings)?;

    let at = |file: &Path| invocation.cwd.join(file);
    let roots = roots(invocation, settings, p.file());
    // Without observation nobody sees what a response file says but who reads it here.
    let keyed = if settings.observe { given } else { &all };
    let mut fields = key_fields(invocation, &compiler, &tool, keyed, &roots, settings);
    if p.native {
        fields.push(("processor", kache_os::cpu_identity()));
    }
    if p.stdin {
        fields.push(("stdin", kept_stdin(invocation)?.as_bytes().to_vec()));
    }
    let maps = maps(&p, &roots, settings);
    fields.extend(maps.iter().map(|map| ("map", [map.flag, map.to].concat().into_bytes())));
    let (named, bound_to) = bindings(&p, &all, &roots, &maps);
    let probe = if !settings.observe || p.stops && !named.is_empty() { probe(&p) } else { Vec::new() };
    let (messages, colour) = messages(&p, invocation);
    if p.is_query() {
        // Answers are in a language, too.
        fields.push(("messages", messages.clone()));
    }
    let scratch_file = (!settings.observe && !p.wants_depfile)
        .then(|| invocation.cwd.join(invocation.temp()).join(format!("kache-{}.d", kache_os::process_id())));
    // In front of everything: there nothing can take them for a value, and the user's own maps come later and win.
    let mut run_args: Vec<OsString> = maps.iter().map(Map::argument).chain(colour).collect();
    if let Some(file) = &scratch_file {
        run_args.extend(["-MD".into(), "-MF".into(), file.clone().into_os_string()]);
    }
    run_args.extend(given.iter().cloned());
    let mut extra_env = Vec::new();
    if settings.pin_source_date_epoch && invocation.var("SOURCE_DATE_EPOCH").is_none() {
        extra_env.push(("SOURCE_DATE_EPOCH".into(), PINNED_EPOCH.into()));
        fields.push(("epoch", PINNED_EPOCH.into()));
    }
    let texts: Vec<(PathBuf, Form)> = p.dependency_files().into_iter().map(|(file, form)| (at(&file), form)).collect();
    let dep_info = scratch_file.clone().or_else(|| texts.first().map(|(file, _)| file.clone()));
    Ok(Action {
        kind: if p.is_query() { Kind::Query } else { Kind::Cc },
        unit: p.unit(&roots, &invocation.cwd).unwrap_or_else(|| name.clone()),
        name,
        argv0: compiler.argv0,
        program: compiler.program,
        args: run_args,
        extra_env,
        cwd: invocation.cwd.clone(),
        bound_to,
        named,
        roots,
        fields,
        messages,
        outputs: match p.output.as_deref().filter(|_| !settings.observe) {
            Some(object) => Outputs::Written(texts.iter().map(|(file, _)| file.clone()).chain([at(object)]).collect()),
            None => Outputs::Below(vec!["/".into()]),
        },
        source: p.sources.first().filter(|_| !p.stdin).map(|s| at(s)),
        output: p.result().map(|o| at(&o)),
        dep_info: dep_info.filter(|_| !settings.observe),
        scratch_file,
        probe,
        texts,
        settles: p.sources.iter().map(|s| at(s)).collect(),
        // gcc's LTO has make run in its scratch directory: what else lies there is nothing to it.
        search_dirs: vec![invocation.temp().into()],
        ..Action::default()
    })
}

/// Declines what a setting excludes, and what can't be declared if it must be.
fn check(p: &Parsed, name: &str, invocation: &Invocation, settings: &Settings) -> Result<(), Why> {
    let source = p.file().and_then(Path::file_name).unwrap_or_default();
    if settings.exclude.iter().any(|pattern| matches(pattern, name) || matches(pattern, bytes(source))) {
        return Err(Why::new(Reason::Excluded, name));
    }
    if settings.observe { Ok(()) } else { declarable(p, invocation, settings) }
}

/// The key fields of every driver call.
fn key_fields(
    invocation: &Invocation,
    compiler: &Compiler,
    tool: &str,
    args: &[OsString],
    roots: &Roots,
    settings: &Settings,
) -> Vec<(&'static str, Vec<u8>)> {
    let mut fields = vec![
        ("tool", roots.encode_path(bytes(&compiler.program))),
        ("called", tool.into()),
        ("directory", roots.encode_path(bytes(&invocation.cwd))),
    ];
    fields.extend(args.iter().map(|arg| ("argument", roots.encode(bytes(arg), Form::Plain))));
    if settings.observe {
        return fields;
    }
    for name in cc_flags::KEY_VARIABLES {
        let value = invocation.value(name.as_bytes()).unwrap_or_default();
        fields.push(("variable", [name.as_bytes(), b"=", &roots.encode(value, Form::Plain)].concat()));
    }
    fields.extend(invocation.directory_name(roots).map(|name| ("directory-name", bytes(name).to_vec())));
    fields
}

/// A prefix map that kache adds.
struct Map {
    flag: &'static str,
    from: Vec<u8>,
    to: &'static str,
}

impl Map {
    /// Whether `__FILE__` is mapped, too.
    fn reaches_macros(&self) -> bool {
        self.flag == "-ffile-prefix-map="
    }

    fn argument(&self) -> OsString {
        kache_os::os_string(&[self.flag.as_bytes(), &self.from, b"=", self.to.as_bytes()].concat())
    }
}

/// Only where debug information (with a base directory also `__FILE__`) names the checkout, and only for dialects that
/// know the flag. What runs into a link without compiling needs none.
fn maps(p: &Parsed, roots: &Roots, settings: &Settings) -> Vec<Map> {
    let macros = settings.base_dir.is_some();
    if !(p.debug || macros) || !p.compiles() || p.unmapped || p.shows || p.cl || p.preprocesses {
        return Vec::new();
    }
    let flag = if macros { "-ffile-prefix-map=" } else { "-fdebug-prefix-map=" };
    // clang lets the longest match win, gcc the last: the user's must win in both.
    let is_own = |from: &[u8]| p.maps.iter().any(|map| from.starts_with(map));
    let ours = prefix_maps(roots).into_iter().filter(|(from, _)| !is_own(from) && !from.contains(&b'='));
    ours.map(|(from, to)| Map { flag, from, to }).collect()
}

/// The roots whose places a source could learn, and those that the result is bound to outright.
fn bindings(p: &Parsed, all: &[OsString], roots: &Roots, maps: &[Map]) -> (Vec<Root>, Vec<Root>) {
    let hides = all.iter().any(|arg| HIDES.iter().any(|flag| bytes(arg).starts_with(flag.as_bytes())));
    let ours = maps.iter().filter(|map| map.reaches_macros()).map(|map| &map.from);
    let mapped: Vec<&[u8]> = p.macro_maps.iter().chain(ours).map(Vec::as_slice).collect();
    let (named, defined) = named_roots(all, roots, &mapped, hides);
    let mut bound_to = match (p.is_query() || p.preprocesses, hides) {
        (true, _) => Vec::new(),
        (false, true) => named.clone(),
        (false, false) => defined,
    };
    let unmapped = p.unmapped || p.shows && p.debug && p.compiles();
    if unmapped && !p.is_query() {
        bound_to.extend([Root::Workspace, Root::Build]);
    }
    // A map of a part of a root's place leaves the rest of it in the result, where no search finds it.
    let partly = |place: &[u8]| p.maps.iter().any(|old| place.starts_with(old) && place != &old[..]);
    bound_to.extend(roots.iter().filter(|(_, place)| partly(place)).map(|(root, _)| root));
    (if p.preprocesses { Vec::new() } else { named }, bound_to)
}

/// What shapes messages, and the flag by which the compiler, who will see our pipe, colours as for the terminal behind it.
fn messages(p: &Parsed, invocation: &Invocation) -> (Vec<u8>, Option<OsString>) {
    let mut messages = Vec::new();
    for variable in SHAPES_MESSAGES {
        let value = invocation.value(variable.as_bytes());
        messages.extend([variable.as_bytes(), b"=", value.unwrap_or_default(), b"\n"].concat());
    }
    let dumb = invocation.var("TERM").is_none_or(|t| t == "dumb");
    let coloured = !p.coloured && !p.cl && !dumb && kache_os::is_terminal(std::io::stderr());
    if coloured {
        messages.extend(b"coloured\n");
    }
    (messages, coloured.then(|| "-fdiagnostics-color=always".into()))
}

/// Roots whose places the arguments name, those left out that are mapped in `__FILE__`; and those that a macro's
/// definition names, where no map reaches. Where a result goes no source can ask, so that counts only `with_outputs`.
fn named_roots(all: &[OsString], roots: &Roots, mapped: &[&[u8]], with_outputs: bool) -> (Vec<Root>, Vec<Root>) {
    let (mut named, mut defined) = (Vec::new(), Vec::new());
    let mut before: &[u8] = b"";
    for arg in all.iter().map(bytes) {
        // A flag that maps a place is no use of it.
        let name = arg.split(|b| *b == b'=').next().unwrap_or_default();
        let maps = arg.starts_with(b"-f") && name.len() < arg.len() && name.ends_with(b"-prefix-map");
        let goes_there = NAMES_OUTPUT.iter().any(|flag| arg.starts_with(flag) || before == *flag);
        let skipped = maps || goes_there && !with_outputs;
        let stored = if skipped { Vec::new() } else { roots.encode(arg, Form::Plain) };
        let defines = [&b"-D"[..], b"/D"].iter().any(|flag| arg.starts_with(flag) || before == *flag);
        for (root, place) in roots.iter().filter(|(root, _)| Roots::names(&stored, *root)) {
            if defines {
                defined.push(root);
            }
            let is_mapped = mapped.iter().any(|old| old.strip_suffix(b"/").unwrap_or(old) == place);
            if defines || !is_mapped {
                named.push(root);
            }
        }
        before = arg;
    }
    (named, defined)
}

/// Without observation: one C or C++ source to one named object, by flags of the table, in an environment of which all is
/// known.
fn declarable(p: &Parsed, invocation: &Invocation, settings: &Settings) -> Result<(), Why> {
    if p.is_query() {
        return Err(Reason::Query.into());
    }
    if !p.stops {
        return Err(Reason::Link.into());
    }
    if let Some(flag) = cc_flags::refused(&p.flags, &settings.extra_allowlist_flags) {
        return Err(Why::new(Reason::UnknownFlag, flag));
    }
    if let Some((name, _)) = cc_flags::REFUSED_VARIABLES.iter().find(|(name, _)| invocation.var(name).is_some()) {
        return Err(Why::new(Reason::UnknownFlag, name));
    }
    let of_c = |file: &PathBuf| file.extension().is_some_and(|e| C_SOURCES.iter().any(|known| e == *known));
    if p.stdin || p.cl || p.sources.len() != 1 || !of_c(&p.sources[0]) || p.output.is_none() {
        return Err(Why::new(Reason::UnknownFlag, "not one source to one object"));
    }
    Ok(())
}

/// The arguments of a question for the search list and the preprocessed source, in the language that the user names, else
/// that the driver takes the source for: `g++` takes C for C++.
fn probe(p: &Parsed) -> Vec<OsString> {
    let source = p.sources.first().map(|source| source.clone().into_os_string());
    p.probe.iter().cloned().chain(["-E", "-v"].map(OsString::from)).chain(source).collect()
}

/// Whether a compiler that is asked by these arguments does nothing but tell: one that is given flags or variables which are
/// not known might write files.
pub fn only_tells(probe: &[OsString], invocation: &Invocation, settings: &Settings) -> bool {
    let mut p = parse(probe, false);
    p.flags.retain(|flag| flag != "-E" && flag != "-v");
    p.output.get_or_insert_default();
    declarable(&p, invocation, settings).is_ok()
}

/// Sources that the declared mode knows.
const C_SOURCES: &[&str] = &["c", "cc", "cpp", "cxx", "c++", "C"];

/// What `cc.source_date_epoch = "pin"` sets: 2001-09-09 01:46:40 UTC.
const PINNED_EPOCH: &str = "1000000000";
