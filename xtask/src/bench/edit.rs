//! The edit loop: a function is appended to one file and the project built, again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::tool::{self, Kind, Tool};
use super::{Options, Times, subject, trees};
use crate::system::{Done, about, cargo, output};

/// What later and first edits must keep to, as ratios to plain cargo.
const LATER: f64 = 1.02;
const FIRST: f64 = 1.05;

struct Loop<'a> {
    tool: &'a Tool,
    home: PathBuf,
    tree: PathBuf,
    text: String,
    times: Times,
}

pub fn run(options: &Options) -> Done {
    fs::create_dir_all(&options.root).map_err(|e| about(options.root.display(), e))?;
    let subject = subject::fetch(&options.subject, &options.root)?;
    let file = match &options.file {
        Some(file) => PathBuf::from(file),
        None => largest_crate(&subject.dir)?,
    };
    let tools = tool::choose(Some(options.tools.as_deref().unwrap_or("none,kache")), &options.root)?;
    let args: Vec<&str> = options.cmd.split_whitespace().collect();
    eprintln!("{}: {}", subject.name, file.display());

    let mut loops = Vec::new();
    for tool in &tools {
        let home = options.root.join("edit").join(&tool.name);
        trees::remove(&home)?;
        let checkouts = if options.restored { &["a/src", "second-checkout/src"][..] } else { &["a/src"] };
        let mut tree = home.clone();
        for checkout in checkouts {
            tree = home.join(checkout);
            trees::copy(&subject.dir, &tree)?;
            tool.cargo(&args, &tree, &home.join("state"))?;
        }
        let path = tree.join(&file);
        let text = fs::read_to_string(&path).map_err(|e| about(path.display(), e))?;
        loops.push(Loop { tool, home, tree, text, times: Times::default() });
    }
    for edit in 0..options.runs.unwrap_or(7) {
        for one in &mut loops {
            let more = format!("\n#[allow(dead_code)]\nfn kache_edit_{edit}() -> u32 {{\n    {edit}\n}}\n");
            let path = one.tree.join(&file);
            fs::write(&path, format!("{}{more}", one.text)).map_err(|e| about(path.display(), e))?;
            // An editor's pause: longer than any too-new margin, and not part of what is measured.
            std::thread::sleep(Duration::from_millis(300));
            let built = one.tool.cargo(&args, &one.tree, &one.home.join("state"))?;
            one.times.add(built.seconds);
            eprintln!("{:>10}  edit {edit}  {:8.3} s, {} units", one.tool.name, built.seconds, built.units);
        }
    }
    for one in &loops {
        one.tool.stop(&one.home.join("state"));
    }
    report(options, &subject.name, &loops);
    Ok(())
}

/// First, and the median of the others.
fn summary(times: &Times) -> Option<(f64, f64)> {
    let (first, later) = times.all().split_first()?;
    Some((*first, Times(later.to_vec()).median()?))
}

fn report(options: &Options, subject: &str, loops: &[Loop<'_>]) {
    let start = if options.restored { "restored" } else { "cold" };
    let row = |l: &Loop<'_>| {
        let (first, later) = summary(&l.times).unzip();
        json!({"tool": l.tool.name, "first": first, "later": later, "all": l.times.all()})
    };
    if options.json {
        let rows: Vec<Value> = loops.iter().map(row).collect();
        println!("{:#}", json!({"subject": subject, "after": start, "tools": rows}));
        return;
    }
    println!("\n{subject}, edits after a {start} build: seconds\n");
    let plain = loops.iter().find(|l| l.tool.kind == Kind::None).and_then(|l| summary(&l.times));
    for one in loops {
        let Some((first, later)) = summary(&one.times) else { continue };
        println!("{:<10} first {first:7.3}  later {later:7.3}", one.tool.name);
        if let (Kind::Ours, Some((plain_first, plain_later))) = (one.tool.kind, plain) {
            for (what, ratio, most) in [("first", first / plain_first, FIRST), ("later", later / plain_later, LATER)] {
                let word = if ratio <= most { "holds" } else { "FAILS" };
                println!("{word}  {what} edit: {ratio:.3} × plain cargo (at most {most})");
            }
        }
    }
}

/// The root file of the workspace crate with the most source text.
fn largest_crate(dir: &Path) -> Done<PathBuf> {
    let text = output(
        Command::new(cargo()).args(["metadata", "--no-deps", "--format-version=1", "--offline"]).current_dir(dir),
    )?;
    let metadata: Value = serde_json::from_str(&text).map_err(|e| about("cargo metadata", e))?;
    let mut best = (0, None);
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let target = |kind: &str| {
            let is = |t: &&Value| t["kind"].as_array().is_some_and(|k| k.iter().any(|k| k == kind));
            package["targets"].as_array()?.iter().find(is)?["src_path"].as_str().map(PathBuf::from)
        };
        let Some(root) = target("lib").or_else(|| target("bin")) else { continue };
        let below = trees::files(root.parent().unwrap_or(dir));
        let rust = below.iter().filter(|p| p.extension().is_some_and(|e| e == "rs"));
        let size: u64 = rust.filter_map(|p| fs::metadata(p).ok()).map(|m| m.len()).sum();
        if size > best.0 {
            best = (size, Some(root));
        }
    }
    let root = best.1.ok_or("no crate with a library or an executable")?;
    root.strip_prefix(dir).map(Path::to_owned).map_err(|e| about(root.display(), e))
}
