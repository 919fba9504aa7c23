//! The observer's read set contains strace's: every file opened or asked about, and every path that was
//! looked for in vain.
//!
//! Both watch the same processes, so that temporary names agree.

use crate::harness::{ROOM, World, rustc, skipped, tool};
use kache_observe::{Kind, Trace};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What strace sees and the observer does not tell, with the reason.
const UNTOLD: &[(Untold, &str)] = &[
    (|p| p.path == "/proc/self/maps", "libc asks where the main thread's stack is"),
    (|p| p.path == "/proc/self/exe" && p.call.starts_with("readlink"), "the observer asks which program it is in"),
    (|p| p.loading, "ld.so looks for libraries before anything of ours is loaded; those it took are LOADED"),
    (|p| p.path == "/etc/ld.so.cache", "ld.so's index, for dlopen too; what it chose is LOADED"),
    (|p| p.path.ends_with("/kache-observe.so"), "the observer itself"),
    (|p| p.path.starts_with("/proc/") && p.path.contains("/fd/"), "the observer opens its trace"),
    (
        |p| ["/usr/lib/locale/", "/usr/share/locale", "/usr/share/i18n"].iter().any(|dir| p.path.starts_with(dir)),
        "locale data, by hidden names of libc: message texts, which LANG and LC_* stand for",
    ),
    (|p| p.path.contains("/gconv"), "character conversions, by hidden names of libc"),
    (
        |p| p.path == "/etc/localtime" || p.path.contains("/zoneinfo"),
        "the time zone, by hidden names of libc: matters to clock readers only",
    ),
    (
        |p| p.path == "/etc/nsswitch.conf" || p.path == "/etc/passwd" || p.path == "/etc/group",
        "account data, by hidden names of libc",
    ),
    (|p| p.path.starts_with("/sys/devices/system/cpu"), "libc counts processors"),
];

type Untold = fn(&Probe) -> bool;

struct Probe {
    path: String,
    found: bool,
    call: String,
    /// Between an exec and the observer's constructor.
    loading: bool,
}

/// What the observer saw, in a form to ask for paths.
struct Told {
    paths: HashSet<String>,
    resolved: Vec<String>,
    searched: HashSet<String>,
}

impl Told {
    fn of(trace: &Trace) -> Told {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut told = Told { paths: HashSet::new(), resolved: Vec::new(), searched: HashSet::new() };
        for record in &trace.records {
            match record.kind {
                Kind::Getenv | Kind::Net | Kind::Clock | Kind::Fork | Kind::SearchPath => continue,
                Kind::Exec | Kind::Spawn | Kind::ExecFail => drop(told.searched.insert(text(record.b))),
                Kind::Rename | Kind::Link | Kind::Symlink => drop(told.paths.insert(text(record.b))),
                Kind::Resolve | Kind::Absent => {
                    told.resolved.extend(way(text(record.a)));
                    told.resolved.push(without_parents(&text(record.a)));
                }
                _ => {}
            }
            told.paths.insert(text(record.a));
        }
        told.searched.remove("");
        told
    }

    fn covers(&self, probe: &Probe) -> bool {
        let base = probe.path.rsplit('/').next().unwrap_or_default();
        self.paths.contains(&probe.path)
            // realpath looks at each directory on the way.
            || self.resolved.iter().any(|path| format!("{path}/").starts_with(&format!("{}/", probe.path)))
            // A search on PATH is one record.
            || (!probe.found && self.searched.contains(base))
    }
}

/// A path, and what becomes of it while realpath follows one link after the other.
fn way(path: String) -> Vec<String> {
    let mut way = vec![path];
    while way.len() < 40 {
        let path = Path::new(&way[way.len() - 1]);
        let prefixes: Vec<&Path> = path.ancestors().collect();
        let Some((at, link)) = prefixes.iter().rev().find_map(|at| Some((at, fs::read_link(at).ok()?))) else { break };
        let rest = path.strip_prefix(at).expect("an ancestor");
        let next = at.parent().expect("a link has a name").join(link).join(rest);
        let next = without_parents(&next.to_string_lossy());
        way.push(next);
    }
    way
}

