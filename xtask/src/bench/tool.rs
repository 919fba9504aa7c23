//! The tools under comparison: what each needs in its environment, and how it is stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::system::{Done, about, cargo, find_on_path, output, release_build, root};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Plain cargo.
    None,
    /// The null restorer of `floor.c`.
    Floor,
    /// The same, copying what is no library: what sharing no inode costs where there are no reflinks.
    CopyingFloor,
    /// This project.
    Ours,
    Sccache,
    /// Wraps cargo, not the compiler.
    Mbx,
    /// Any other compiler wrapper.
    Wrapper,
}

pub struct Tool {
    pub name: String,
    pub kind: Kind,
    program: PathBuf,
}

/// The tools asked for, or those that are there.
pub fn choose(asked: Option<&str>, work: &Path) -> Done<Vec<Tool>> {
    let default = || {
        let peers = ["mbx", "sccache"].into_iter().filter(|p| find_on_path(p).is_some());
        ["none", "floor", "kache"].into_iter().chain(peers).collect::<Vec<_>>().join(",")
    };
    let names = asked.map_or_else(default, str::to_owned);
    names.split(',').map(|name| tool(name, work)).collect()
}

fn tool(asked: &str, work: &Path) -> Done<Tool> {
    let (name, given) = match asked.split_once('=') {
        Some((name, path)) => (name, Some(fs::canonicalize(path).map_err(|e| about(path, e))?)),
        None => (asked, None),
    };
    let found = || given.clone().or_else(|| find_on_path(name)).ok_or_else(|| format!("{name} is not installed"));
    let (kind, program) = match (name, &given) {
        ("none", None) => (Kind::None, PathBuf::new()),
        ("floor", None) => (Kind::Floor, floor(work)?),
        ("copying-floor", None) => (Kind::CopyingFloor, floor(work)?),
        ("kache", None) => (Kind::Ours, release_build()?),
        ("sccache", _) => (Kind::Sccache, found()?),
        ("mbx", _) => (Kind::Mbx, found()?),
        (_, Some(path)) => (Kind::Wrapper, path.clone()),
        _ => return Err(format!("no tool {name:?}: give NAME=PATH")),
    };
    Ok(Tool { name: name.into(), kind, program })
}

fn floor(work: &Path) -> Done<PathBuf> {
    let (source, program) = (work.join("floor.c"), work.join("floor"));
    fs::write(&source, include_str!("floor.c")).map_err(|e| about(source.display(), e))?;
    output(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source))?;
    Ok(program)
}

/// One timed build.
pub struct Built {
    pub seconds: f64,
    /// What cargo says it compiled or checked.
    pub units: usize,
}

impl Tool {
    /// Runs cargo with this tool. `state` is the tool's own directory: its cache, its sockets, its log.
    pub fn cargo(&self, args: &[&str], cwd: &Path, state: &Path) -> Done<Built> {
        fs::create_dir_all(state).map_err(|e| about(state.display(), e))?;
        let mut command = Command::new(if self.kind == Kind::Mbx { self.program.clone() } else { cargo().into() });
        command.args(args).arg("--offline").current_dir(cwd);
        self.surround(&mut command, state);
        let log = state.join("log");
        let file = fs::File::create(&log).map_err(|e| about(log.display(), e))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let start = Instant::now();
        let status = command.status().map_err(|e| about(&self.name, e))?;
        let seconds = start.elapsed().as_secs_f64();
        let told = fs::read_to_string(&log).map_err(|e| about(log.display(), e))?;
        if !status.success() {
            return Err(format!("{}: {status} in {}\n{told}", self.name, cwd.display()));
        }
        let units = told.lines().filter(|l| l.starts_with("   Compiling ") || l.starts_with("    Checking ")).count();
        Ok(Built { seconds, units })
    }

    pub fn cache(&self, state: &Path) -> PathBuf {
        state.join("cache")
    }

    /// A clean environment: nothing of this process's own cargo, nothing of the user's wrappers.
    fn surround(&self, command: &mut Command, state: &Path) {
        let ours = ["CARGO", "KACHE", "SCCACHE", "MBX", "RUSTC", "RUSTFLAGS", "RUSTDOC", "LD_LIBRARY_PATH"];
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ours.iter().any(|p| text.starts_with(p)) && text != "CARGO_HOME" {
                command.env_remove(&name);
            }
        }
        command.env("CARGO_TERM_COLOR", "never");
        let (cache, none) = (self.cache(state), state.join("none.toml"));
        match self.kind {
            Kind::None => {}
            Kind::Floor | Kind::CopyingFloor => {
                let _ = fs::create_dir_all(&cache);
                if self.kind == Kind::CopyingFloor {
                    command.env("FLOOR_COPY", "1");
                }
                command.env("FLOOR_DIR", cache).env("CARGO_INCREMENTAL", "0").env("RUSTC_WRAPPER", &self.program);
            }
            Kind::Sccache => {
                command.env("SCCACHE_DIR", cache).env("SCCACHE_SERVER_UDS", state.join("socket"));
                command.env("CARGO_INCREMENTAL", "0").env("RUSTC_WRAPPER", &self.program);
            }
            Kind::Mbx => {
                command.env("MBX_CACHE_DIR", cache).env("MBX_DISPLAY", "plain");
            }
            Kind::Ours | Kind::Wrapper => {
                let _ = fs::write(&none, "");
                let _ = fs::create_dir_all(state.join("run"));
                command.env("KACHE_CACHE_DIR", cache).env("KACHE_CONFIG", none).env("RUSTC_WRAPPER", &self.program);
                command.env("KACHE_RUNTIME_DIR", state.join("run"));
            }
        }
    }

    /// Ends what the tool may have left running for this state.
    pub fn stop(&self, state: &Path) {
        let args: &[&str] = match self.kind {
            Kind::Sccache => &["--stop-server"],
            Kind::Wrapper => &["daemon", "stop"],
            _ => return,
        };
        let mut command = Command::new(&self.program);
        self.surround(&mut command, state);
        let _ = command.args(args).current_dir(root()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Whether the results of a first build are served at all.
    pub fn restores(&self) -> bool {
        self.kind != Kind::None
    }
}
