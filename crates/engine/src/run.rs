//! A miss: run the tool under observation, stream its output live, then record.

use crate::action::{Action, Kind};
use crate::reason::{Reason, Why};
use crate::world::World;
use crate::{Ending, Session};
use kache_key::{Digest, Form};
use kache_observe::{Trace, TraceFile};
use kache_os::{Ended, Lock, Stamp, Start, Stream, bytes};
use kache_store::Outcome;
use std::ffi::OsString;
use std::fs::File;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// Room for the trace of one action; pages that are not written cost nothing.
const TRACE_BYTES: usize = 64 << 20;

/// Streams longer than this are passed on and not stored.
pub const STREAM_LIMIT: usize = 32 << 20;

/// What a run gave beside its outputs.
pub struct Ran {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub tool_ms: u64,
    /// The file clock before the start.
    pub started: Stamp,
    pub trace: Option<TraceFile>,
    /// It left no process behind that holds its streams.
    pub silent: bool,
}

/// Keeps what puts the observer into a program alive.
struct Observer {
    trace: TraceFile,
    _library: Option<File>,
    env: Vec<(OsString, OsString)>,
}

impl Session<'_> {
    /// Runs the action and records its result; ends as the tool ended.
    pub(crate) fn run_and_record(&self, action: &Action, world: &World, weak: &Digest, lock: Option<Lock>) -> ! {
        self.unshare_outputs(action);
        let (status, ran) = match self.run(action) {
            Ok(done) => done,
            Err(error) => {
                let why = Why::new(Reason::NotStarted, &error);
                self.log(action, Outcome::Error, &Ending { why: Some(why), weak: Some(*weak), ..Ending::default() });
                self.become_tool(action)
            }
        };
        world.look_again();
        let mut ending = Ending { tool_ms: ran.tool_ms, weak: Some(*weak), ..Ending::default() };
        let recorded =
            if status.success() { self.record(action, world, weak, &ran) } else { Err(Reason::ToolFailed.into()) };
        drop(lock);
        if let Some(file) = &action.scratch_file {
            let _ = std::fs::remove_file(file);
        }
        match recorded {
            Ok(key) => (ending.stored, ending.key) = (true, Some(key)),
            Err(why) => {
                if why.reason == Reason::StoreFailed {
                    let sentence = why.reason.explanation().sentence;
                    self.warn(&format!("{sentence}: {} (kache doctor tells more)", why.detail));
                }
                ending.why = Some(why);
            }
        }
        self.log(action, Outcome::Miss, &ending);
        if ending.stored {
            self.keep_house();
        }
        kache_os::exit_like(status)
    }

    fn run(&self, action: &Action) -> std::io::Result<(ExitStatus, Ran)> {
        let observer =
            if self.settings.observe { self.observer() } else { Err(std::io::ErrorKind::Unsupported.into()) };
        if let (Err(error), true) = (&observer, self.settings.observe) {
            self.warn(&format!("nothing is stored: {error} (kache doctor tells more)"));
        }
        let observer = observer.ok();
        let mut env = self.invocation.env.clone();
        let extra = action.extra_env.iter().chain(observer.iter().flat_map(|o| &o.env));
        // What a script compiles is part of its own action: it is observed, not cached once more.
        env.retain(|(name, _)| action.kind != Kind::BuildScript || name != "RUSTC_WRAPPER");
        for (name, value) in extra {
            env.retain(|(n, _)| n != name);
            env.push((name.clone(), value.clone()));
        }
        self.settle(action);
        let started = kache_os::file_clock()?;
        let clock = Instant::now();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let ended = self.pass_on(action, &env, &mut |stream, chunk| {
            let kept = match stream {
                Stream::Out => &mut stdout,
                Stream::Err => &mut stderr,
            };
            if kept.len() <= STREAM_LIMIT {
                kept.extend_from_slice(chunk);
            }
            if action.json && stream == Stream::Err {
                self.remember_metadata(action, chunk);
            }
        })?;
        let tool_ms = clock.elapsed().as_millis() as u64;
        let trace = observer.map(|o| o.trace);
        Ok((ended.status, Ran { stdout, stderr, tool_ms, started, trace, silent: ended.silent }))
    }

    /// Runs the tool and passes on what it says, as it comes; `hear` is told before. Messages are lines, cargo acts on whole
    /// ones only, and they name files as if there were no maps.
    pub(crate) fn pass_on(
        &self,
        action: &Action,
        env: &[(OsString, OsString)],
        hear: &mut dyn FnMut(Stream, &[u8]),
    ) -> std::io::Result<Ended> {
        let start = Start { program: &action.program, argv0: &action.argv0, args: &action.args, env };
        let form = if action.json { Form::Json } else { Form::Plain };
        let in_lines = action.json || !action.mapped.maps.is_empty();
        let mut unfinished = Vec::new();
        let mut say = |stream, said: &[u8]| {
            hear(stream, said);
            kache_os::write_stream(stream, said)
        };
        let ended = kache_os::run_streaming(&start, |stream, chunk| {
            if !in_lines || stream == Stream::Out {
                return say(stream, chunk);
            }
            let ends = memchr::memrchr(b'\n', chunk).map(|at| unfinished.len() + at + 1);
            unfinished.extend_from_slice(chunk);
            // A line that is too long to store is no message: it must not fill memory until it ends.
            let whole = ends.unwrap_or(if unfinished.len() > STREAM_LIMIT { unfinished.len() } else { 0 });
            let lines: Vec<u8> = unfinished.drain(..whole).collect();
            say(stream, &action.mapped.undo(&lines, form))
        })?;
        let _ = say(Stream::Err, &action.mapped.undo(&unfinished, form));
        Ok(ended)
    }

    /// A link follows upon the archive it links by a millisecond or two, a configure script's compile upon its source, and
    /// would always be too new to be stored: until the file clock's next tick (1 to 10 ms), what waiting costs there, it
    /// saves each time after.
    fn settle(&self, action: &Action) {
        let files: Vec<_> = action.settles.iter().filter_map(|f| kache_os::stat(f).ok()).collect();
        let is_new = |now: Stamp| files.iter().any(|m| !m.settled(now, self.settings.too_new_ms));
        for _ in 0..12 {
            if !kache_os::file_clock().is_ok_and(is_new) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn observer(&self) -> std::io::Result<Observer> {
        let trace = Trace::create(TRACE_BYTES)?;
        let placed = self.store.place_tool(&self.memo, "observe.so", kache_observe::PRELOAD, true)?;
        // The loader's list is separated by spaces and colons; a path with one is named through our descriptor.
        let awkward = bytes(&placed).iter().any(|b| b" :$".contains(b));
        let library = if awkward { Some(File::open(&placed)?) } else { None };
        let path = library.as_ref().map_or(placed, kache_os::fd_path);
        let mut preload = path.into_os_string();
        if let Some(own) = self.invocation.var(kache_observe::ENV_PRELOAD).filter(|v| !v.is_empty()) {
            preload.push(":");
            preload.push(own);
        }
        let env = vec![
            (OsString::from(kache_observe::ENV_PRELOAD), preload),
            (OsString::from(kache_observe::ENV_TRACE), trace.env_value().into()),
        ];
        Ok(Observer { trace, _library: library, env })
    }

    /// rustc tells when metadata is written, and cargo starts dependents at once. They find it milliseconds old: its
    /// digest is on record before they are told.
    fn remember_metadata(&self, action: &Action, chunk: &[u8]) {
        for line in chunk.split(|b| *b == b'\n') {
            if memchr::memmem::find(line, b"\"emit\":\"metadata\"").is_none() {
                continue;
            }
            let Ok(message) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
            let Some(path) = message["artifact"].as_str().map(std::path::Path::new) else { continue };
            let known = kache_os::stat(path).and_then(|meta| Ok((meta, Digest::of_reader(&mut File::open(path)?)?)));
            if let Ok((meta, digest)) = known {
                self.remember(action, path, &meta, digest);
            }
        }
    }

    /// Eviction and sweeps run by themselves: detached, at most one each ten minutes.
    fn keep_house(&self) {
        if self.store.housekeeping_due()
            && let Ok(me) = std::env::current_exe()
        {
            let _ = kache_os::start_detached(&me.with_file_name("kache-cli"), &["gc", "--auto"]);
        }
    }
}

/// Whether anything but artifact notices was said.
pub fn said_something(action: &Action, stderr: &[u8]) -> bool {
    let notice =
        |line: &[u8]| line.is_empty() || memchr::memmem::find(line, b"\"$message_type\":\"artifact\"").is_some();
    action.kind != Kind::Query && !stderr.split(|b| *b == b'\n').all(notice)
}
