//! rustc and clippy-driver as cargo calls them.
//!
//! Cargo calls `WRAPPER rustc ARGS`, for workspace members under clippy `WRAPPER clippy-driver rustc ARGS`, and asks first
//! with `-vV` and `- --print=…`. Under observation the flags' meanings do not matter: they are in the key as they are. Only
//! what shapes names and places is read here.

use super::{add_build, build_root, machine_roots, plain_dir, prefix_maps};
use crate::action::{Action, Kind, Outputs, ScriptProgram};
use crate::invocation::Invocation;
use crate::messages::Mapped;
use crate::pattern::matches;
use crate::reason::{Reason, Why};
use kache_config::Settings;
use kache_key::{Form, Root, Roots};
use kache_os::bytes;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// rustc's flags that take their value from the next argument (`rustc --help -v`).
const TAKES_VALUE: &[&str] = &[
    "--crate-name",
    "--crate-type",
    "--edition",
    "--emit",
    "--print",
    "--out-dir",
    "-o",
    "--target",
    "--cfg",
    "--check-cfg",
    "--cap-lints",
    "--codegen",
    "-C",
    "-Z",
    "-L",
    "-l",
    "--extern",
    "--sysroot",
    "--error-format",
    "--json",
    "--color",
    "--diagnostic-width",
    "--remap-path-prefix",
    "--remap-path-scope",
    "--explain",
    "-A",
    "-W",
    "-D",
    "-F",
    "--allow",
    "--warn",
    "--deny",
    "--forbid",
    "--force-warn",
    "--env-set",
];

/// Flags that the declared mode understands: modelled here, or without effect on outputs. With the reason.
const DECLARED: &[(&str, &str)] = &[
    ("--crate-name", "in the key"),
    ("--crate-type", "in the key"),
    ("--edition", "in the key"),
    ("--emit", "in the key; names outputs"),
    ("--out-dir", "names outputs"),
    ("--target", "in the key; a target file is refused"),
    ("--cfg", "in the key"),
    ("--check-cfg", "in the key"),
    ("--cap-lints", "in the key"),
    ("--extern", "its file is an input"),
    ("--error-format", "in the key"),
    ("--json", "in the key"),
    ("--color", "shapes messages"),
    ("--diagnostic-width", "shapes messages"),
    ("--remap-path-prefix", "in the key"),
    ("--test", "in the key"),
    (
        "-L",
        "what dependencies need is known of each; of others the names and libraries are inputs, and crates are refused",
    ),
    ("-l", "in the key; found in the native directories"),
    ("-A", "in the key"),
    ("-W", "in the key"),
    ("-D", "in the key"),
    ("-F", "in the key"),
    ("-O", "in the key"),
    ("-g", "in the key"),
    ("--allow", "in the key"),
    ("--warn", "in the key"),
    ("--deny", "in the key"),
    ("--forbid", "in the key"),
    ("--force-warn", "in the key"),
];

/// `-C` options of the same kind.
const DECLARED_CODEGEN: &[&str] = &[
    "metadata",
    "extra-filename",
    "opt-level",
    "debuginfo",
    "debug-assertions",
    "overflow-checks",
    "embed-bitcode",
    "incremental",
    "panic",
    "codegen-units",
    "strip",
    "lto",
    "linker-plugin-lto",
    "target-cpu",
    "target-feature",
    "force-frame-pointers",
    "split-debuginfo",
    "symbol-mangling-version",
    "prefer-dynamic",
    "relocation-model",
    "inline-threshold",
    "rpath",
];

/// Variables that rustc itself asks for: in the key of the declared mode. With the reason.
const DECLARED_VARIABLES: &[(&str, &str)] = &[
    ("RUSTC_BOOTSTRAP", "whether unstable features may be used"),
    ("RUSTC_FORCE_RUSTC_VERSION", "what metadata says of the compiler"),
    ("RUSTC_OVERRIDE_VERSION_STRING", "what `cfg(version)` compares with"),
    ("IPHONEOS_DEPLOYMENT_TARGET", "in objects for Apple's systems"),
    ("MACOSX_DEPLOYMENT_TARGET", "in objects for Apple's systems"),
    ("TVOS_DEPLOYMENT_TARGET", "in objects for Apple's systems"),
    ("WATCHOS_DEPLOYMENT_TARGET", "in objects for Apple's systems"),
    ("XROS_DEPLOYMENT_TARGET", "in objects for Apple's systems"),
];

