//! Whole processes: the CPU time of one library hit, and what kache adds before it hands over to the tool.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use serde_json::json;

use super::{Options, Times, trees};
use crate::system::{Done, about, output, release_build};

/// What a hit may cost in CPU time, and a passthrough in addition to the tool, in milliseconds.
const HIT_CPU: f64 = 3.0;
const PASSTHROUGH: f64 = 1.0;

pub fn run(options: &Options) -> Done {
    let work = options.root.join("hit");
    trees::remove(&work)?;
    fs::create_dir_all(work.join("src")).map_err(|e| about(work.display(), e))?;
    let kache = release_build()?;
    let runs = options.runs.unwrap_or(50);
    let hit = library_hit(&kache, &work, runs)?;
    let (direct, through) = passthrough(&kache, &work, runs * 4)?;
    let median = |t: &Times| t.median().unwrap_or(f64::NAN);
    let (cpu, wall) = (median(&hit.cpu), median(&hit.wall));
    let added = median(&through) - median(&direct);
    if options.json {
        let all = json!({
            "hit_cpu_ms": cpu, "hit_wall_ms": wall, "exec_ms": median(&direct), "passthrough_ms": median(&through),
            "passthrough_added_ms": added, "runs": runs,
        });
        println!("{all:#}");
        return Ok(());
    }
    let word = |holds: bool| if holds { "holds" } else { "FAILS" };
    println!(
        "{}  a library hit: {cpu:.2} ms of CPU, {wall:.2} ms of time (at most {HIT_CPU} ms of CPU)",
        word(cpu <= HIT_CPU)
    );
    println!(
        "{}  before a passthrough: {added:.2} ms over exec (at most {PASSTHROUGH} ms)",
        word(added <= PASSTHROUGH)
    );
    Ok(())
}

struct Hits {
    cpu: Times,
    wall: Times,
}

/// A library with a dependency and a few modules, compiled once and then found.
fn library_hit(kache: &Path, work: &Path, runs: usize) -> Done<Hits> {
    let write = |rel: &str, text: &str| fs::write(work.join(rel), text).map_err(|e| about(rel, e));
    write("dep.rs", "pub fn one() -> u32 { 1 }\n")?;
    let modules: String = (0..20).map(|i| format!("pub mod m{i};\n")).collect();
    write("src/lib.rs", &format!("{modules}pub fn tell() -> u32 {{ dep::one() }}\n"))?;
    for i in 0..20 {
        let body: String = (0..50).map(|n| format!("pub fn f{n}(x: u64) -> u64 {{ x.wrapping_mul({n}) }}\n")).collect();
        write(&format!("src/m{i}.rs"), &body)?;
    }
    let rustc = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let rustc = Path::new(rustc.trim()).join("bin/rustc");
    let deps = work.join("target/debug/deps");
    fs::create_dir_all(&deps).map_err(|e| about(deps.display(), e))?;
    // cargo's mark on a target directory.
    write("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n")?;
    let compile = |name: &str, source: &str| {
        let mut command = Command::new(kache);
        command.arg(&rustc).args(["--crate-name", name, "--edition=2024", source]);
        command.args(["--error-format=json", "--json=diagnostic-rendered-ansi,artifacts,future-incompat"]);
        command.args(["--crate-type", "lib", "--emit=dep-info,metadata,link", "-C", "embed-bitcode=no"]);
        command.args(["-C", "debuginfo=2", "-C", &format!("metadata=0123456789abcdef-{name}")]);
        command.args(["-C", "extra-filename=-0123456789abcdef", "--out-dir"]).arg(&deps);
        command.arg("-L").arg(format!("dependency={}", deps.display()));
        command.current_dir(work).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        command.env("KACHE_CACHE_DIR", work.join("cache")).env("KACHE_CONFIG", work.join("none.toml"));
        for (variable, value) in [("CARGO_PKG_NAME", name), ("CARGO_PKG_VERSION", "0.1.0"), ("CARGO_CRATE_NAME", name)]
        {
            command.env(variable, value);
        }
        command.env("CARGO_MANIFEST_DIR", work);
        command
    };
    write("none.toml", "")?;
    finish(compile("dep", "dep.rs"))?;
    let with_dep = || {
        let mut command = compile("unit", "src/lib.rs");
        let rmeta = deps.join("libdep-0123456789abcdef.rmeta");
        command.arg("--extern").arg(format!("dep={}", rmeta.display()));
        command
    };
    std::thread::sleep(std::time::Duration::from_millis(50));
    finish(with_dep())?;
    let mut hits = Hits { cpu: Times::default(), wall: Times::default() };
    for _ in 0..runs {
        for ending in ["rlib", "rmeta", "d"] {
            let stem = if ending == "d" { "unit" } else { "libunit" };
            let path = deps.join(format!("{stem}-0123456789abcdef.{ending}"));
            fs::remove_file(&path).map_err(|e| about(path.display(), e))?;
        }
        let spent = finish(with_dep())?;
        hits.cpu.add(spent.cpu_ms);
        hits.wall.add(spent.wall_ms);
    }
    let text = events(work);
    let found = text.lines().filter(|l| l.contains("\"hit\"")).count();
    if found == runs {
        Ok(hits)
    } else {
        Err(format!("{found} hits in {runs} runs: not a measurement of hits\n{text}"))
    }
}

/// A tool that does nothing, directly and through kache, which declines a call without `--out-dir`.
fn passthrough(kache: &Path, work: &Path, runs: usize) -> Done<(Times, Times)> {
    let (source, tool) = (work.join("rustc.c"), work.join("rustc"));
    fs::write(&source, "int main(void) { return 0; }\n").map_err(|e| about(source.display(), e))?;
    output(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&tool).arg(&source))?;
    let (mut direct, mut through) = (Times::default(), Times::default());
    for _ in 0..runs {
        let mut command = Command::new(&tool);
        direct.add(finish(quiet(command.arg("x.rs"), work))?.wall_ms);
        let mut command = Command::new(kache);
        through.add(finish(quiet(command.arg(&tool).arg("x.rs"), work))?.wall_ms);
    }
    let declined = events(work).lines().filter(|l| l.contains("\"passthrough\"")).count();
    if declined < runs { Err(format!("{declined} passthroughs in {runs} runs")) } else { Ok((direct, through)) }
}

fn events(work: &Path) -> String {
    let log = trees::files(&work.join("cache/v1/events"));
    log.iter().filter_map(|p| fs::read_to_string(p).ok()).collect()
}

fn quiet(command: &mut Command, work: &Path) -> Command {
    let mut quiet = Command::new(command.get_program());
    quiet.args(command.get_args()).current_dir(work).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.env("KACHE_CACHE_DIR", work.join("cache")).env("KACHE_CONFIG", work.join("none.toml"));
    quiet
}

struct Spent {
    cpu_ms: f64,
    wall_ms: f64,
}

/// Runs a process to its end and says what it took, children it waited for included.
fn finish(mut command: Command) -> Done<Spent> {
    let start = Instant::now();
    let child = command.spawn().map_err(|e| about("spawn", e))?;
    let pid = libc::pid_t::try_from(child.id()).map_err(|e| about("process number", e))?;
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid value of a plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals, and the child has not been waited for.
    let got = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    let wall_ms = start.elapsed().as_secs_f64() * 1e3;
    let status = ExitStatus::from_raw(status);
    if got != pid || !status.success() {
        return Err(format!("{:?}: {status}", command.get_program()));
    }
    let ms = |t: libc::timeval| t.tv_sec as f64 * 1e3 + t.tv_usec as f64 / 1e3;
    Ok(Spent { cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime), wall_ms })
}
