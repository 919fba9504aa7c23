//! gcc and clang drivers, under observation: compile, assemble, preprocess, link.
//!
//! What a run was seen to read is its input and what it wrote is its output, so no flag needs to be understood to be right.
//! Only what shapes places and messages is read here: sources and outputs, whether there is debug information, and what
//! is asked of the processor. Response files are read for that too; the compiler reads them again, observed.

use super::cc_flags;
use super::{add_build, build_root, cargo_home, machine_roots, matches, prefix_maps};
use crate::action::{Action, Kind, Outputs};
use crate::invocation::Invocation;
use crate::reason::{Reason, Why};
use kache_config::Settings;
use kache_key::{Digest, Form, Root, Roots};
use kache_os::bytes;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Names of drivers; a target's prefix (`x86_64-linux-gnu-gcc`) and a version (`gcc-12`) may stand around them.
const DRIVERS: &[&str] = &["cc", "c++", "gcc", "g++", "clang", "clang++", "clang-cl"];

/// Flags that take their value from the next argument (gcc's and clang's manuals).
const TAKES_VALUE: &[&str] = &[
    "-o",
    "-x",
    "-I",
    "-D",
    "-U",
    "-L",
    "-l",
    "-T",
    "-u",
    "-z",
    "-A",
    "-B",
    "-e",
    "-F",
    "-MF",
    "-MT",
    "-MQ",
    "-MJ",
    "-include",
    "-imacros",
    "-isystem",
    "-iquote",
    "-idirafter",
    "-iprefix",
    "-iwithprefix",
    "-iwithprefixbefore",
    "-isysroot",
    "-imultilib",
    "-include-pch",
    "-Xlinker",
    "-Xassembler",
    "-Xpreprocessor",
    "-Xclang",
    "-mllvm",
    "-target",
    "-arch",
    "-framework",
    "-aux-info",
    "-dumpbase",
    "-dumpbase-ext",
    "-dumpdir",
    "-wrapper",
    "--param",
    "-param",
    "--sysroot",
    "-specs",
    "-gcc-toolchain",
    "--serialize-diagnostics",
    "-dependency-file",
    "-fplugin-arg",
    "-soname",
    "-rpath",
];

/// clang-cl's flags of that kind (`clang-cl /?`), which may start with `/` as well.
const CL_TAKES_VALUE: &[&str] =
    &["o", "I", "D", "U", "FI", "Xclang", "imsvc", "winsysroot", "link", "MF", "MT", "MQ", "MJ"];

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

/// Files by which the top of a project is known when no version control tells.
const MARKERS: &[&str] = &[
    "CMakeLists.txt",
    "configure",
    "configure.ac",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "meson.build",
    "Cargo.toml",
];
const BUILD_MARKERS: &[&str] = &["CMakeCache.txt", "build.ninja", "config.status", "Makefile"];
const REPOSITORIES: &[&str] = &[".git", ".hg", ".svn", ".jj", kache_config::PROJECT_FILE];

/// Where sources lie that belong to no project (`-x c /dev/null`).
const NO_PROJECTS: &[&str] = &["/usr", "/dev", "/proc", "/etc"];

/// A response file longer than this is not read for its flags, nor are more than so many arguments looked at.
const RESPONSE_LIMIT: u64 = 16 << 20;
const ARGUMENT_LIMIT: usize = 1 << 20;

