//! The commands for people: what they say of a good, an empty and a damaged cache, and where nobody watches.

use std::fs;

use serde_json::Value;

use crate::commands::faults_of;
use crate::common::*;

pub const COMMANDS: [&str; 18] = [
    "init",
    "try",
    "stats",
    "report",
    "list",
    "explain",
    "show",
    "monitor",
    "doctor",
    "gc",
    "purge",
    "clean",
    "run",
    "shims",
    "config",
    "completions",
    "man",
    "uninit",
];

fn project<'s>(space: &'s Space, at: &str) -> Tree<'s> {
    let tree = space.tree(at);
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree
}

fn built<'s>(tree: &Tree<'s>) -> Outcome {
    let out = tree.cargo("build").run();
    out.ok();
    out
}

/// The output as JSON; it always has a version.
#[track_caller]
fn json(out: &Outcome) -> Value {
    let value: Value = serde_json::from_str(&out.stdout).unwrap_or(Value::Null);
    out.check(value["version"] == 1, "the output must be JSON of version 1");
    value
}

#[test]
fn help_has_examples() {
    let space = Space::new();
    for command in COMMANDS {
        let out = space.cli(command).arg("--help").run();
        says(out.ok(), &["Usage: kache", "Examples:\n  ", "\nExit codes: ", "130 interrupted."]);
    }
    says(space.cli("--help").run().ok(), &COMMANDS);
    says(space.cli("--version").run().ok(), &["kache "]);
    // The hot binary hands commands over.
    says(space.command(kache(), &space.path("")).args("gc --help").run().ok(), &["--max-size"]);
    says(space.cli("completions bash").run().ok(), &["kache", "explain"]);
    for wrong in [
        "frobnicate",
        "stats --since soon",
        "gc --max-size much",
        "gc --max-age 1",
        "show xyz",
        "try --runs 0",
        "report --format pdf",
        "report --top 0",
        "report --since 7",
        "list --sort colour",
        "list a b",
        "clean a b",
    ] {
        exits(&space.cli(wrong).run(), 2);
    }
}

/// Guards: each command has a manual page with its options and examples, and the settings' table is in the main one.
#[test]
fn manual() {
    let space = Space::new();
    let dir = space.path("a/man1");
    // One of the whole, and those of what `config` can do.
    let pages = 1 + COMMANDS.len() + ["get", "set", "unset", "list", "path"].len();
    says(space.cli("man").arg(&dir).run().ok(), &[&format!("{pages} pages")]);
    let page = |name: &str| fs::read_to_string(dir.join(name)).expect("page");
    for command in COMMANDS {
        let text = page(&format!("kache-{command}.1"));
        for section in [".SH EXAMPLES\n.nf\n", ".SH OPTIONS\n", ".SH \"EXIT STATUS\"\n"] {
            assert!(text.contains(section), "{command}: {section}: {text}");
        }
        assert!(page("kache.1").contains(&format!("kache\\-{command}(1)")), "{command}");
    }
    for setting in ["KACHE_CACHE_DIR", "KACHE_MAX_SIZE"] {
        assert!(page("kache.1").contains(setting), "{setting}");
    }
    for whole in ["kache.1", "kache-config-get.1"] {
        assert!(page(whole).contains(".SH \"EXIT STATUS\"\n"), "{whole}");
    }
    assert!(page("kache-gc.1").contains(r"\-\-max\-size"));
    exits(&space.cli("man /dev/null/man1").run(), 1);
}

/// Guards: a cache that is not there is said so, and not made by looking.
#[test]
fn no_cache() {
    let space = Space::new();
    says(space.cli("stats").run().ok(), &["empty"]);
    says(space.cli("explain").run().ok(), &["nothing to explain"]);
    says(space.cli("gc").run().ok(), &["empty"]);
    says(space.cli("gc --auto").run().ok(), &[]);
    says(space.cli("purge").run().ok(), &["nothing to remove"]);
    says(space.cli("config").run().ok(), &["cache.max_size", "50GiB", "KACHE_MAX_SIZE"]);
    for command in ["stats --json", "explain --json", "gc --json", "config list --json"] {
        json(space.cli(command).run().ok());
    }
    let out = space.cli("explain serde").run();
    exits(&out, 1);
    says(&out, &["nothing called \"serde\""]);
    exits(&space.cli("show 123456").run(), 1);
    let out = space.cli("doctor --verify").env("RUSTC_WRAPPER", kache()).run();
    says(out.ok(), &["not there yet", "all whole", "No problem found"]);
    assert!(!space.cache().exists());
}

