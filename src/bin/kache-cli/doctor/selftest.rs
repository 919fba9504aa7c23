//! Does it work? Compiles a tiny crate and a C file, in a cache of its own: as the plain compiler, stored, restored, and
//! again after a file that no command line names has changed; and compares what was observed with what must be seen.

use super::{Finding, note, ok, problem};
use crate::{Context, shims};
use kache_key::Digest;
use kache_store::{Event, Outcome, Store};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One compile.
struct Case {
    about: &'static str,
    tool: PathBuf,
    args: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
    output: &'static str,
    /// The file that changes, and what it then holds.
    change: (&'static str, &'static str),
    /// Endings of what must be among the observed inputs.
    seen: &'static [&'static str],
}

/// An object: kache maps places in a library's metadata, which then differs from the plain compiler's.
const RUST: &[(&str, &str)] = &[
    (
        "lib.rs",
        "#[unsafe(no_mangle)]\npub fn part() -> (&'static str, bool) {\n    \
         (include_str!(\"part.txt\"), option_env!(\"SELF_TEST\").is_some())\n}\n",
    ),
    ("part.txt", "one"),
];
const C: &[(&str, &str)] =
    &[("x.c", "#include <part.h>\nint x = PART;\n"), ("first/other.h", ""), ("second/part.h", "#define PART 1\n")];

pub fn run(context: &Context, dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    match rustc(context) {
        Err(why) => findings.push(note("self-test, Rust", why, "see that rustc is on PATH and runs")),
        Ok(tool) => {
            let case = Case {
                about: "self-test, Rust",
                tool,
                args: &[
                    "--crate-name",
                    "part",
                    "--crate-type",
                    "lib",
                    "--edition",
                    "2024",
                    "--emit",
                    "dep-info,obj",
                    "--out-dir",
                    "out",
                    "lib.rs",
                ],
                files: RUST,
                output: "out/part.o",
                change: ("part.txt", "two"),
                seen: &["/lib.rs", "/part.txt", "variable SELF_TEST"],
            };
            findings.push(finding(&case, context, &dir.join("rust")));
        }
    }
    match shims::compilers(context, Path::new("")).remove(std::ffi::OsStr::new("cc")) {
        None => {
            findings.push(note("self-test, C", "no cc on PATH: not tried", "install a C compiler, if you need one"))
        }
        Some(tool) => {
            let case = Case {
                about: "self-test, C",
                tool,
                args: &["-Ifirst", "-Isecond", "-c", "x.c", "-o", "out/x.o"],
                files: C,
                output: "out/x.o",
                change: ("second/part.h", "#define PART 2\n"),
                seen: &["/x.c", "/first/part.h", "/second/part.h"],
            };
            findings.push(finding(&case, context, &dir.join("c")));
        }
    }
    findings
}

