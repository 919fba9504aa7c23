//! A C or C++ tree, built by its own build system with no cache, ccache, sccache and kache in turn: cold, again, and in a
//! second checkout at another path.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Options, Times, children_cpu, subject, trees};
use crate::system::{Done, about, cargo, find_on_path, release_build};

const PHASES: &[&str] = &["cold", "same tree", "cross first", "cross again"];

const TOOLS: &[&str] = &["none", "ccache", "sccache", "kache"];

/// How a tree is built, by the file that says so.
const SYSTEMS: &[(&str, System)] = &[
    ("Cargo.toml", System::Cargo),
    ("CMakeLists.txt", System::CMake),
    ("configure", System::Configure),
    ("Makefile", System::Make),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Cargo,
    CMake,
    Configure,
    Make,
}

struct Tool {
    name: &'static str,
    /// Put before the compiler; empty: no cache.
    program: Option<PathBuf>,
}

struct Bench<'a> {
    system: System,
    tool: &'a Tool,
    compilers: (&'a str, &'a str),
    /// What else the build system's command gets.
    more: &'a str,
    home: PathBuf,
}

impl Bench<'_> {
    fn tree(&self, second: bool) -> PathBuf {
        self.home.join(if second { "second-checkout/tree/src" } else { "a/src" })
    }

    fn cache(&self) -> PathBuf {
        self.home.join("cache")
    }

    /// `configure` first, where there is one; its time is not counted: it is mostly the shell's.
    fn lines(&self) -> (String, String, String) {
        let before = self.tool.program.as_ref().map_or(String::new(), |p| format!("{} ", p.display()));
        let (cc, cxx) = (format!("{before}{}", self.compilers.0), format!("{before}{}", self.compilers.1));
        let more = self.more;
        match self.system {
            System::Cargo => {
                let line = format!("CC='{cc}' CXX='{cxx}' {} build --offline {more}", cargo());
                ("rm -rf target".into(), String::new(), line)
            }
            System::CMake => {
                let launcher = before.trim();
                let launchers = ["C", "CXX"].map(|l| format!("-DCMAKE_{l}_COMPILER_LAUNCHER='{launcher}'")).join(" ");
                let (c, x) = self.compilers;
                let configure = format!(
                    "cmake -S . -B build-here -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER={c} \
                     -DCMAKE_CXX_COMPILER={x} {} {more}",
                    if before.is_empty() { "" } else { &launchers }
                );
                ("rm -rf build-here".into(), configure, "ninja -C build-here -j2".into())
            }
            System::Configure => (
                "rm -rf build-here; mkdir build-here".into(),
                format!("cd build-here && ../configure -q CC='{cc}' CXX='{cxx}' {more}"),
                "make -s -C build-here -j2".into(),
            ),
            System::Make => (
                "find . -name '*.[oa]' -delete".into(),
                String::new(),
                format!("make -j2 CC='{cc}' CXX='{cxx}' {more}"),
            ),
        }
    }

    /// A clean environment with the tools' settings.
    fn surround(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let ours = ["CARGO", "KACHE", "CCACHE", "SCCACHE", "CC", "CXX", "CFLAGS", "RUSTC", "MAKE"];
            if ours.iter().any(|p| text.starts_with(p)) && text != "CARGO_HOME" {
                command.env_remove(&name);
            }
        }
        command.env("CCACHE_DIR", self.cache()).env("CCACHE_BASEDIR", &self.home).env("CCACHE_NOHASHDIR", "1");
        command.env("KACHE_CACHE_DIR", self.cache()).env("KACHE_BASE_DIR", &self.home);
        command.env("KACHE_CONFIG", self.home.join("none.toml"));
        let trees = [false, true].map(|second| self.tree(second).display().to_string()).join(":");
        command.env("SCCACHE_DIR", self.cache()).env("SCCACHE_SERVER_UDS", self.home.join("socket"));
        command.env("SCCACHE_BASEDIRS", trees);
    }

    fn shell(&self, line: &str, second: bool) -> Done<f64> {
        if line.is_empty() {
            return Ok(0.0);
        }
        let log = self.home.join("log");
        let file = fs::File::create(&log).map_err(|e| about(log.display(), e))?;
        let copy = file.try_clone().map_err(|e| about(log.display(), e))?;
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.tree(second)).stdin(Stdio::null()).stdout(file).stderr(copy);
        self.surround(&mut command);
        let start = Instant::now();
        let status = command.status().map_err(|e| about(line, e))?;
        let seconds = start.elapsed().as_secs_f64();
        if status.success() {
            Ok(seconds)
        } else {
            let told = fs::read_to_string(&log).unwrap_or_default();
            Err(format!("{}: {line}: {status}\n{}", self.tool.name, &told[told.len().saturating_sub(3000)..]))
        }
    }

    fn build(&self, phase: &'static str, second: bool, into: &mut Measured) -> Done {
        let (clean, configure, build) = self.lines();
        self.shell(&clean, second)?;
        let before = super::project::events(&self.cache()).len();
        self.shell(&configure, second)?;
        let cpu = children_cpu();
        let seconds = self.shell(&build, second)?;
        into.times.entry(phase).or_default().add(seconds);
        into.cpu.entry(phase).or_default().add(children_cpu() - cpu);
        let counts = into.outcomes.entry(phase).or_default();
        counts.clear();
        for event in super::project::events(&self.cache()).split_off(before) {
            let outcome = event["outcome"].as_str().unwrap_or("?");
            let reason = event["reason"].as_str().map_or(String::new(), |r| format!(" ({r})"));
            // A compile that fails is a miss each time: configure scripts ask so.
            *counts.entry(format!("{outcome}{reason}")).or_default() += 1;
        }
        eprintln!("{:>8}  {phase:<12} {seconds:8.3} s", self.tool.name);
        Ok(())
    }

    /// Ends sccache's server, which holds the cache of the round before.
    fn stop(&self) {
        if let Some(program) = self.tool.program.as_ref().filter(|_| self.tool.name == "sccache") {
            let mut command = Command::new(program);
            self.surround(&mut command);
            let _ = command.arg("--stop-server").stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    /// One phase of a round, which begins with an empty cache.
    fn phase(&self, phase: &'static str, into: &mut Measured) -> Done {
        if phase == "cold" {
            self.stop();
            trees::remove(&self.cache())?;
        } else if self.tool.program.is_none() {
            return Ok(());
        }
        for _ in 0..if phase == "same tree" { super::RESTORES } else { 1 } {
            self.build(phase, phase.starts_with("cross"), into)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Measured {
    times: BTreeMap<&'static str, Times>,
    /// Which says more than the clock where others work on the machine.
    cpu: BTreeMap<&'static str, Times>,
    outcomes: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

pub fn run(options: &Options) -> Done {
    let (dir, name) = fetch(&options.subject, &options.root)?;
    let system = SYSTEMS.iter().find(|(file, _)| dir.join(file).exists());
    let &(_, system) = system.ok_or_else(|| format!("{}: nothing there says how to build it", dir.display()))?;
    let mut all = Vec::new();
    for asked in options.tools.as_deref().unwrap_or("none,ccache,sccache,kache").split(',') {
        let (name, program) = asked.split_once('=').map_or((asked, None), |(n, p)| (n, Some(PathBuf::from(p))));
        let name = TOOLS.iter().find(|tool| **tool == name);
        let name = *name.ok_or_else(|| format!("{asked:?} is none of {}", TOOLS.join(", ")))?;
        let program = match name {
            "none" => None,
            "kache" if program.is_none() => Some(release_build()?),
            _ => program.or_else(|| find_on_path(name)),
        };
        if name == "none" || program.is_some() {
            all.push(Tool { name, program });
        }
    }
    let tools: Vec<&Tool> = all.iter().collect();
    let families: Vec<(&str, &str)> = match options.compiler.as_deref() {
        Some("clang") => vec![("clang", "clang++")],
        Some("gcc") => vec![("gcc", "g++")],
        Some(other) => return Err(format!("--compiler is gcc or clang, not {other:?}")),
        None => vec![("gcc", "g++"), ("clang", "clang++")],
    };
    let more = if options.cmd == "build" { "" } else { options.cmd.as_str() };
    for compilers in families {
        let home = |tool: &Tool| options.root.join("cc").join(&name).join(compilers.0).join(tool.name);
        let benches: Vec<Bench> =
            tools.iter().map(|tool| Bench { system, tool, compilers, more, home: home(tool) }).collect();
        for bench in &benches {
            trees::remove(&bench.home)?;
            for second in [false, true] {
                trees::copy(&dir, &bench.tree(second))?;
            }
        }
        let mut measured: Vec<Measured> = benches.iter().map(|_| Measured::default()).collect();
        for round in 0..options.runs.unwrap_or(3) {
            // All tools side by side in each phase: machines are slower for minutes, and only ratios count.
            for phase in PHASES {
                for which in super::order(benches.len(), round) {
                    benches[which].phase(phase, &mut measured[which])?;
                }
            }
        }
        benches.iter().for_each(Bench::stop);
        tell(&name, compilers.0, &benches, &measured, options.json);
    }
    Ok(())
}

/// A directory, or a published crate whose build script compiles C: then a project that depends on it.
fn fetch(asked: &str, root: &Path) -> Done<(PathBuf, String)> {
    let given = Path::new(asked);
    if given.is_dir() {
        let dir = fs::canonicalize(given).map_err(|e| about(given.display(), e))?;
        let name = dir.file_name().map_or_else(|| asked.to_owned(), |n| n.to_string_lossy().into_owned());
        return Ok((dir, name));
    }
    let (name, features) = asked.split_once('/').unwrap_or((asked, ""));
    let dir = root.join("subjects").join(format!("uses-{name}"));
    let features: Vec<&str> = features.split('/').filter(|f| !f.is_empty()).collect();
    let manifest = format!(
        "[package]\nname = \"uses\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\n\
         {name} = {{ version = \"*\", features = {features:?} }}\n[workspace]\n"
    );
    for (file, text) in [("Cargo.toml", manifest.as_str()), ("src/main.rs", "fn main() {}\n")] {
        let place = dir.join(file);
        fs::create_dir_all(place.parent().expect("in a directory")).map_err(|e| about(place.display(), e))?;
        fs::write(&place, text).map_err(|e| about(place.display(), e))?;
    }
    subject::fetch_dependencies(&dir, false)?;
    Ok((dir, name.to_owned()))
}

fn tell(name: &str, compiler: &str, benches: &[Bench], measured: &[Measured], as_json: bool) {
    let median = |m: &Measured, phase: &str| m.times.get(phase).and_then(Times::median);
    if as_json {
        let rows = benches.iter().zip(measured).map(|(bench, m)| {
            let times: BTreeMap<_, _> = m.times.iter().map(|(phase, t)| (*phase, t.all())).collect();
            json!({"tool": bench.tool.name, "seconds": times, "outcomes": m.outcomes})
        });
        println!(
            "{}",
            json!({"version": 1, "subject": name, "compiler": compiler, "tools": rows.collect::<Vec<Value>>()})
        );
        return;
    }
    println!(
        "\n{name}, {compiler}: median (minimum to maximum), seconds\n{:<8}{}",
        "",
        PHASES.iter().map(|p| format!("{p:>24}")).collect::<String>()
    );
    for (bench, m) in benches.iter().zip(measured) {
        let cell = |phase: &&str| {
            let spread = m.times.get(phase).and_then(|t| Some((t.median()?, t.range()?)));
            let told = spread.map(|(median, (low, high))| format!("{median:.2} ({low:.2}–{high:.2})"));
            format!("{:>24}", told.unwrap_or_else(|| "-".into()))
        };
        println!("{:<8}{}", bench.tool.name, PHASES.iter().map(cell).collect::<String>());
    }
    let of = |tool: &str| benches.iter().position(|b| b.tool.name == tool).map(|at| &measured[at]);
    let ratio = |what: &str, ours: Option<f64>, theirs: Option<f64>| {
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            println!("{what}: {:.3}", ours / theirs);
        }
    };
    if let Some(kache) = of("kache") {
        ratio("cold to no cache", median(kache, "cold"), of("none").and_then(|m| median(m, "cold")));
        let cpu = |m: &Measured, phase: &str| m.cpu.get(phase).and_then(Times::median);
        ratio("cold to no cache, processor time", cpu(kache, "cold"), of("none").and_then(|m| cpu(m, "cold")));
        for phase in &PHASES[1..] {
            ratio(&format!("{phase} to ccache"), median(kache, phase), of("ccache").and_then(|m| median(m, phase)));
        }
        for phase in PHASES {
            println!("{phase}: {:?}", kache.outcomes.get(phase).cloned().unwrap_or_default());
        }
        let refused =
            |(ending, _): &(&String, &usize)| !["hit", "dup", "miss", "miss (tool-failed)"].contains(&ending.as_str());
        let all = kache.outcomes.values().flatten();
        println!("refused or not stored: {}", all.filter(refused).map(|(_, count)| count).sum::<usize>());
        let hit = |phase: &&&str| kache.outcomes.get(**phase).is_some_and(|o| o.contains_key("hit"));
        for phase in PHASES[1..].iter().filter(|p| !hit(p)) {
            println!("INVALID: nothing was restored in {phase:?}");
        }
    }
}
