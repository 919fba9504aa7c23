//! One run of cargo: its time, what it compiled, and what it said. Knows nothing about caches.

use crate::fail::Fail;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// What came of a run.
pub struct Ran {
    pub seconds: f64,
    pub status: ExitStatus,
    /// Units of the build, and those of them that were not fresh.
    pub units: usize,
    pub compiled: BTreeSet<String>,
    /// Everything on standard error.
    pub said: String,
}

enum News {
    Unit { name: String, fresh: bool },
    Said(Vec<u8>),
}

/// Runs cargo. `progress` gets the number of units done and is called now and then; when `interrupted` is set, cargo and
/// all it started are killed.
pub fn run(mut command: Command, interrupted: &AtomicBool, progress: &mut dyn FnMut(usize, f64)) -> Result<Ran, Fail> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    kache_os::own_group(&mut command);
    let start = Instant::now();
    let mut child = command.spawn().map_err(|e| Fail::Failed(format!("cargo can't be run: {e}")))?;
    let (sender, news) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|out| reader(out, sender.clone(), unit_of)),
        child.stderr.take().map(|err| reader(err, sender.clone(), |line| Some(News::Said(line.to_vec())))),
    ];
    drop(sender);
    let (mut units, mut compiled, mut said) = (0, BTreeSet::new(), Vec::new());
    loop {
        match news.recv_timeout(Duration::from_millis(100)) {
            Ok(News::Unit { name, fresh }) => {
                units += 1;
                if !fresh {
                    compiled.insert(name);
                }
            }
            Ok(News::Said(line)) => said.extend(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if interrupted.load(Ordering::Relaxed) {
            kache_os::kill_group(&child);
            child.wait()?;
            return Err(Fail::Interrupted);
        }
        progress(units, start.elapsed().as_secs_f64());
    }
    let status = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    // An interrupt may also have ended cargo before we saw the flag.
    if interrupted.load(Ordering::Relaxed) {
        return Err(Fail::Interrupted);
    }
    Ok(Ran { seconds, status, units, compiled, said: String::from_utf8_lossy(&said).into_owned() })
}

fn reader(
    stream: impl Read + Send + 'static,
    news: Sender<News>,
    meaning: fn(&[u8]) -> Option<News>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut lines, mut line) = (BufReader::new(stream), Vec::new());
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if let Some(item) = meaning(&line)
                && news.send(item).is_err()
            {
                return;
            }
            line.clear();
        }
    })
}

/// The unit that a line of cargo's messages tells of.
fn unit_of(line: &[u8]) -> Option<News> {
    let message: Value = serde_json::from_slice(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let name = message["target"]["name"].as_str()?;
    let kind = message["target"]["kind"][0].as_str().unwrap_or("");
    Some(News::Unit { name: format!("{name} ({kind})"), fresh: message["fresh"].as_bool()? })
}

/// Of what cargo said, the part about the failure.
pub fn failure(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.iter().position(|l| l.starts_with("error")).unwrap_or(lines.len().saturating_sub(40));
    let rest = &lines[from..];
    match rest.len() {
        n if n > 80 => format!("{}\n… ({} more lines)", rest[..80].join("\n"), n - 80),
        _ => rest.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn units_are_counted() {
        let script = r#"
            echo '{"reason":"compiler-artifact","target":{"name":"a","kind":["lib"]},"fresh":false}'
            echo '{"reason":"compiler-artifact","target":{"name":"b","kind":["bin"]},"fresh":true}'
            echo not json; echo '{"reason":"build-finished"}'; echo 'error: x' >&2; exit 3"#;
        let ran = run(shell(script), &AtomicBool::new(false), &mut |_, _| {}).unwrap();
        assert_eq!((ran.units, ran.compiled.into_iter().collect::<Vec<_>>()), (2, vec!["a (lib)".to_string()]));
        assert_eq!((ran.status.code(), ran.said.as_str()), (Some(3), "error: x\n"));
    }

    /// Guards: an interrupt ends cargo and what it started, at once.
    #[test]
    fn interrupts_end_all() {
        let start = Instant::now();
        let stop = AtomicBool::new(true);
        let ended = run(shell("sleep 60 & sleep 60"), &stop, &mut |_, _| {});
        assert!(matches!(ended, Err(Fail::Interrupted)));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn failures_begin_at_the_error() {
        assert_eq!(failure("  Compiling a\nerror[E1]: x\n --> y\n"), "error[E1]: x\n --> y");
        assert_eq!(failure("nothing\n"), "nothing");
    }
}