/// The toolchain's own, not a proxy in front of it.
fn rustc(context: &Context) -> Result<PathBuf, String> {
    let mut ask = Command::new("rustc");
    ask.args(["--print", "sysroot"]).current_dir(&context.cwd).stdin(Stdio::null());
    let output = ask.output().map_err(|e| format!("rustc can't be run: {e}"))?;
    if !output.status.success() {
        return Err(format!("rustc does not tell its place: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("bin/rustc"))
}

fn finding(case: &Case, context: &Context, dir: &Path) -> Finding {
    let bench = Bench { case, context, dir };
    match bench.run() {
        Ok(seen) => ok(case.about, seen),
        Err(Wrong::NotHere(why)) => note(case.about, why, "correct what the compiler says, then try again"),
        Err(Wrong::Kache(why)) => problem(
            case.about,
            why,
            "do not rely on kache here: set KACHE_DISABLED=1, and report this with the output of kache doctor --json",
        ),
        Err(Wrong::NotStored(why)) => problem(
            case.about,
            format!("nothing was stored: {why}"),
            "results are right, but each compile runs again: correct what is named here and above, then try again; if \
             that does not help, report this with the output of kache doctor --json",
        ),
    }
}

enum Wrong {
    /// The compiler alone does not do it.
    NotHere(String),
    NotStored(String),
    Kache(String),
}

impl From<std::io::Error> for Wrong {
    fn from(e: std::io::Error) -> Wrong {
        Wrong::NotHere(e.to_string())
    }
}

struct Bench<'a> {
    case: &'a Case,
    context: &'a Context,
    dir: &'a Path,
}

impl Bench<'_> {
    fn run(&self) -> Result<String, Wrong> {
        let store = Store::new(&self.dir.join("cache"), None);
        // So that no housekeeping is started for a cache that is gone in a moment.
        let _ = store.housekeeping_due();
        for (file, text) in self.case.files {
            self.write(file, text)?;
        }
        let plain = self.plain()?;
        let (bytes, event) = self.through_kache(&store)?;
        self.same(&bytes, &plain, "a compile through kache gave other bytes than without")?;
        let stored = event.outcome == Outcome::Miss && event.stored;
        if !stored {
            return Err(Wrong::NotStored(why(&event)));
        }
        let (bytes, hit) = self.through_kache(&store)?;
        if hit.outcome != Outcome::Hit {
            return Err(Wrong::NotStored(format!("the second compile was no hit but a {:?}", hit.outcome)));
        }
        self.same(&bytes, &plain, "a restored file differs from the compiler's")?;
        let observed = self.context.settings.observe && kache_observe::SUPPORTED;
        let inputs =
            if observed { format!("{} inputs observed", self.seen(&store, &event)?) } else { "not observed".into() };

        let (file, text) = self.case.change;
        self.write(file, text)?;
        let plain_now = self.plain()?;
        let (bytes, changed) = self.through_kache(&store)?;
        if changed.outcome != Outcome::Miss || plain_now == plain {
            return Err(Wrong::Kache(format!("{file} was changed and kache did not see it")));
        }
        self.same(&bytes, &plain_now, "after a change kache gave other bytes than the compiler")?;
        Ok(format!("stored, restored to the byte, and a change seen; {inputs}"))
    }

    fn same(&self, bytes: &[u8], plain: &[u8], otherwise: &str) -> Result<(), Wrong> {
        if bytes == plain { Ok(()) } else { Err(Wrong::Kache(otherwise.into())) }
    }

    /// What must be among the inputs is.
    fn seen(&self, store: &Store, event: &Event) -> Result<usize, Wrong> {
        let key = event.key.as_deref().and_then(Digest::from_hex);
        let inputs =
            key.and_then(|k| store.inputs(&k)).ok_or_else(|| Wrong::NotStored("no record of inputs".into()))?;
        let names: Vec<&str> = inputs.inputs.iter().map(|(what, _)| what.as_str()).collect();
        match self.case.seen.iter().find(|end| !names.iter().any(|n| n.ends_with(**end))) {
            None => Ok(names.len()),
            Some(missing) => Err(Wrong::Kache(format!("the observer did not see {missing:?}"))),
        }
    }

    fn path(&self, rel: &str) -> PathBuf {
        self.dir.join("w").join(rel)
    }

    /// Writes a file and waits until it is not too new for a result to be stored.
    fn write(&self, rel: &str, text: &str) -> Result<(), Wrong> {
        let path = self.path(rel);
        std::fs::create_dir_all(path.parent().unwrap_or(self.dir))?;
        std::fs::create_dir_all(self.path("out"))?;
        std::fs::write(&path, text)?;
        let start = Instant::now();
        while !kache_os::stat(&path)?.settled(kache_os::file_clock()?, self.context.settings.too_new_ms) {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(Wrong::NotHere("the clock of the file system does not move on".into()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let foreign = |name: &str| !(name.starts_with("KACHE_") || name.starts_with("RUSTC_") || name == "SELF_TEST");
        let env = self.context.env.iter().filter(|(name, _)| foreign(name));
        command.env_clear().envs(env).current_dir(self.path("")).stdin(Stdio::null());
        command
    }

    fn plain(&self) -> Result<Vec<u8>, Wrong> {
        let output = self.command(&self.case.tool).args(self.case.args).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(Wrong::NotHere(format!("{} fails: {said}", self.case.tool.display())));
        }
        self.take_output()
    }

    /// The output's bytes; it is removed.
    fn take_output(&self) -> Result<Vec<u8>, Wrong> {
        let path = self.path(self.case.output);
        let bytes = std::fs::read(&path)?;
        std::fs::remove_file(&path)?;
        Ok(bytes)
    }

    fn through_kache(&self, store: &Store) -> Result<(Vec<u8>, Event), Wrong> {
        let mut command = self.command(&self.context.wrapper());
        command.arg(&self.case.tool).args(self.case.args);
        command.env("KACHE_CACHE_DIR", self.dir.join("cache")).env("KACHE_CONFIG", self.dir.join("none.toml"));
        command.env("KACHE_OBSERVE", if self.context.settings.observe { "1" } else { "0" });
        let output = command.output().map_err(|e| Wrong::Kache(format!("the wrapper can't be run: {e}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(Wrong::Kache(format!("fails through kache: {said}")));
        }
        let mut last = None;
        store.each_event(0, |event| last = Some(event))?;
        let event = last.ok_or_else(|| Wrong::NotStored("kache wrote no event".into()))?;
        let bytes = self.take_output().map_err(|_| Wrong::Kache("there is no output".into()))?;
        Ok((bytes, event))
    }
}

fn why(event: &Event) -> String {
    let reason = event.reason.as_deref().map_or("no reason given", crate::history::sentence);
    let detail = event.detail.as_ref().map_or(String::new(), |d| format!(" ({d})"));
    format!("{reason}{detail}")
}