/// Whether the program is named like a driver.
pub fn is_tool(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    let name = match name.rsplit_once('-') {
        Some((stem, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => stem,
        _ => &name,
    };
    DRIVERS
        .iter()
        .any(|driver| name.strip_suffix(driver).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('-')))
}

/// The compiler that is meant.
pub struct Compiler {
    pub program: PathBuf,
    pub argv0: OsString,
    /// The name and the `PATH` it was searched by, without the directories where that name is kache; none where a path
    /// names it.
    pub search: Option<(OsString, Vec<u8>)>,
}

/// The one a setting names, or the first of that name on `PATH` that is not kache itself (a shim is a link to kache).
pub fn real_compiler(invocation: &Invocation, program: &OsStr, settings: &Settings) -> Option<Compiler> {
    let me = kache_os::stat(Path::new("/proc/self/exe")).ok();
    let found = |file: &Path| kache_os::stat(file).ok().filter(|m| m.is_file() && m.mode & 0o111 != 0);
    let is_kache = |meta: &kache_os::Meta| me.is_some_and(|me| me.same_file(meta));
    // A shim by its path, as build systems write it down, means what its name means.
    let shim = Path::new(program).components().count() > 1
        && found(&invocation.cwd.join(program)).as_ref().is_some_and(is_kache);
    let name = Path::new(program).file_name().filter(|_| shim).unwrap_or(program);
    let named = match name.to_str() {
        Some("cc") => settings.cc.as_ref(),
        Some("c++") => settings.cxx.as_ref(),
        _ => None,
    };
    let wanted = named.map_or(name, |path| path.as_os_str());
    if Path::new(wanted).components().count() > 1 {
        let file = invocation.cwd.join(wanted);
        let other = found(&file).is_some_and(|meta| !is_kache(&meta));
        return other.then(|| Compiler { program: file, argv0: name.into(), search: None });
    }
    let mut path = Vec::new();
    let mut shadowed = shim;
    let mut first = None;
    for dir in invocation.value(b"PATH").unwrap_or_default().split(|b| *b == b':') {
        let file = invocation.cwd.join(kache_os::path(dir)).join(wanted);
        let there = if first.is_none() { found(&file) } else { None };
        if there.as_ref().is_some_and(is_kache) {
            shadowed = true;
            continue;
        }
        if !path.is_empty() {
            path.push(b':');
        }
        path.extend(dir);
        first = first.or(there.map(|_| file));
    }
    let file = first?;
    // gcc looks for its parts beside what it finds on PATH by its `argv[0]`: that must not be the shim.
    let argv0 = if shadowed { file.clone().into_os_string() } else { program.to_os_string() };
    Some(Compiler { program: file, argv0, search: Some((wanted.to_os_string(), path)) })
}

/// The maps an observed build script's compilers get (`KACHE_MAP`), where the observer has not given them already.
pub fn inherited_maps(invocation: &Invocation, args: &[OsString]) -> Vec<OsString> {
    let maps = invocation.value(kache_observe::ENV_MAP.as_bytes()).unwrap_or_default();
    let flag = |map: &[u8]| kache_os::os_string(&[b"-fdebug-prefix-map=", map].concat());
    let flags: Vec<OsString> = maps.split(|b| *b == b':').filter(|m| !m.is_empty()).map(flag).collect();
    if flags.first().is_some_and(|first| args.first() == Some(first)) { Vec::new() } else { flags }
}

/// What the arguments say, response files included.
#[derive(Debug, Default)]
struct Parsed {
    sources: Vec<PathBuf>,
    output: Option<PathBuf>,
    depfiles: Vec<(PathBuf, Form)>,
    wants_depfile: bool,
    /// Compiles, but does not link.
    stops: bool,
    preprocesses: bool,
    /// Writes a dependency file instead of a result.
    lists: bool,
    debug: bool,
    lto: bool,
    unmapped: bool,
    native: bool,
    coloured: bool,
    stdin: bool,
    cl: bool,
    /// The user's own prefix maps: their old prefixes.
    maps: Vec<Vec<u8>>,
    /// Those of them that reach `__FILE__`.
    macro_maps: Vec<Vec<u8>>,
    /// Flags without their values, and all that a question about the same compile needs.
    flags: Vec<String>,
    probe: Vec<OsString>,
}

impl Parsed {
    /// The first source that is a file.
    fn file(&self) -> Option<&Path> {
        self.sources.iter().map(PathBuf::as_path).find(|s| *s != Path::new("-"))
    }

    fn name(&self) -> Option<String> {
        let about = self.result().or_else(|| self.sources.first().cloned());
        Some(about?.file_name()?.to_string_lossy().into_owned())
    }

    /// Where the result goes, as far as people ask for it: what the drivers choose when nobody says is in their manuals.
    fn result(&self) -> Option<PathBuf> {
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

    /// The result's path within its project (without one, the source's): what tells one compile from others of its name.
    fn unit(&self, roots: &Roots, cwd: &Path) -> Option<String> {
        let place = kache_os::lexical(&cwd.join(self.result().or_else(|| self.file().map(Path::to_path_buf))?));
        let text = Roots::readable(&roots.encode_path(bytes(&place)));
        let within = [Root::Build, Root::Workspace].iter().find_map(|r| text.strip_prefix(r.name())?.strip_prefix('/'));
        Some(within.unwrap_or(&text).to_string())
    }
}

/// What a run that is passed through is about, as far as its arguments tell.
pub fn about(invocation: &Invocation, args: &[OsString], settings: &Settings) -> Action {
    let p = parse(&expanded(args, &invocation.cwd, 0), false);
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

fn parse(arguments: &[OsString], cl: bool) -> Parsed {
    let mut p = Parsed { cl, ..Parsed::default() };
    let mut at = 0;
    let mut only_files = false;
    while at < arguments.len() {
        let arg = bytes(&arguments[at]);
        let next = arguments.get(at + 1).map(|a| kache_os::path(bytes(a)).to_path_buf());
        at += 1;
        let is_flag = arg.starts_with(b"-") && arg != b"-" || p.cl && arg.starts_with(b"/") && arg.len() < 64;
        if only_files || !is_flag {
            p.stdin |= arg == b"-";
            p.sources.push(kache_os::path(arg).to_path_buf());
            continue;
        }
        let text = String::from_utf8_lossy(arg);
        let plain = if p.cl { text.trim_start_matches(['-', '/']) } else { &text };
        let table = if p.cl { CL_TAKES_VALUE } else { TAKES_VALUE };
        let first = at - 1;
        if table.contains(&plain) {
            at += 1;
        }
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
            "-###" | "-v" | "--verbose" => p.unmapped = true,
            _ if text.starts_with("-flto") => p.lto = true,
            _ if UNMAPPED.iter().any(|flag| text.starts_with(flag)) => p.unmapped = true,
            _ if text.ends_with("=native") => p.native = true,
            _ if text.starts_with("-g") && !text.starts_with("-gno-") && !text.starts_with("-gcc") => p.debug = true,
            _ => {}
        }
    }
    p
}

/// The arguments with `@file` replaced by what stands in it (gcc's manual: white space separates, quotes and `\` protect).
fn expanded(arguments: &[OsString], cwd: &Path, depth: usize) -> Vec<OsString> {
    let mut all = Vec::with_capacity(arguments.len());
    for arg in arguments {
        let file = bytes(arg).strip_prefix(b"@").filter(|_| depth < 16 && all.len() < ARGUMENT_LIMIT);
        // Reading a pipe would leave nothing for the compiler.
        let file = file.map(|f| cwd.join(kache_os::path(f))).filter(|f| kache_os::stat(f).is_ok_and(|m| m.is_file()));
        match file.and_then(|f| kache_os::read_bounded(&f, RESPONSE_LIMIT).ok()) {
            Some(text) => all.extend(expanded(&words(&text), cwd, depth + 1)),
            None => all.push(arg.clone()),
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

/// The top of the project that `dir` lies in: the nearest directory with a repository, else the topmost of those in a row
/// that bear a build system's files; else the directory itself.
fn project(dir: &Path, markers: &[&str], outer: &[&Path]) -> PathBuf {
    let has = |d: &Path, names: &[&str]| names.iter().any(|n| kache_os::lstat(&d.join(n)).is_ok());
    let inside = || dir.ancestors().take_while(|d| d.components().count() > 1 && !outer.contains(d)).take(16);
    if let Some(top) = inside().find(|d| has(d, REPOSITORIES)) {
        return top.to_path_buf();
    }
    let marked = inside().skip_while(|d| !has(d, markers)).take_while(|d| has(d, markers));
    marked.last().unwrap_or(dir).to_path_buf()
}

/// The roots of what works on this source (or in the working directory).
pub fn roots(invocation: &Invocation, settings: &Settings, source: Option<&Path>) -> Roots {
    let mut roots = Roots::default();
    let home = invocation.path_var("HOME").unwrap_or(Path::new("/"));
    let temp = invocation.path_var("TMPDIR").unwrap_or(Path::new("/tmp"));
    let outer = [home, temp, Path::new("/usr"), Path::new("/tmp")];
    let source = source.map(|s| invocation.cwd.join(s));
    let dir = source.as_deref().and_then(Path::parent).filter(|d| !NO_PROJECTS.iter().any(|dir| d.starts_with(dir)));
    // A source below the working directory, or beside it (`../src/x.c`), belongs to the project that the directory is in.
    let cwd = project(&invocation.cwd, MARKERS, &outer);
    let real = |d: &Path| kache_os::canonical_dir(d).unwrap_or_else(|_| d.to_path_buf());
    let workspace = match dir.map(real) {
        Some(dir) if !dir.starts_with(&cwd) => project(&dir, MARKERS, &outer),
        _ => cwd,
    };
    if let Some(build) = invocation.path_var("OUT_DIR").and_then(build_root) {
        // A build script's compile: cargo's target directory is where it writes.
        add_build(&mut roots, &build);
    } else if !invocation.cwd.starts_with(&workspace) {
        roots.add(Root::Build, bytes(&project(&invocation.cwd, BUILD_MARKERS, &outer)));
    }
    machine_roots(&mut roots, invocation, settings);
    let mut all = Roots::default();
    // Sources of a registry lie in one place, whatever the checkout.
    let fetched = cargo_home(invocation).is_some_and(|home| workspace.starts_with(home));
    if !fetched && !outer.contains(&workspace.as_path()) {
        all.add(Root::Workspace, bytes(&workspace));
    }
    for (root, place) in roots.iter() {
        all.add(root, place);
    }
    all
}

/// Describes the run, or declines it. `args`: the tool first, then its arguments. `compiler` is the real one.
pub fn action(
    invocation: &Invocation,
    args: &[OsString],
    compiler: Compiler,
    settings: &Settings,
) -> Result<Action, Why> {
    let Compiler { program, argv0, .. } = compiler;
    let tool = Path::new(&args[0]).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let given = &args[1..];
    let all = expanded(given, &invocation.cwd, 0);
    let p = parse(&all, tool.contains("clang-cl"));
    let name = p.name().unwrap_or_else(|| tool.clone());
    let source = p.file().and_then(Path::file_name).map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    if settings.exclude.iter().any(|pattern| matches(pattern, &name) || matches(pattern, &source)) {
        return Err(Why::new(Reason::Excluded, name));
    }
    if !settings.observe {
        declarable(&p, invocation, settings)?;
    }
    let roots = roots(invocation, settings, p.file());
    let mut fields = vec![
        ("tool", roots.encode_path(bytes(&program))),
        ("called", tool.clone().into_bytes()),
        ("directory", roots.encode_path(bytes(&invocation.cwd))),
    ];
    // Without observation nobody sees what a response file says but who reads it here.
    let keyed = if settings.observe { given } else { &all };
    fields.extend(keyed.iter().map(|arg| ("argument", roots.encode(bytes(arg), Form::Plain))));
    for name in cc_flags::KEY_VARIABLES.iter().filter(|_| !settings.observe) {
        let value = invocation.value(name.as_bytes()).unwrap_or_default();
        fields.push(("variable", [name.as_bytes(), b"=", &roots.encode(value, Form::Plain)].concat()));
    }
    if p.native {
        fields.push(("processor", kache_os::cpu_identity()));
    }
    if p.stdin {
        fields.push(("stdin", stdin()?.as_bytes().to_vec()));
    }
    // The compilers take the working directory's name from there, if it names it.
    let here = kache_os::stat(&invocation.cwd);
    let names_it = |pwd: &&Path| here.as_ref().is_ok_and(|h| kache_os::stat(pwd).is_ok_and(|m| m.same_file(h)));
    if let Some(pwd) = invocation.path_var("PWD").filter(|pwd| **pwd != invocation.cwd).filter(names_it) {
        fields.push(("directory-name", bytes(pwd).to_vec()));
    }
    let mut run_args = Vec::with_capacity(given.len() + 3);
    // In front of everything: there nothing can take them for a value, and the user's own maps come later and win.
    let flag = if settings.base_dir.is_some() { "-ffile-prefix-map=" } else { "-fdebug-prefix-map=" };
    let mut macro_maps = p.macro_maps.clone();
    if wants_maps(&p, settings.base_dir.is_some()) {
        for (from, to) in prefix_maps(&roots) {
            // clang lets the longest match win, gcc the last: the user's must win in both.
            let own = p.maps.iter().any(|map| from.starts_with(map));
            if own || from.contains(&b'=') {
                continue;
            }
            if settings.base_dir.is_some() {
                macro_maps.push(from.clone());
            }
            run_args.push(kache_os::os_string(&[flag.as_bytes(), &from, b"=", to.as_bytes()].concat()));
            fields.push(("map", [flag, to].concat().into_bytes()));
        }
    }
    let query = p.sources.is_empty();
    let hides = all.iter().any(|arg| HIDES.iter().any(|flag| bytes(arg).starts_with(flag.as_bytes())));
    let (named, defined) = named_roots(&all, &roots, &macro_maps, hides);
    let mut bound_to = match (query || p.preprocesses, hides) {
        (true, _) => Vec::new(),
        (false, true) => named.clone(),
        (false, false) => defined,
    };
    if p.unmapped && !query {
        bound_to.extend([Root::Workspace, Root::Build]);
    }
    // A map of a part of a root's place leaves the rest of it in the result, where no search finds it.
    let partly = |place: &[u8]| p.maps.iter().any(|old| place.starts_with(old) && place != &old[..]);
    bound_to.extend(roots.iter().filter(|(_, place)| partly(place)).map(|(root, _)| root));
    let mut messages = Vec::new();
    for variable in SHAPES_MESSAGES {
        let value = invocation.value(variable.as_bytes());
        messages.extend([variable.as_bytes(), b"=", value.unwrap_or_default(), b"\n"].concat());
    }
    let dumb = invocation.var("TERM").is_none_or(|t| t == "dumb");
    if !p.coloured && !p.cl && !dumb && kache_os::is_terminal(std::io::stderr()) {
        // The compiler will see our pipe; it shall colour as for the terminal behind it.
        run_args.push("-fdiagnostics-color=always".into());
        messages.extend(b"coloured\n");
    }
    let mut own_depfile = None;
    if !settings.observe && !p.wants_depfile {
        let temp = invocation.path_var("TMPDIR").unwrap_or(Path::new("/tmp"));
        let file = invocation.cwd.join(temp).join(format!("kache-{}.d", kache_os::process_id()));
        run_args.extend(["-MD".into(), "-MF".into(), file.clone().into_os_string()]);
        own_depfile = Some(file);
    }
    run_args.extend(given.iter().cloned());
    let mut extra_env = Vec::new();
    if settings.pin_source_date_epoch && invocation.var("SOURCE_DATE_EPOCH").is_none() {
        extra_env.push(("SOURCE_DATE_EPOCH".into(), PINNED_EPOCH.into()));
        fields.push(("epoch", PINNED_EPOCH.into()));
    }
    let at = |file: &Path| invocation.cwd.join(file);
    let texts: Vec<(PathBuf, Form)> = depfiles(&p).into_iter().map(|(file, form)| (at(&file), form)).collect();
    let dep_info = own_depfile.clone().or_else(|| texts.first().map(|(file, _)| file.clone()));
    if query {
        // Answers are in a language, too.
        fields.push(("messages", messages.clone()));
    }
    Ok(Action {
        kind: if query { Kind::Query } else { Kind::Cc },
        unit: p.unit(&roots, &invocation.cwd).unwrap_or_else(|| name.clone()),
        name,
        argv0,
        program,
        args: run_args,
        extra_env,
        cwd: invocation.cwd.clone(),
        bound_to,
        named: if query || p.preprocesses { Vec::new() } else { named },
        roots,
        fields,
        messages,
        outputs: match &p.output {
            Some(object) if !settings.observe => {
                Outputs::Written(texts.iter().map(|(file, _)| file.clone()).chain([at(object)]).collect())
            }
            _ => Outputs::Below(vec!["/".into()]),
        },
        source: p.sources.first().filter(|_| !p.stdin).map(|s| at(s)),
        output: p.result().map(|o| at(&o)),
        dep_info: dep_info.filter(|_| !settings.observe),
        scratch_file: own_depfile,
        // A hit under observation has no use for it.
        probe: if settings.observe { Vec::new() } else { probe(&p) },
        texts,
        settles: p.sources.iter().map(|s| at(s)).collect(),
        ..Action::default()
    })
}

/// Roots whose places the arguments name, those left out that are mapped in `__FILE__`; and those that a macro's
/// definition names, where no map reaches. Where a result goes no source can ask, so that counts only `with_outputs`.
fn named_roots(all: &[OsString], roots: &Roots, mapped: &[Vec<u8>], with_outputs: bool) -> (Vec<Root>, Vec<Root>) {
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

/// Whether an output holds the times of what was read, which the compiler compares: clang's precompiled headers do,
/// modules that are made by a command of their own do not.
pub fn holds_times(args: &[OsString], output: &Path) -> bool {
    const TIMELESS: &[&str] = &["--precompile", "-fno-pch-timestamp", "c++-module", "-emit-module"];
    let mut magic = [0; 4];
    let read = std::fs::File::open(output).and_then(|file| kache_os::read_at(&file, &mut magic, 0));
    read.is_ok()
        && magic == *b"CPCH"
        && !args.iter().any(|arg| TIMELESS.iter().any(|flag| bytes(arg).ends_with(flag.as_bytes())))
}

/// Without observation: one C or C++ source to one named object, by flags of the table, in an environment of which all is
/// known.
fn declarable(p: &Parsed, invocation: &Invocation, settings: &Settings) -> Result<(), Why> {
    if p.sources.is_empty() {
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

/// The arguments of a question for the search list, which compiles nothing.
fn probe(p: &Parsed) -> Vec<OsString> {
    let of_cxx = p.sources.first().and_then(|s| s.extension()).is_some_and(|e| e != "c");
    let language = if of_cxx { "c++" } else { "c" };
    let more = ["-x", language, "-E", "-v", "-o", "/dev/null", "/dev/null"].map(OsString::from);
    p.probe.iter().cloned().chain(more).collect()
}

/// Sources that the declared mode knows.
const C_SOURCES: &[&str] = &["c", "cc", "cpp", "cxx", "c++", "C"];

/// What `cc.source_date_epoch = "pin"` sets: 2001-09-09 01:46:40 UTC.
const PINNED_EPOCH: &str = "1000000000";

/// Only where debug information (with `macros` also `__FILE__`) names the checkout, and only for dialects that know the
/// flag. What runs into a link without compiling needs none.
fn wants_maps(p: &Parsed, macros: bool) -> bool {
    let compiles = p.stops || p.lto || p.sources.iter().any(|s| is_source(s));
    (p.debug || macros) && compiles && !p.unmapped && !p.cl && !p.preprocesses
}

fn is_source(file: &Path) -> bool {
    let objects = ["o", "a", "so", "lo", "obj", "lib"];
    !file.extension().is_some_and(|e| objects.iter().any(|o| e == *o))
}

/// Dependency files: those named, or the one beside the output.
fn depfiles(p: &Parsed) -> Vec<(PathBuf, Form)> {
    let mut files = p.depfiles.clone();
    if p.wants_depfile {
        let beside = p.output.as_ref().map(|o| o.with_extension("d"));
        let source = p.sources.first().and_then(|s| s.file_name()).map(|n| Path::new(n).with_extension("d"));
        files.extend(beside.or(source).map(|f| (f, Form::Make)));
    }
    if p.lists {
        files.extend(p.output.clone().map(|f| (f, Form::Make)));
    }
    files
}

/// Standard input as an input: its digest. It is kept for the tool, whole, whatever comes of it.
pub fn stdin() -> Result<Digest, Why> {
    const LIMIT: u64 = 64 << 20;
    if kache_os::is_terminal_input() {
        return Err(Reason::Stdin.into());
    }
    let kept = kache_os::keep_stdin().map_err(|e| Why::new(Reason::Stdin, e))?;
    if kache_os::fstat(&kept).map_or(u64::MAX, |m| m.size) > LIMIT {
        return Err(Why::new(Reason::Stdin, "longer than 64 MiB"));
    }
    let digest = Digest::of_reader(&mut &kept).map_err(|e| Why::new(Reason::Stdin, e));
    kache_os::rewind(&kept).map_err(|e| Why::new(Reason::Stdin, e))?;
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Parsed {
        parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>(), false)
    }

    #[test]
    fn drivers_by_name() {
        for name in ["gcc", "/usr/bin/g++-12", "x86_64-linux-gnu-gcc-12", "clang++", "clang-14", "c++"] {
            assert!(is_tool(OsStr::new(name)), "{name}");
        }
        for name in ["rustc", "stats", "gc", "ccache", "gcc-ar", "clang-format", "config"] {
            assert!(!is_tool(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn sources_outputs_and_depfiles() {
        let p = parsed("-c -I inc -o out/x.o -MMD x.c");
        assert_eq!((p.sources, p.output), (vec![PathBuf::from("x.c")], Some(PathBuf::from("out/x.o"))));
        let p = parsed("-c -MD -MF deps/x.dep -MT x.o x.c -g");
        assert!(depfiles(&p).contains(&("deps/x.dep".into(), Form::Make)) && wants_maps(&p, false));
        assert!(!wants_maps(&parsed("-g x.o liby.a -o x"), true) && !wants_maps(&parsed("-c -g --coverage x.c"), true));
    }

    /// Guards: words of a response file as gcc splits them.
    #[test]
    fn response_files() {
        let words = words(b"-DA=\"a b\" 'c d'\\ e\n-o x");
        assert_eq!(words, ["-DA=a b", "c d e", "-o", "x"].map(OsString::from));
    }
}