/// As realpath has it when it finds a component missing.
fn without_parents(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match part {
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.iter().flat_map(|part| ["/", part]).collect()
}

#[track_caller]
fn compare(name: &str, world: &World, command: &Command) {
    let Some(strace) = tool("strace") else { return skipped(name, "there is no strace") };
    let log = world.path("strace.log");
    let trace = Trace::create(ROOM).expect("memory for a trace");
    let mut traced = world.command(strace);
    // -D: the program is our own child, as the reader wants it.
    traced.args(["-D", "-f", "-y", "-s", "4096", "-e", "trace=%file", "-e", "signal=none", "-o"]).arg(&log);
    traced.arg("-E").arg(format!("LD_PRELOAD={}", world.preload().display()));
    traced.arg("-E").arg(format!("KACHE_TRACE={}", trace.env_value()));
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            traced.arg("-E").arg([key.as_bytes(), b"=", value.as_bytes()].concat().escape_ascii().to_string());
        }
    }
    traced.arg(command.get_program()).args(command.get_args());
    let output = traced.output().expect("start strace");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("PTRACE") || stderr.contains("ptrace") {
        return skipped(name, "strace may not trace here");
    }
    assert!(output.status.success(), "{name}: {stderr}");

    let seen = trace.read().unwrap_or_else(|blind| panic!("{name}: blind: {blind}"));
    let told = Told::of(&seen);
    let log = finished(&log);
    let probes = probes(&log, &world.cwd(), &trace.env_value());
    assert!(probes.len() > 10, "{name}: strace saw next to nothing:\n{log}");
    let missing: Vec<String> = probes
        .iter()
        .filter(|probe| !told.covers(probe) && !UNTOLD.iter().any(|(is, _)| is(probe)))
        .map(|probe| format!("{} {}", if probe.found { "found" } else { "absent" }, probe.call))
        .collect();
    for (is, why) in UNTOLD {
        let n = probes.iter().filter(|probe| !told.covers(probe) && is(probe)).count();
        if n > 0 {
            eprintln!("{name}: {n} not told: {why}");
        }
    }
    assert!(missing.is_empty(), "{name}: {} of {} not told:\n{}", missing.len(), probes.len(), missing.join("\n"));
    eprintln!("{name}: {} files and absences of strace, all told or named", probes.len());
}

/// With -D strace ends after the program.
fn finished(log: &Path) -> String {
    let started = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
        let root = text.split(' ').next().unwrap_or_default().to_owned();
        if text.contains(&format!("{root} +++ exited")) || started.elapsed() > Duration::from_secs(10) {
            return text;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Calls that tell of a file without opening it.
const ASKS: &[&str] = &[
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "statfs",
    "getxattr",
    "lgetxattr",
    "listxattr",
    "chdir",
];

fn probes(log: &str, cwd: &Path, trace: &str) -> Vec<Probe> {
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    let mut loading: HashSet<&str> = HashSet::new();
    let mut probes = Vec::new();
    for line in log.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let call = if let Some(head) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, head.to_owned());
            continue;
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let tail = rest.split_once("resumed>").map(|(_, tail)| tail).unwrap_or_default();
            unfinished.remove(pid).unwrap_or_default() + tail
        } else {
            call.to_owned()
        };
        let (Some((name, rest)), Some((_, result))) = (call.split_once('('), call.rsplit_once(" = ")) else { continue };
        let done = !result.starts_with('-');
        if name.starts_with("execve") && done {
            loading.insert(pid);
        }
        let Some(text) = rest.split('"').nth(1) else { continue };
        if text == trace {
            loading.remove(pid);
        }
        let absent = result.contains("ENOENT") || result.contains("ENOTDIR");
        let asked = ASKS.contains(&name);
        let found = done && (asked || ["open", "exec"].iter().any(|c| name.starts_with(c)));
        if text.is_empty() || !(found || absent) {
            continue;
        }
        let dir =
            rest.split(',').next().and_then(|first| first.split_once('<')).map(|(_, dir)| dir.trim_end_matches('>'));
        let base = if text.starts_with('/') { "" } else { dir.unwrap_or(cwd.to_str().expect("plain names")) };
        let parts = base.split('/').chain(text.split('/')).filter(|part| !part.is_empty() && *part != ".");
        let path: String = parts.flat_map(|part| ["/", part]).collect();
        probes.push(Probe { path, found, loading: loading.contains(pid) && (asked || !found), call });
    }
    probes
}