/// One argument, or a flag with its value.
struct Flag<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
    /// How many arguments it takes up.
    width: usize,
}

/// Reads flags in the forms `--name value`, `--name=value`, `-Cvalue`, and plain arguments.
fn flag_at(args: &[OsString], at: usize) -> Flag<'_> {
    let arg = bytes(&args[at]);
    let takes = |name: &[u8]| TAKES_VALUE.iter().any(|t| t.as_bytes() == name);
    if takes(arg) && at + 1 < args.len() {
        return Flag { name: arg, value: Some(bytes(&args[at + 1])), width: 2 };
    }
    if arg.starts_with(b"--")
        && let Some(eq) = arg.iter().position(|b| *b == b'=')
    {
        return Flag { name: &arg[..eq], value: Some(&arg[eq + 1..]), width: 1 };
    }
    if arg.len() > 2 && arg[0] == b'-' && arg[1] != b'-' && takes(&arg[..2]) {
        return Flag { name: &arg[..2], value: Some(&arg[2..]), width: 1 };
    }
    Flag { name: arg, value: None, width: 1 }
}

/// One form for `--name value` and `--name=value`; a lone argument with a space in it is none of them.
fn key_of(flag: &Flag) -> Vec<u8> {
    match flag.value {
        Some(value) => [flag.name, b" ", value].concat(),
        None if !flag.name.starts_with(b"-") => flag.name.to_vec(),
        None => flag.name.split(|b| *b == b' ').collect::<Vec<_>>().join(&b"\\ "[..]),
    }
}

