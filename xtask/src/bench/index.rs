//! The commands for people on a large synthetic store: time until the first output, whole time, memory.

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use kache_key::{Description, Digest};
use kache_store::event::DAY_MS;
use kache_store::{Data, Entry, Event, Inputs, Outcome, Output, OutputKind, Store};
use serde_json::json;

use super::{Options, Times, trees};
use crate::system::{Done, about, release_build};

const ENTRIES: u64 = 100_000;
const EVENTS: u64 = 1_000_000;
const DAYS: u64 = 30;

/// With an index that is up to date: until the first output, and the most memory.
const FIRST_MS: f64 = 200.0;
const MEMORY_MB: f64 = 150.0;

const COMMANDS: [&[&str]; 14] = [
    &["list"],
    &["list", "--sort", "size"],
    &["list", "crate-7"],
    &["list", "--json"],
    &["stats"],
    &["stats", "--since", "all"],
    &["report", "--since", "all"],
    &["report", "--format", "html"],
    &["report", "--format", "json", "--since", "all"],
    &["explain"],
    &["explain", "crate-7"],
    &["explain", "--since", "1h"],
    &["explain", "--since", "24h"],
    &["show", "KEY"],
];

pub fn run(options: &Options) -> Done {
    let work = options.root.join("index");
    trees::remove(&work)?;
    let cli = release_build()?.with_file_name("kache-cli");
    eprintln!("{ENTRIES} entries and {EVENTS} events in {}", work.display());
    synthesize(&work)?;
    // Directories that changed a moment ago are looked at once more.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let built = measure(&cli, &["stats"], &work)?;
    measure(&cli, &["stats"], &work)?;
    let size = fs::metadata(work.join("v1/index.db")).map_or(0, |m| m.len()) as f64 / 1e6;
    let mut rows = Vec::new();
    let known = &Digest::of(&7u64.to_le_bytes()).hex()[..12];
    for command in COMMANDS.map(|words| words.iter().map(|w| if *w == "KEY" { known } else { w }).collect::<Vec<_>>()) {
        let (mut first, mut whole, mut memory) = (Times::default(), Times::default(), Times::default());
        for _ in 0..options.runs.unwrap_or(5) {
            let run = measure(&cli, &command, &work)?;
            first.add(run.first_ms);
            whole.add(run.whole_ms);
            memory.add(run.memory_mb);
        }
        let median = |t: &Times| t.median().unwrap_or(f64::NAN);
        let most = memory.range().map_or(f64::NAN, |(_, most)| most);
        rows.push((command.join(" "), median(&first), median(&whole), most));
    }
    trees::remove(&work)?;
    if options.json {
        let rows = rows.iter().map(|(command, first, whole, memory)| {
            json!({ "command": command, "first_ms": first, "whole_ms": whole, "memory_mb": memory })
        });
        let all = json!({
            "entries": ENTRIES, "events": EVENTS, "index_mb": size,
            "building": { "ms": built.whole_ms, "memory_mb": built.memory_mb }, "commands": rows.collect::<Vec<_>>(),
        });
        println!("{all:#}");
        return Ok(());
    }
    let (seconds, memory) = (built.whole_ms / 1e3, built.memory_mb);
    println!("building the index: {seconds:.1} s, {memory:.0} MB of memory; it has {size:.0} MB");
    for (command, first, whole, memory) in &rows {
        let word = if *first <= FIRST_MS && *memory <= MEMORY_MB { "holds" } else { "FAILS" };
        println!("{word}  {command:<34} first output {first:>5.0} ms, whole {whole:>5.0} ms, memory {memory:>4.0} MB");
    }
    println!("(at most {FIRST_MS} ms until the first output, and {MEMORY_MB} MB)");
    Ok(())
}