fn command(world: &World, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let mut command = world.command(program);
    command.args(args);
    command
}

#[test]
fn rustc_library() {
    let world = World::new();
    world.file("src/lib.rs", "mod part; pub const TEXT: &str = include_str!(\"text\"); pub fn f() -> u8 { part::g() }");
    world.file("src/part.rs", "pub fn g() -> u8 { option_env!(\"NO_SUCH\").map_or(1, |_| 2) }");
    world.file("src/text", "some text");
    let args = [
        "--crate-type=lib",
        "--edition=2021",
        "--emit=link,metadata,dep-info",
        "-Cdebuginfo=2",
        "src/lib.rs",
        "-o",
        "libx.rlib",
    ];
    compare("rustc_library", &world, &command(&world, rustc(), &args));
}

#[test]
fn rustc_executable() {
    let world = World::new();
    world.file("main.rs", "fn main() { println!(\"hello\") }");
    compare("rustc_executable", &world, &command(&world, rustc(), &["--edition=2021", "main.rs", "-o", "main"]));
}

#[test]
fn rustc_with_a_proc_macro_that_reads_a_file() {
    let world = World::new();
    world.file("secret", "41");
    let source = "extern crate proc_macro; #[proc_macro] pub fn answer(_: proc_macro::TokenStream) -> proc_macro::TokenStream \
        { let _ = std::fs::metadata(\"nothing-here\"); std::fs::read_to_string(\"secret\").unwrap().parse().unwrap() }";
    world.file("macros.rs", source);
    world.file("user.rs", "pub const X: u8 = macros::answer!();");
    let made = command(&world, rustc(), &["--crate-type=proc-macro", "--edition=2021", "macros.rs"])
        .status()
        .expect("start rustc");
    assert!(made.success());

    let args = ["--crate-type=lib", "--edition=2021", "--extern", "macros=libmacros.so", "user.rs"];
    compare("rustc_with_a_proc_macro", &world, &command(&world, rustc(), &args));
    let seen = world.observe(command(&world, rustc(), &args));
    seen.must_read(world.cwd().join("secret"));
    seen.must_have(Kind::Absent, world.cwd().join("nothing-here"));
    seen.must_have(Kind::Loaded, world.cwd().join("libmacros.so"));
}

#[test]
fn c_compile_and_link() {
    for cc in ["gcc", "clang"] {
        let name = format!("{cc}_compile_and_link");
        if tool(cc).is_none() {
            skipped(&name, &format!("there is no {cc}"));
            continue;
        }
        let world = World::new();
        world.file("inc2/x.h", "#define X 1\n");
        world.file(
            "main.c",
            "#include <stdio.h>\n#include \"x.h\"\nint main(void) { printf(\"%d\\n\", X); return 0; }\n",
        );
        compare(
            &name,
            &world,
            &command(&world, cc, &["-g", "-c", "main.c", "-Iinc1", "-Iinc2", "-MD", "-o", "main.o"]),
        );
        compare(&name, &world, &command(&world, cc, &["main.o", "-lm", "-o", "main"]));
        let seen = world.observe(command(&world, cc, &["-c", "main.c", "-Iinc1", "-Iinc2"]));
        seen.must_read(world.cwd().join("inc2/x.h"));
    }
}

#[test]
fn configure_script() {
    let world = World::new();
    world.file("conf.in", "version @V@\n");
    world.file("probe.c", "int main(void) { return 0; }\n");
    let script = "set -e\n\
        test -f nothing && exit 1\n\
        test -r conf.in\n\
        v=$(cat conf.in | sed 's/@V@/1/')\n\
        command -v cc >/dev/null\n\
        cc probe.c -o probe && ./probe\n\
        for f in *.in; do echo \"$f $v\" >> config.log; done\n\
        mkdir -p a/b && cp config.log a/b/ && ls a >/dev/null && rm -r a\n";
    let path = world.script("configure", &format!("#!/bin/sh\n{script}"));
    compare("configure_script", &world, &command(&world, &path, &[]));
    let seen = world.observe(command(&world, &path, &[]));
    seen.must_have(Kind::Absent, world.cwd().join("nothing"));
    seen.must_read(world.cwd().join("conf.in"));
    seen.must_have(Kind::List, world.cwd());
}