#[test]
fn after_builds() {
    let space = Space::new();
    let tree = project(&space, "one");
    drop(built(&tree));
    tree.clean();
    built(&tree).all_hit();

    let stats = json(space.cli("stats --json").run().ok());
    assert_eq!((&stats["total"]["miss"], &stats["total"]["hit"]), (&2.into(), &2.into()), "{stats}");
    assert_eq!(stats["hit_ratio"], 0.5);
    // What cargo asks the compiler about itself is kept too.
    let entries = stats["store"]["entries"].as_u64().expect("entries");
    assert!(entries >= 2, "{stats}");
    says(space.cli("stats --since all").run().ok(), &["rustc", "50.0 %", &format!("{entries} entries")]);
    says(space.cli("explain").run().ok(), &["2 units, 0 not restored"]);

    let listed = json(space.cli("explain app --json").run().ok());
    assert_eq!(listed["explanation"]["cause"], "first", "{listed}");
    let key = built_key(&space, "app");
    let shown = json(space.cli("show").arg(&key[..12]).arg("--json").run().ok());
    assert_eq!(shown["key"], key.as_str());
    says(space.cli("show").arg(&key).run().ok(), &["<workspace>/src/main.rs", "key field"]);

    says(space.cli("gc --max-size 0 --dry-run").run().ok(), &[&format!("Would evict {entries} of {entries} entries")]);
    says(space.cli("gc --max-age 7d").run().ok(), &[&format!("Evicted 0 of {entries} entries")]);
    says(space.cli("purge -y").run().ok(), &[&format!("Removed {entries} entries")]);
    says(space.cli("stats").run().ok(), &["empty"]);
    drop(built(&tree));
}

fn built_key(space: &Space, name: &str) -> String {
    let dir = space.cache().join("v1/events");
    let log: String = files_below(&dir).iter().map(|f| fs::read_to_string(f).expect("event log")).collect();
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("event"));
    let mut keys = events.filter(|e| e["name"] == name).filter_map(|e| Some(e["key"].as_str()?.to_owned()));
    keys.next().expect("a key")
}

/// Guards: the change is named with both values, and a dependent's miss leads to the unit that changed.
#[test]
fn the_change_behind_a_miss_is_named() {
    let space = Space::new();
    let tree = project(&space, "one");
    drop(built(&tree));
    tree.write("part/src/lib.rs", "pub fn tell() -> u32 { 2 }\n");
    drop(built(&tree));
    says(space.cli("explain").run().ok(), &["file <workspace>/part/src/lib.rs", "before", "now", "1 dependent", "app"]);
    let why = json(space.cli("explain app --json").run().ok());
    let because = &why["explanation"]["because_of"];
    assert_eq!(because["change"]["what"], "file <workspace>/part/src/lib.rs", "{why}");
    let out = tree.cargo("build").env("RUSTFLAGS", "-Cdebuginfo=0").run();
    out.ok();
    says(space.cli("why-miss part").run().ok(), &["-C debuginfo=0"]);
    drop(space.cli("purge -y").run());
}

/// Guards: what a digest is, is told as digits.
#[test]
fn a_changed_build_script() {
    let space = Space::new();
    let tree = project(&space, "one");
    tree.write("build.rs", "fn main() { println!(\"cargo:rerun-if-changed=build.rs\"); }\n");
    drop(built(&tree));
    tree.write("build.rs", "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }\n");
    tree.clean();
    drop(built(&tree));
    let why = json(space.cli("explain --json").run().ok());
    let groups = why["groups"].as_array().expect("groups");
    let changes = groups.iter().map(|g| &g["root"]["change"]).filter(|c| c["what"] == "program");
    for value in ["before", "now"].map(|side| changes.clone().next().expect("the program")[side].clone()) {
        let digits = value.as_str().expect("text");
        assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{why}");
    }
    assert_eq!(changes.count(), 1, "{why}");
}