fn synthesize(work: &Path) -> Done {
    let store = Store::new(work, None);
    let wrong = |e: std::io::Error| about(work.display(), e);
    let key = |n: u64| Digest::of(&n.to_le_bytes());
    for n in 0..ENTRIES {
        // Each tenth has the same outputs as another.
        let bytes = (n - u64::from(n % 10 == 9)).to_le_bytes().repeat(8);
        let blob = Digest::of(&bytes);
        store.put_bytes(&bytes, &blob).map_err(wrong)?;
        let data = Data::Blob { digest: blob, size: bytes.len() as u64 };
        let output =
            Output { path: b"out".to_vec(), kind: OutputKind::File { data, executable: false }, shared: false };
        let none = || Data::Inline(Vec::new());
        let (tool_ms, boot) = (n % 9000, String::new());
        let entry = Entry { outputs: vec![output], stdout: none(), stderr: none(), tool_ms, boot };
        store.put_entry(&key(n), &entry).map_err(wrong)?;
        let (name, unit) = names(n);
        let inputs = Inputs { name, unit, weak: key(n), fields: Description(Vec::new()), inputs: Vec::new() };
        store.put_inputs(&key(n), &inputs).map_err(wrong)?;
    }
    let dir = store.root().join("events");
    fs::create_dir_all(&dir).map_err(wrong)?;
    let last = Event::now_ms() / DAY_MS;
    for day in 0..DAYS {
        let number = last + 1 + day - DAYS;
        let mut log = BufWriter::new(fs::File::create(dir.join(format!("{number:06}.jsonl"))).map_err(wrong)?);
        let count = EVENTS / DAYS + u64::from(day < EVENTS % DAYS);
        for n in 0..count {
            // Scattered over entries, in the same way each time.
            let about = (day * count + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let line =
                serde_json::to_vec(&event(number * DAY_MS + n * DAY_MS / count, about, &key)).unwrap_or_default();
            log.write_all(&line).and_then(|()| log.write_all(b"\n")).map_err(wrong)?;
        }
        log.flush().map_err(wrong)?;
    }
    Ok(())
}

const SCRIPT: &str = "build_script_build";

/// Of an entry: crate and unit. Each fifth is a compiled build script, all of which are crates of one name.
fn names(n: u64) -> (String, String) {
    let name = if n.is_multiple_of(5) { SCRIPT.to_string() } else { format!("crate-{}", n % 2000) };
    let unit = format!("{name}-{n:016x}");
    (name, unit)
}

fn event(time: u64, about: u64, key: &dyn Fn(u64) -> Digest) -> Event {
    let entry = about % ENTRIES;
    let (name, unit) = names(entry);
    let (outcome, reason) = match about % 20 {
        0..14 => (Outcome::Hit, None),
        14..18 => (Outcome::Miss, None),
        18 => (Outcome::Miss, Some("too-new")),
        _ => (Outcome::Passthrough, Some("unknown-flag")),
    };
    let build_dir = format!("/home/someone/project-{}/target", about % 5);
    let output = format!("{build_dir}/debug/deps/lib{unit}.rlib");
    let file = if name == SCRIPT { "build.rs" } else { "src/lib.rs" };
    let source = format!("/home/someone/.cargo/registry/src/crate-{}-1.{}.0/{file}", entry % 2000, entry % 7);
    Event {
        v: kache_store::event::VERSION,
        time,
        outcome,
        action: if about.is_multiple_of(7) { "build-script" } else { "rustc" }.into(),
        name,
        unit,
        source: Some(source),
        output: Some(output),
        reason: reason.map(str::to_owned),
        detail: reason.map(|_| format!("/home/someone/project/src/file-{entry}.rs")),
        stored: outcome == Outcome::Miss,
        ms: (about % 5000) as f64 / 10.0,
        tool_ms: about % 9000,
        dir: "/home/someone/project".into(),
        weak: Some(key(entry).hex()),
        key: Some(key(entry).hex()),
        linked: about % 100_000,
        cloned: 0,
        copied: about % 1000,
        build_dir: Some(build_dir),
    }
}

struct Run {
    first_ms: f64,
    whole_ms: f64,
    memory_mb: f64,
}

fn measure(cli: &Path, command: &[&str], work: &Path) -> Done<Run> {
    let start = Instant::now();
    let mut child = Command::new(cli)
        .args(command)
        .env("KACHE_CACHE_DIR", work)
        .env("KACHE_CONFIG", work.join("none.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| about(cli.display(), e))?;
    let mut out = child.stdout.take().ok_or("no pipe")?;
    let mut buffer = vec![0; 1 << 16];
    let mut first_ms = None;
    while out.read(&mut buffer).map_err(|e| about("read", e))? > 0 {
        first_ms.get_or_insert_with(|| start.elapsed().as_secs_f64() * 1e3);
    }
    let pid = libc::pid_t::try_from(child.id()).map_err(|e| about("process number", e))?;
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid value of a plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals, and the child has not been waited for.
    let got = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    let whole_ms = start.elapsed().as_secs_f64() * 1e3;
    match first_ms.filter(|_| got == pid && status == 0) {
        Some(first_ms) => Ok(Run { first_ms, whole_ms, memory_mb: usage.ru_maxrss as f64 / 1024.0 }),
        None => Err(format!("kache {}: status {status}, or no output", command.join(" "))),
    }
}
