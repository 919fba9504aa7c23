//! The report as a trace that Perfetto and Chrome's viewer open: a process for each build directory, a lane for each
//! invocation that ran beside others, a slice for each invocation.

use super::{Unit, timeline};
use kache_store::Event;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write};

pub fn write(events: &[Event], out: &mut dyn Write) -> io::Result<()> {
    let mut dirs: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        dirs.entry(event.build_dir.as_deref().unwrap_or("no build directory")).or_default().push(event);
    }
    let mut first = true;
    let mut put = |event: serde_json::Value, out: &mut dyn Write| {
        write!(out, "{}", if std::mem::take(&mut first) { "\n" } else { ",\n" })?;
        serde_json::to_writer(out, &event).map_err(io::Error::from)
    };
    write!(out, "{{\"displayTimeUnit\":\"ms\",\"otherData\":")?;
    serde_json::to_writer(&mut *out, &json!({ "kache": env!("CARGO_PKG_VERSION"), "version": 1 }))?;
    write!(out, ",\"traceEvents\":[")?;
    for (n, (dir, events)) in dirs.into_iter().enumerate() {
        let pid = n + 1;
        put(json!({ "ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": { "name": dir } }), out)?;
        let units = timeline(&events);
        for lane in 0..units.iter().map(|u| u.lane + 1).max().unwrap_or(0) {
            let (tid, name) = (lane + 1, format!("lane {}", lane + 1));
            put(json!({ "ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": { "name": name } }), out)?;
            let order = json!({ "sort_index": lane });
            put(json!({ "ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": order }), out)?;
        }
        for unit in units {
            put(slice(&unit, pid), out)?;
        }
    }
    writeln!(out, "\n]}}")
}

/// Microseconds are the format's unit.
fn slice(unit: &Unit, pid: usize) -> serde_json::Value {
    let micros = |ms: f64| (ms * 1000.0).round() as u64;
    let args = json!({
        "outcome": unit.outcome, "action": unit.action, "reason": unit.reason, "tool_ms": unit.tool_ms,
    });
    json!({
        "ph": "X", "name": format!("{} ({})", unit.unit, unit.outcome), "cat": unit.outcome,
        "ts": micros(unit.begin_ms), "dur": micros(unit.ms), "pid": pid, "tid": unit.lane + 1, "args": args,
    })
}