/// Guards: lost and mangled files are survived by every command, found by `doctor --verify`, and
/// gone after `--repair`.
#[test]
fn damaged_cache() {
    let space = Space::new();
    let tree = project(&space, "one");
    drop(built(&tree));
    let files = |kind: &str| files_below(&space.cache().join("v1").join(kind));
    for (n, file) in files("blobs").into_iter().chain(files("entries")).chain(files("inputs")).enumerate() {
        remove(&file);
        fs::write(&file, if n % 2 == 0 { "" } else { "not what it was" }).expect("damage");
    }
    for log in files("events") {
        let mut lines = fs::read(&log).expect("log");
        lines.extend(b"{\"v\":1,\"torn\n\xff\xfe\n{\"v\":99}\n");
        fs::write(&log, lines).expect("damage");
    }
    for command in ["stats", "explain", "explain app", "gc --dry-run"] {
        space.cli(command).run().ok();
    }
    exits(&space.cli("show").arg(built_key_of_good_line(&space)).run(), 1);
    let out = space.cli("doctor --verify --json").env("RUSTC_WRAPPER", kache()).run();
    exits(&out, 1);
    json(&out);
    says(space.cli("doctor --repair").env("RUSTC_WRAPPER", kache()).run().ok(), &["removed"]);
    let out = space.cli("doctor --verify").env("RUSTC_WRAPPER", kache()).run();
    says(out.ok(), &["all whole"]);
    tree.clean();
    drop(built(&tree));

    // So is the index, whose head is whole.
    let index = space.cache().join("v1/index.db");
    space.cli("stats").run().ok();
    let mut pages = fs::read(&index).expect("the index");
    pages[4096..].fill(0xff);
    fs::write(&index, pages).expect("damage");
    let doctor = |args: &str| space.cli(args).env("RUSTC_WRAPPER", kache()).run();
    let out = doctor("doctor --verify");
    exits(&out, 1);
    says(&out, &["index: ", "index.db is damaged", "kache doctor --repair removes it"]);
    says(doctor("doctor --repair").ok(), &["and is removed"]);
    assert!(!index.exists());
    let out = doctor("doctor --verify");
    out.ok().check(!out.stdout.contains("index"), "no index, nothing to say of it");
    space.cli("stats").run().ok();
    says(doctor("doctor --verify").ok(), &["index.db: whole"]);

    // The cache directory is something else altogether.
    let file = space.path("file");
    fs::write(&file, "").expect("file");
    for command in ["stats", "explain", "gc", "doctor"] {
        let out = space.cli(command).env("KACHE_CACHE_DIR", &file).run();
        out.check(out.status.code().is_some_and(|c| c < 2), "no crash");
        out.check(!out.stderr.contains("panicked"), "no panic");
    }
}

fn built_key_of_good_line(space: &Space) -> String {
    let dir = space.cache().join("v1/events");
    let log: Vec<u8> = files_below(&dir).iter().flat_map(|f| fs::read(f).expect("event log")).collect();
    let event: Value = log.split(|b| *b == b'\n').find_map(|l| serde_json::from_slice(l).ok()).expect("an event");
    event["key"].as_str().expect("a key").to_owned()
}

/// Guards: without a terminal nothing is asked, coloured or drawn, and a reader that leaves is no error.
#[test]
fn without_a_terminal() {
    let space = Space::new();
    let tree = project(&space, "one");
    drop(built(&tree));
    let out = space.cli("purge").run();
    exits(&out, 2);
    says(&out, &["-y"]);
    drop(built(&tree));
    for command in ["stats", "explain", "doctor --verify", "config", "frobnicate"] {
        let out = space.cli(command).run();
        out.check(
            !out.stdout.contains('\x1b') && !out.stderr.contains('\x1b'),
            "no escape sequence without a terminal",
        );
    }
    let line = format!("{} config | head -n 1 >/dev/null; exit $?", kache_cli().display());
    let out = space.command("sh", &space.path("")).arg("-c").arg(line).run();
    out.check(out.ok().stderr.is_empty(), "nothing to say of a closed pipe");
}

/// Guards: long work shows how far it is in one line of a terminal, which is gone at the end; and nowhere else.
#[test]
fn progress() {
    if !on_path("script") {
        return skip("cli::progress", "script is missing, so there is no terminal to draw on");
    }
    let space = Space::new();
    let tree = project(&space, "one");
    drop(built(&tree));
    let kache = kache_cli().display();
    for (command, words) in [
        ("gc --dry-run", "looking at 0 of "),
        ("clean --dry-run", "looking in "),
        ("doctor --verify", "verifying 1 of "),
        ("try one", "copying "),
        ("purge -y", "removing entries"),
    ] {
        for (set, drawn) in [("TERM=xterm NO_COLOR=1", true), ("TERM=dumb", false)] {
            if command.starts_with("purge") {
                drop(tree.cargo("build").env("KACHE_KEY_SALT", set).run());
            }
            let line = format!("env {set} KACHE_CACHE_DIR={} {kache} {command}", space.cache().display());
            let run = space.command("script", &space.site("")).arg("-qec").arg(line).arg("/dev/null");
            let out = run.env("KACHE_CONFIG", "").env("RUSTC_WRAPPER", "").run();
            out.check(
                out.stdout.contains(&format!("\r{words}")) == drawn,
                &format!("{set}: the terminal shows {words:?}"),
            );
            let ends = out.stdout.rsplit("\x1b[K").next().unwrap_or_default();
            out.check(
                !drawn || out.stdout.contains("\r\x1b[K") && !ends.contains(words),
                "the line is gone at the end",
            );
            out.check(drawn || !out.stdout.contains('\x1b'), "a terminal that takes no commands gets none");
        }
        let out = space.cli(command).cwd(&space.site("")).run();
        out.check(!out.stderr.contains(words), "no progress without a terminal");
    }
}