/// What of the command line matters beside being in the key.
#[derive(Default)]
struct Parsed {
    crate_name: Option<String>,
    crate_types: Vec<String>,
    emit: Vec<String>,
    out_dir: Option<PathBuf>,
    output_file: bool,
    extra_filename: String,
    incremental: Option<PathBuf>,
    source: Option<PathBuf>,
    externs: Vec<PathBuf>,
    search_dirs: Vec<PathBuf>,
    native_dirs: Vec<PathBuf>,
    crate_dirs: Vec<PathBuf>,
    /// `linker=PATH`.
    linker: Vec<u8>,
    messages: Vec<u8>,
    json: bool,
    coloured: bool,
    asks: bool,
    test: bool,
    native_cpu: bool,
    unmapped: bool,
    /// What the user's own prefix maps match.
    mapped_by_user: Vec<PathBuf>,
    /// The first flag that the declared mode does not know.
    undeclared: Option<String>,
    /// Arguments that count for the key, in stored order.
    keyed: Vec<Vec<u8>>,
    /// Arguments as given, without `-C incremental` when that is switched off.
    passed: Vec<OsString>,
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn parse(args: &[OsString], settings: &Settings) -> Result<Parsed, Why> {
    let mut p = Parsed::default();
    let mut at = 0;
    while at < args.len() {
        let flag = flag_at(args, at);
        let raw = &args[at..at + flag.width];
        at += flag.width;
        let value = flag.value.unwrap_or_default();
        let mut keyed = true;
        match flag.name {
            b"-vV" | b"-V" | b"--version" | b"--print" => p.asks = true,
            b"--crate-name" => p.crate_name = Some(text(value)),
            b"--crate-type" => p.crate_types.extend(text(value).split(',').map(String::from)),
            b"--emit" => p.emit.extend(text(value).split(',').map(|e| e.split('=').next().unwrap_or(e).to_string())),
            b"--out-dir" => p.out_dir = Some(kache_os::path(value).to_path_buf()),
            b"-o" => p.output_file = true,
            b"--test" => p.test = true,
            b"--error-format" => p.json = value == b"json",
            b"--color" | b"--diagnostic-width" => {
                keyed = false;
                p.coloured |= flag.name == b"--color";
                p.messages.extend_from_slice(&[flag.name, b"=", value, b"\n"].concat());
            }
            b"--extern" => {
                if let (_, Some(file)) = split_at_eq(value) {
                    p.externs.push(kache_os::path(file).to_path_buf());
                } else {
                    // Looked for in `-L`: which file it is, nobody says.
                    p.undeclared.get_or_insert(format!("--extern {}", text(value)));
                }
            }
            b"--target" if value.ends_with(b".json") => {
                p.undeclared.get_or_insert(format!("--target {}", text(value)));
            }
            b"--remap-path-prefix" => {
                let from = value.iter().rposition(|b| *b == b'=').map_or(value, |eq| &value[..eq]);
                p.mapped_by_user.push(kache_os::path(from).to_path_buf());
            }
            b"-L" => {
                let of = |kind: &[u8]| value.strip_prefix(kind).map(|dir| kache_os::path(dir).to_path_buf());
                if let Some(dir) = of(b"dependency=") {
                    p.search_dirs.push(dir);
                } else if let Some(dir) = of(b"native=").or_else(|| of(b"framework=")) {
                    p.native_dirs.push(dir);
                } else {
                    let dir = of(b"crate=").or_else(|| of(b"all=")).unwrap_or_else(|| kache_os::path(value).into());
                    p.native_dirs.push(dir.clone());
                    p.crate_dirs.push(dir);
                }
                // A place of the toolchain's.
                if memchr::memmem::find(value, b"@RUSTC_BUILTIN").is_some() {
                    p.undeclared.get_or_insert(format!("-L {}", text(value)));
                }
            }
            b"-C" | b"--codegen" => {
                let (name, of) = split_at_eq(value);
                if name == b"incremental" && !settings.incremental {
                    continue;
                }
                keyed = p.codegen(name, of.unwrap_or_default());
            }
            name if name.starts_with(b"@") => return Err(Why::new(Reason::ArgFile, text(name))),
            name if !name.starts_with(b"-") || name == b"-" => {
                p.source.get_or_insert(kache_os::path(name).to_path_buf());
            }
            _ => {}
        }
        let known =
            DECLARED.iter().any(|(n, _)| n.as_bytes() == flag.name) || matches!(flag.name, b"-C" | b"--codegen");
        if flag.name.starts_with(b"-") && flag.name != b"-" && !known {
            p.undeclared.get_or_insert(text(flag.name));
        }
        p.passed.extend_from_slice(raw);
        if keyed {
            p.keyed.push(key_of(&flag));
        }
    }
    if p.links() && !p.linker.is_empty() {
        p.keyed.push([b"-C ", &p.linker[..]].concat());
    }
    Ok(p)
}

/// What stands before the first `=`, and what behind it.
fn split_at_eq(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    match value.iter().position(|b| *b == b'=') {
        Some(eq) => (&value[..eq], Some(&value[eq + 1..])),
        None => (value, None),
    }
}

impl Parsed {
    /// Takes in an option of `-C`; whether it is in the key as it stands.
    fn codegen(&mut self, name: &[u8], value: &[u8]) -> bool {
        if !DECLARED_CODEGEN.iter().any(|known| known.as_bytes() == name) {
            self.undeclared.get_or_insert(format!("-C {}", text(name)));
        }
        match name {
            b"extra-filename" => self.extra_filename = text(value),
            // Scratch: that there is one counts, not where.
            b"incremental" => {
                self.incremental = Some(kache_os::path(value).to_path_buf());
                self.keyed.push(b"-C incremental".to_vec());
            }
            // Counts where something is linked.
            b"linker" => self.linker = [name, b"=", value].concat(),
            b"target-cpu" => self.native_cpu |= value == b"native",
            // Their outputs carry paths that no map reaches, or hide them from a search.
            b"instrument-coverage" => self.unmapped = true,
            b"split-debuginfo" => self.unmapped |= value == b"unpacked",
            _ => {}
        }
        !matches!(name, b"incremental" | b"linker")
    }

    /// Whether the tool is only asked about itself: there are no outputs.
    fn is_query(&self) -> bool {
        self.asks && self.out_dir.is_none()
    }

    fn name(&self) -> &str {
        self.crate_name.as_deref().unwrap_or("rustc")
    }

    /// What the names of outputs are made of.
    fn stem(&self) -> String {
        format!("{}{}", self.name(), self.extra_filename)
    }

