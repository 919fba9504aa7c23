//! `kache show`: one entry and what its key was made of, readably.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{Table, count, printable, seconds, size};
use crate::view::{FAINT, STRONG, View};
use kache_key::{Digest, Roots};
use kache_store::{Data, Entry, Inputs, OutputKind};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;

/// Print an entry: outputs, key fields, inputs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache show 3f9a1c           the beginning of a key is enough if only one fits
  kache show 3f9a1c --json

`kache list` shows keys.")]
pub struct Args {
    /// A key, or the beginning of one
    key: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    key: String,
    name: Option<String>,
    unit: Option<String>,
    tool_ms: Option<u64>,
    outputs: Vec<Output>,
    fields: Vec<(String, String)>,
    inputs: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Output {
    path: String,
    kind: &'static str,
    bytes: u64,
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let key = find(&args.key, context)?;
    let (entry, inputs) = (context.store.entry(&key), context.store.inputs(&key));
    if entry.is_none() && inputs.is_none() {
        return Err(Fail::Failed(format!("the entry {key} is not in the cache (any longer)")));
    }
    let report = report(&key, entry, inputs);
    if args.json {
        view.json(&report)?;
    } else {
        show(&report, &mut view.out)?;
    }
    Ok(Done::Fine)
}

/// The one key that begins like this.
fn find(start: &str, context: &Context) -> Result<Digest, Fail> {
    if start.len() < 4 || start.len() > 64 || !start.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Fail::Usage(format!("{start:?} is no key: expected 4 to 64 hexadecimal digits")));
    }
    let start = start.to_ascii_lowercase();
    if let Some(whole) = Digest::from_hex(&start) {
        return Ok(whole);
    }
    // Keys are spread over directories by their first two digits.
    let shard = u16::from_str_radix(&start[..2], 16).unwrap_or_default();
    let found = ["entries", "inputs"].into_iter().flat_map(|kind| context.store.shard(kind, shard));
    let keys: BTreeSet<String> =
        found.filter_map(|f| Some(f.digest?.hex()).filter(|k| k.starts_with(&start))).collect();
    match keys.iter().filter_map(|k| Digest::from_hex(k)).collect::<Vec<_>>()[..] {
        [] => Err(Fail::Failed(format!("no key in this cache begins with {start}"))),
        [one] => Ok(one),
        ref many => Err(Fail::Failed(format!("{} keys begin with {start}: say more of it", many.len()))),
    }
}

fn report(key: &Digest, entry: Option<Entry>, inputs: Option<Inputs>) -> Report {
    let outputs = entry.iter().flat_map(|e| &e.outputs).map(|o| {
        let (kind, bytes) = match &o.kind {
            OutputKind::File { data, .. } => ("file", data_size(data)),
            OutputKind::Text { data, .. } => ("text", data_size(data)),
            OutputKind::Symlink(_) => ("link", 0),
            OutputKind::Dir => ("directory", 0),
        };
        Output { path: Roots::readable(&o.path), kind, bytes }
    });
    let streams = entry.iter().flat_map(|e| [("standard output", &e.stdout), ("standard error", &e.stderr)]);
    let streams = streams.map(|(name, data)| Output { path: name.into(), kind: "stream", bytes: data_size(data) });
    Report {
        version: 1,
        key: key.hex(),
        name: inputs.as_ref().map(|i| i.name.clone()),
        unit: inputs.as_ref().map(|i| i.unit.clone()),
        tool_ms: entry.as_ref().map(|e| e.tool_ms),
        outputs: outputs.chain(streams).collect(),
        inputs: inputs.iter().flat_map(|i| &i.inputs).map(|(what, state)| (what.clone(), state.describe())).collect(),
        fields: inputs.map_or_else(Vec::new, |i| i.fields.0),
    }
}

fn data_size(data: &Data) -> u64 {
    match data {
        Data::Inline(bytes) => bytes.len() as u64,
        Data::Blob { size, .. } => *size,
    }
}

fn show(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let unknown = || String::from("(no record of its name)");
    writeln!(
        out,
        "{STRONG}{}{STRONG:#}  {FAINT}{}{FAINT:#}",
        report.unit.as_deref().map_or_else(unknown, printable),
        report.key
    )?;
    match report.tool_ms {
        Some(ms) => writeln!(out, "{} to compile\n", seconds(ms as f64 / 1000.0))?,
        None => writeln!(out, "the entry itself is gone; this is what its key was made of\n")?,
    }
    let mut outputs = Table::new(&["output", "", ">size"]);
    for o in &report.outputs {
        outputs.row([printable(&o.path), o.kind.into(), size(o.bytes)]);
    }
    let mut fields = Table::new(&["key field", "value"]);
    for (tag, value) in &report.fields {
        fields.row([tag.clone(), printable(value)]);
    }
    outputs.write(out)?;
    writeln!(out)?;
    fields.write(out)?;
    writeln!(out, "\n{FAINT}{}{FAINT:#}", count(report.inputs.len() as u64, "input"))?;
    for (what, state) in &report.inputs {
        writeln!(out, "{}  {FAINT}{state}{FAINT:#}", printable(what))?;
    }
    Ok(())
}