/// Guards: a target directory whose locks can't be taken is not told to be in use: it is left alone, with the error.
#[test]
fn clean_tells_why_it_can_not_lock() {
    let space = Space::new();
    let tree = project(&space, "one");
    drop(built(&tree));
    let target = tree.path.join("target");
    let Some(read_only) = ReadOnly::new(&target) else {
        return skip("cli::clean_tells_why_it_can_not_lock", "root cannot mount here");
    };
    let clean = |args: &str| space.cli(args).cwd(&tree.path).run();
    let report = json(clean("clean --dry-run --json").ok());
    assert_eq!((&report["targets"][0]["in_use"], &report["targets"][0]["removed"]), (&false.into(), &false.into()));
    let error = report["targets"][0]["error"].as_str().expect("an error").to_owned();
    assert!(error.contains("-lock: "), "{report}");
    let out = clean("clean -y");
    exits(&out, 1);
    says(&out, &["can't be locked, so it is left alone", &error, "Removed 0 target directories"]);
    out.check(!out.stdout.contains("in use"), "no build uses it");
    drop(read_only);
    says(clean("clean -y").ok(), &["Removed 1 target directory"]);
    assert!(!target.exists());
}

/// Guards: settings that are not understood are named by the doctor, with advice.
#[test]
fn doctor_names_what_is_wrong() {
    let space = Space::new();
    let out = space.cli("doctor").run();
    exits(&out, 1);
    says(&out, &["cargo is not told to use kache", "export RUSTC_WRAPPER="]);
    let out = space.cli("doctor").env("RUSTC_WRAPPER", "sccache").env("KACHE_MAX_SIZE", "much").run();
    exits(&out, 1);
    says(&out, &["names another wrapper: sccache", "KACHE_MAX_SIZE", "2 problems"]);
    let out = space.cli("doctor").env("KACHE_MAXSIZE", "1GiB").env("KACHE_TRACE_OF_MINE", "").run();
    says(&out, &["KACHE_MAXSIZE is set, and no variable of kache", "did you mean KACHE_MAX_SIZE?"]);
    out.check(
        !out.stdout.contains("TRACE_OF_MINE") && !out.stdout.contains("KACHE_CONFIG"),
        "others' names are theirs",
    );
    // Others say it in one line, and not into what is read by programs.
    let out = space.cli("stats --json").env("KACHE_MAX_SIZE", "much").env("KACHE_LOG", "loud\n").run();
    json(out.ok());
    let told = "warning: KACHE_MAX_SIZE: must be a size such as 20GiB (is \"much\") (and 1 more: kache config list)\n";
    assert_eq!(out.stderr, told);
}

/// Guards: a trial measures all phases, says what it comes to, and touches neither project nor cache.
#[test]
fn trial() {
    let space = Space::new();
    let tree = project(&space, "one");
    let before = Snapshot::of(&tree.path);
    let out = space.cli("try --json").arg(&tree.path).run();
    let report = json(out.ok());
    assert_eq!(faults_of(&report, "try"), Vec::<String>::new(), "{report}");
    assert_eq!(report["units"], 2, "{report}");
    let phase = |name: &str| {
        let all = report["phases"].as_array().expect("phases");
        all.iter().find(|p| p["phase"] == name).unwrap_or_else(|| panic!("{name} in {report}")).clone()
    };
    assert_eq!(phase("cold")["outcomes"]["miss"], 2);
    for again in ["warm", "second"] {
        assert_eq!(phase(again)["outcomes"]["hit"], 2, "{report}");
    }
    assert_eq!(phase("next-second")["outcomes"]["miss"], 0);
    Snapshot::of(&tree.path).same_bytes(&before);
    assert!(!space.cache().exists());
    assert_eq!(fs::read_dir(space.path("tmp")).expect("tmp").count(), 0, "the trial's own files are gone");

    says(space.cli("try").arg(&tree.path).args("-- check").run().ok(), &["second checkout", "compiled nothing"]);
}

#[test]
fn trial_of_what_does_not_build() {
    let space = Space::new();
    let tree = project(&space, "one");
    tree.write("part/src/lib.rs", "pub fn tell() -> u32 { \"no number\" }\n");
    let out = space.cli("try").arg(&tree.path).run();
    exits(&out, 1);
    says(&out, &["does not build, without kache either", "E0308"]);
    tree.write("part/Cargo.toml", &manifest("part", "[dependencies]\nno-such-crate = \"1\"\n"));
    let out = space.cli("try").arg(&tree.path).run();
    exits(&out, 1);
    says(&out, &["dependencies can't be fetched", "no-such-crate"]);
    let out = space.cli("try").arg(space.path("home")).run();
    exits(&out, 1);
    says(&out, &["no Cargo.toml"]);
    assert_eq!(fs::read_dir(space.path("tmp")).expect("tmp").count(), 0, "failed trials clean up too");
}