    fn emits(&self, kind: &str) -> bool {
        self.emit.iter().any(|e| e == kind)
    }

    /// The files rustc names by convention; which of them this run wrote is seen, not assumed.
    fn expected(&self, out_dir: &Path) -> Vec<PathBuf> {
        let stem = self.stem();
        let mut names = Vec::new();
        for (kind, suffix) in
            [("dep-info", "d"), ("obj", "o"), ("asm", "s"), ("llvm-ir", "ll"), ("llvm-bc", "bc"), ("mir", "mir")]
        {
            if self.emits(kind) {
                names.push(format!("{stem}.{suffix}"));
            }
        }
        if self.emits("metadata") {
            names.push(format!("lib{stem}.rmeta"));
        }
        if self.emits("link") || self.emit.is_empty() {
            let types = if self.test { vec!["bin".to_string()] } else { self.crate_types.clone() };
            for kind in types {
                match kind.as_str() {
                    "lib" | "rlib" => names.push(format!("lib{stem}.rlib")),
                    "staticlib" => names.push(format!("lib{stem}.a")),
                    "dylib" | "cdylib" | "proc-macro" => names.push(format!("lib{stem}.so")),
                    _ => names.push(stem.clone()),
                }
            }
        }
        names.into_iter().map(|n| out_dir.join(n)).collect()
    }

    /// The compiled build script, where its runs are to come here.
    fn script_program(&self, out_dir: &Path, settings: &Settings) -> Option<ScriptProgram> {
        let wanted = settings.build_scripts && settings.observe;
        let made = self.name().starts_with("build_script_") && self.links();
        (wanted && made).then(|| ScriptProgram {
            launcher: out_dir.join(self.stem()),
            real: out_dir.join(format!("{}.real", self.name())),
        })
    }

    fn links(&self) -> bool {
        (self.emits("link") || self.emit.is_empty())
            && (self.test || self.crate_types.iter().any(|t| !matches!(t.as_str(), "lib" | "rlib")))
    }
}

/// The tool that was called, and how.
struct Tool<'a> {
    program: PathBuf,
    clippy: bool,
    /// The path of rustc, which clippy-driver gets first.
    rustc: &'a [OsString],
    args: &'a [OsString],
}

impl Tool<'_> {
    fn called(args: &[OsString]) -> Result<Tool<'_>, Why> {
        let program = PathBuf::from(&args[0]);
        let name = program.file_name().unwrap_or_default();
        if !is_tool(name) {
            return Err(Why::new(Reason::UnknownTool, name.display()));
        }
        let clippy = bytes(name).starts_with(b"clippy-driver");
        let is_rustc = |arg: &OsString| Path::new(arg).file_name() == Some(OsStr::new("rustc"));
        let inner = usize::from(clippy && args.get(1).is_some_and(is_rustc));
        let (rustc, args) = args[1..].split_at(inner);
        Ok(Tool { program, clippy, rustc, args })
    }

    /// What it lies in, if it is named by its place.
    fn toolchain(&self) -> Option<&Path> {
        self.program.parent().and_then(Path::parent).filter(|_| self.program.is_absolute())
    }
}

/// Describes the compile, or declines it. `args` are those after the wrapper: the tool first.
pub fn action(invocation: &Invocation, args: &[OsString], settings: &Settings) -> Result<Action, Why> {
    let tool = Tool::called(args)?;
    let p = parse(tool.args, settings)?;
    check(&p, &tool, invocation, settings)?;

    let out_dir = p.out_dir.as_ref().map(|dir| invocation.cwd.join(dir));
    let roots = roots(&p, &tool, out_dir.as_deref(), invocation, settings);
    let maps = if p.unmapped || p.is_query() { Vec::new() } else { prefix_maps(&roots) };
    let (messages, colour) = messages(&p);

    let out_dir = out_dir.map(plain_dir);
    let expected = out_dir.as_deref().map_or(Vec::new(), |dir| p.expected(dir));
    let script = out_dir.as_deref().and_then(|dir| p.script_program(dir, settings));
    let dep_info = expected.iter().find(|f| p.emits("dep-info") && f.extension() == Some(OsStr::new("d"))).cloned();

    let mut fields = key_fields(&p, &tool, &roots, &maps, invocation);
    if !settings.observe {
        let set = |name: &'static str| Some((name, invocation.value(name.as_bytes())?.to_vec()));
        fields.extend(DECLARED_VARIABLES.iter().filter_map(|(name, _)| set(name)));
    }
    if p.native_cpu {
        fields.push(("processor", kache_os::cpu_identity()));
    }
    if script.is_some() {
        fields.push(("launcher", Vec::new()));
    }
    let map_args = maps.iter().flat_map(|(from, to)| {
        ["--remap-path-prefix".into(), kache_os::os_string(&[from, &b"="[..], to.as_bytes()].concat())]
    });
    let run_args = tool.rustc.iter().cloned().chain(map_args).chain(colour).chain(p.passed.iter().cloned()).collect();
    Ok(Action {
        kind: match (p.is_query(), tool.clippy) {
            (true, _) => Kind::Query,
            (false, true) => Kind::Clippy,
            (false, false) => Kind::Rustc,
        },
        name: p.name().into(),
        unit: p.stem(),
        argv0: args[0].clone(),
        program: tool.program,
        args: run_args,
        cwd: invocation.cwd.clone(),
        bound_to: if p.unmapped { vec![Root::Workspace, Root::Build] } else { Vec::new() },
        roots,
        fields,
        messages,
        editing: p.incremental.is_some() && expected.iter().any(|f| kache_os::lstat(f).is_ok()),
        outputs: Outputs::Written(expected),
        script,
        mapped: Mapped {
            maps,
            bare_source: p.source.as_deref().is_some_and(|s| s.parent() == Some(Path::new(""))),
            users: p.mapped_by_user,
        },
        json: p.json,
        texts: dep_info.iter().map(|file| (file.clone(), Form::Make)).collect(),
        dep_info,
        source: p.source.filter(|s| s != Path::new("-")).map(|s| invocation.cwd.join(s)),
        scratch: p.incremental.map(plain_dir),
        search_dirs: p.search_dirs,
        externs: p.externs,
        native_dirs: p.native_dirs,
        crate_dirs: p.crate_dirs,
        ..Action::default()
    })
}

/// Declines what is no compile as cargo asks for it, what a setting excludes, and what can't be declared if it must be.
fn check(p: &Parsed, tool: &Tool, invocation: &Invocation, settings: &Settings) -> Result<(), Why> {
    if p.source.as_deref() == Some(Path::new("-")) && !(p.asks && kache_os::stdin_is_null()) {
        return Err(Reason::Stdin.into());
    }
    if p.asks && !settings.observe {
        return Err(Reason::Query.into());
    }
    if p.output_file {
        return Err(Reason::OutputFile.into());
    }
    if settings.exclude.iter().any(|pattern| matches(pattern, p.name())) {
        return Err(Why::new(Reason::Excluded, p.name()));
    }
    if !p.is_query() && (p.out_dir.is_none() || p.crate_name.is_none()) {
        return Err(Why::new(Reason::NoOutputDir, "--crate-name and --out-dir are not given"));
    }
    if settings.observe { Ok(()) } else { declares_all(p, tool, invocation) }
}

/// Declines what dep-info and the command line do not say all of.
fn declares_all(p: &Parsed, tool: &Tool, invocation: &Invocation) -> Result<(), Why> {
    if let Some(flag) = &p.undeclared {
        return Err(Why::new(Reason::UnknownFlag, flag));
    }
    if p.links() {
        return Err(Reason::Link.into());
    }
    if tool.clippy {
        return Err(Why::new(Reason::UnknownTool, "the configuration of clippy is not declared"));
    }
    if invocation.value(b"RUST_TARGET_PATH").is_some() {
        return Err(Why::new(Reason::UnknownFlag, "RUST_TARGET_PATH"));
    }
    if !tool.toolchain().is_some_and(|dir| dir.join("lib/rustlib").is_dir()) {
        return Err(Why::new(Reason::UnknownTool, format!("the toolchain of {}", tool.program.display())));
    }
    Ok(())
}

fn roots(p: &Parsed, tool: &Tool, out_dir: Option<&Path>, invocation: &Invocation, settings: &Settings) -> Roots {
    let mut roots = Roots::default();
    if let Some(build) = out_dir.and_then(build_root) {
        add_build(&mut roots, &build);
    }
    // Cargo runs rustc for workspace members in the workspace root, with relative paths; for others in the package's
    // directory, with absolute ones.
    if p.is_query() || p.source.as_deref().is_some_and(Path::is_relative) {
        roots.add(Root::Workspace, bytes(&invocation.cwd));
    }
    if let Some(toolchain) = tool.toolchain() {
        roots.add(Root::Toolchain, bytes(toolchain));
    }
    machine_roots(&mut roots, invocation, settings);
    roots
}

/// What shapes messages, and the flag by which the tool, which will see our pipe, colours as for the terminal behind it.
fn messages(p: &Parsed) -> (Vec<u8>, Option<OsString>) {
    let coloured = !p.json && !p.coloured && !p.is_query() && kache_os::is_terminal(std::io::stderr());
    let ours: &[u8] = if coloured { b"--color=always\n" } else { b"" };
    ([&p.messages, ours].concat(), coloured.then(|| "--color=always".into()))
}

/// The key fields of every call.
fn key_fields(
    p: &Parsed,
    tool: &Tool,
    roots: &Roots,
    maps: &[(Vec<u8>, &'static str)],
    invocation: &Invocation,
) -> Vec<(&'static str, Vec<u8>)> {
    let name = tool.program.file_name().unwrap_or_default();
    let program = if tool.program.is_absolute() { bytes(&tool.program) } else { bytes(name) };
    let mut fields =
        vec![("tool", roots.encode_path(program)), ("directory", roots.encode_path(bytes(&invocation.cwd)))];
    let args = tool.rustc.iter().map(bytes).chain(p.keyed.iter().map(Vec::as_slice));
    fields.extend(args.map(|arg| ("argument", roots.encode(arg, Form::Plain))));
    fields.extend(maps.iter().map(|(_, to)| ("map", to.as_bytes().to_vec())));
    fields
}

/// Whether `program` is a compiler this adapter knows.
pub fn is_tool(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    name == "rustc" || name == "clippy-driver"
}

pub fn is_metadata(output: &Path) -> bool {
    output.extension().is_some_and(|e| e == "rmeta")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Parsed {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let settings = Settings::resolve(&|_| None, &["/"]);
        parse(&args, &settings).unwrap()
    }

    /// Guards: the same flag written in different forms gives the same key.
    #[test]
    fn one_form_for_all_spellings() {
        let a = parsed(&["--crate-name", "x", "-Copt-level=3", "--cfg", "a"]);
        let b = parsed(&["--crate-name=x", "-C", "opt-level=3", "--cfg=a"]);
        assert_eq!(a.keyed, b.keyed);
    }

    /// Guards: an argument that only looks like a flag with its value is another key.
    #[test]
    fn a_lone_argument_is_not_two() {
        assert_ne!(parsed(&["--cfg", "a"]).keyed, parsed(&["--cfg a"]).keyed);
    }

    /// Guards: of `-C incremental` the presence is in the key, not the directory; the linker's path is not.
    #[test]
    fn scratch_and_linker_are_not_keyed() {
        let a = parsed(&["-C", "incremental=/a", "-Clinker=/x/cc"]);
        let b = parsed(&["-Cincremental=/b"]);
        assert_eq!(a.keyed, b.keyed);
        assert_ne!(a.keyed, parsed(&[]).keyed);
    }

    /// Guards: without observation, what names no file that could be looked at is not cached.
    #[test]
    fn crates_and_targets_without_a_file_are_undeclared() {
        assert_eq!(parsed(&["--extern", "mac"]).undeclared.as_deref(), Some("--extern mac"));
        assert_eq!(parsed(&["--target", "my.json"]).undeclared.as_deref(), Some("--target my.json"));
        assert_eq!(parsed(&["--extern=mac=/x.so", "--target=x86_64-unknown-linux-gnu"]).undeclared, None);
    }

    #[test]
    fn argument_files_are_declined() {
        let settings = Settings::resolve(&|_| None, &["/"]);
        assert_eq!(parse(&["@x".into()], &settings).err().map(|w| w.reason), Some(Reason::ArgFile));
    }
}
