//! Every command for people in every state that a cache can be in: what it says and how it ends, as a table; and that what
//! programs read is as docs/json.schema.json says.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cli::COMMANDS;
use crate::common::*;

/// What the cache is like: not there, as two builds left it, with a torn index, with garbage for records, with garbage in the
/// log, on a file system that takes nothing any more, and a file in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Empty,
    Built,
    TornIndex,
    BadRecords,
    BadLog,
    ReadOnly,
    NoDirectory,
}

pub const STATES: [State; 7] = [
    State::Empty,
    State::Built,
    State::TornIndex,
    State::BadRecords,
    State::BadLog,
    State::ReadOnly,
    State::NoDirectory,
];

struct Row {
    line: &'static str,
    /// The definition of what it prints, where that is JSON.
    json: &'static str,
    /// Exit codes by state.
    codes: [i32; 7],
}

const fn row(line: &'static str, json: &'static str, codes: [i32; 7]) -> Row {
    Row { line, json, codes }
}

const FINE: [i32; 7] = [0; 7];
const LOOKS: [i32; 7] = [0, 0, 0, 0, 0, 0, 1];
/// Each needs to write in the cache.
const CHANGES: [i32; 7] = [0, 0, 0, 0, 0, 1, 1];

/// `KEY` is a key of the cache, `PLACE` a directory with a build tree in it, `NEW` one that is not there.
const TABLE: &[Row] = &[
    row("stats", "", LOOKS),
    row("stats --since all --json", "stats", LOOKS),
    row("report", "", LOOKS),
    row("report --format json --since all", "report", LOOKS),
    row("report --format markdown", "", LOOKS),
    row("report --format github", "", LOOKS),
    row("report --format html", "", LOOKS),
    row("report --format perfetto", "", LOOKS),
    row("list", "", LOOKS),
    row("list --json --sort size", "list", LOOKS),
    row("list app", "", [1, 0, 0, 0, 0, 0, 1]),
    row("list app --json", "list", [1, 0, 0, 0, 0, 0, 1]),
    row("explain", "", LOOKS),
    row("explain --json", "explain", LOOKS),
    row("explain --since all", "", LOOKS),
    row("explain --since all --json", "explain-builds", LOOKS),
    row("explain app", "", [1, 0, 0, 0, 0, 0, 1]),
    row("explain app --json", "explain-one", [1, 0, 0, 0, 0, 0, 1]),
    row("show KEY", "", [1, 0, 0, 1, 0, 0, 1]),
    row("show KEY --json", "show", [1, 0, 0, 1, 0, 0, 1]),
    row("monitor", "", [2, 2, 2, 2, 2, 2, 1]),
    row("doctor", "", CHANGES),
    row("doctor --json", "doctor", CHANGES),
    row("doctor --verify --json", "doctor", [0, 0, 0, 1, 0, 1, 1]),
    row("gc --dry-run", "", LOOKS),
    row("gc --dry-run --max-size 0 --json", "gc", LOOKS),
    row("clean --dry-run PLACE", "", LOOKS),
    row("clean --dry-run --json PLACE", "clean", LOOKS),
    row("clean PLACE", "", [2, 2, 2, 2, 2, 2, 1]),
    row("config", "", FINE),
    row("config list --json", "config-list", FINE),
    row("config get cache.dir", "", FINE),
    row("init --check --no-shell", "", [1; 7]),
    row("init --check --json --no-shell", "init-check", [1; 7]),
    row("init", "", [2; 7]),
    row("uninit", "", FINE),
    row("shims NEW", "", FINE),
    row("man NEW", "", FINE),
    row("completions bash", "", FINE),
    row("purge", "", [0, 2, 2, 2, 2, 2, 1]),
    row("purge --dry-run", "", LOOKS),
    row("purge --dry-run --json", "purge", LOOKS),
    row("purge --json", "purge", [0, 2, 2, 2, 2, 2, 1]),
    row("purge -y --crate-name app", "", [0, 0, 0, 1, 0, 1, 1]),
    row("gc", "", CHANGES),
    row("purge -y --json", "purge", CHANGES),
    row("purge -y", "", CHANGES),
    row("run --out out -- true", "", FINE),
];

/// Tried by tests of its own: it takes long, and needs a project.
const ELSEWHERE: &[&str] = &["try"];

/// What it gives must live as long as the cache is to be so.
pub fn damage(cache: &Path, state: State) -> Result<Option<ReadOnly>, String> {
    let files = |kind: &str| files_below(&cache.join("v1").join(kind));
    match state {
        State::Built => {}
        State::ReadOnly => return ReadOnly::new(cache).map(Some).ok_or("root cannot mount here".into()),
        State::Empty => remove(cache),
        State::NoDirectory => {
            remove(cache);
            fs::write(cache, "").expect("a file");
        }
        State::TornIndex => {
            let index = cache.join("v1/index.db");
            let whole = fs::read(&index).expect("the index");
            fs::write(&index, &whole[..whole.len() / 2 + 100]).expect("half of it");
        }
        State::BadRecords => {
            for (n, file) in ["blobs", "entries", "inputs", "actions"].into_iter().flat_map(files).enumerate() {
                let whole = fs::read(&file).expect("a record");
                remove(&file);
                let parts: [&[u8]; 3] = [b"", b"\x1b[31mnot what it was\0", &whole[..whole.len() / 2]];
                fs::write(&file, parts[n % 3]).expect("damage");
            }
            fs::write(cache.join("v1/entries/no-directory"), "x").expect("a stray file");
            fs::create_dir_all(cache.join("v1/inputs/ab").join("c".repeat(62)))
                .expect("a directory in a record's place");
        }
        State::BadLog => {
            let log = files("events").pop().expect("a log");
            let good = fs::read_to_string(&log).expect("the log");
            let mut event: Value = serde_json::from_str(good.lines().last().expect("a line")).expect("an event");
            let mut text = good.clone().into_bytes();
            let evil = "\u{1b}[2J\u{1b}]0;evil\u{7}\r\n\0 <script>alert(1)</script> | `x` \u{202e}".repeat(50);
            for (field, value) in [
                ("unit", evil.clone().into()),
                ("name", evil.clone().into()),
                ("build_dir", evil.clone().into()),
                ("source", evil.clone().into()),
                ("output", "//..//".into()),
                ("reason", evil.clone().into()),
                ("detail", evil.clone().into()),
                ("action", evil.into()),
                ("key", "0".into()),
                ("weak", "".into()),
                ("ms", Value::from(-1e300)),
                ("ms", Value::from(1e300)),
                ("tool_ms", u64::MAX.into()),
                ("copied", u64::MAX.into()),
                ("time", 0.into()),
                ("time", u64::MAX.into()),
                ("time", "soon".into()),
                ("v", 99.into()),
            ] {
                let before = event[field].clone();
                event[field] = value;
                text.extend(serde_json::to_vec(&event).expect("a line"));
                text.push(b'\n');
                // What is only odd stays, so that oddities come together.
                if matches!(field, "ms" | "time" | "v") {
                    event[field] = before;
                }
            }
            text.extend(b"\xff\xfe\0\n");
            text.extend([&b"["[..]; 5000].concat());
            text.extend(format!("\n{}\n{{\"v\":1,\"torn", "x".repeat(3 << 20)).bytes());
            fs::write(&log, text).expect("damage");
            let events = log.parent().expect("a directory");
            fs::write(events.join("18446744073709551615.jsonl"), good).expect("a day that never comes");
            fs::create_dir(events.join("019999.jsonl")).expect("a directory in a day's place");
            fs::write(events.join("none.jsonl"), "").expect("a stray file");
        }
    }
    Ok(None)
}

/// Guards: what is no cache is told as that, with what to do, not taken for an empty one; and a build goes on beside it.
#[test]
fn no_directory_for_a_cache() {
    let space = Space::new();
    let (file, around) = (space.path("file"), space.path("around"));
    fs::write(&file, "mine").expect("a file");
    std::os::unix::fs::symlink(&around, &around).expect("a link to itself");
    let is_file = format!("{} is not a directory: move it, or set KACHE_CACHE_DIR", file.display());
    let unreadable = format!("{} can't be read", around.join("v1").display());
    let tree = space.tree("one");
    tree.write("lib.rs", "pub fn f() {}\n");
    for (cache, words) in [
        (file.clone(), [is_file.as_str(), ""]),
        (file.join("below/it"), [&is_file, ""]),
        (around, [&unreadable, "correct its owner and mode, or set KACHE_CACHE_DIR"]),
    ] {
        for line in ["stats", "list", "report", "explain", "show 12345678", "gc", "gc --auto", "purge -y", "clean -y"] {
            let out = space.cli(line).cwd(&space.site("")).cache(&cache).run();
            exits(&out, 1);
            out.check(out.stdout.is_empty(), "nothing is told of a cache that is none");
            says(&out, &words);
        }
        let out = space.cli("doctor").cache(&cache).run();
        exits(&out, 1);
        says(
            &out,
            &[words[0].split_once(": ").map_or(words[0], |(fault, _)| fault), "KACHE_CACHE_DIR to another place"],
        );
        tree.rustc("--crate-type lib --crate-name one --out-dir . lib.rs").cache(&cache).run().ok();
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), "mine");
}

#[test]
fn every_command_in_every_state() {
    for command in COMMANDS.iter().filter(|c| !ELSEWHERE.contains(c)) {
        assert!(TABLE.iter().any(|row| row.line.split(' ').next() == Some(command)), "{command} is not in the table");
    }
    let (mut wrong, mut printed) = (Vec::new(), Vec::new());
    for state in STATES {
        let space = Space::new();
        let tree = space.tree("one");
        app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
        tree.cargo("build").run().ok();
        tree.edit("part/src/lib.rs", "1", "2");
        tree.cargo("build").run().ok();
        let listed: Value = serde_json::from_str(&space.cli("list app --json").run().ok().stdout).expect("JSON");
        let key = listed["entries"][0]["key"].as_str().expect("a key").to_owned();
        let _read_only = match damage(&space.cache(), state) {
            Ok(guard) => guard,
            Err(why) => {
                skip("commands::every_command_in_every_state, of a read-only cache", &why);
                continue;
            }
        };
        for (n, row) in TABLE.iter().enumerate() {
            let words = row.line.replace("KEY", &key[..16]).replace("PLACE", &space.site("").display().to_string());
            let line = words.replace("NEW", &space.path(&format!("new-{n}")).display().to_string());
            let program = if row.line.starts_with("run ") { kache() } else { kache_cli() };
            let run = space.command(program, &tree.path).args(&line).mode(Mode::Observed);
            let out = run.env("RUSTC_WRAPPER", kache()).env("PAGER", "echo paged; cat").run();
            let code = out.status.code();
            let mut check = |holds: bool, rule: &str| {
                if !holds {
                    wrong.push(format!("{state:?}: {rule}\n{}", out.world()));
                }
            };
            check(
                code == Some(row.codes[state as usize]),
                &format!("{} must end with {}", row.line, row.codes[state as usize]),
            );
            let all = format!("{}{}", out.stdout, out.stderr);
            let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
            check(!all.contains("panicked"), "no panic");
            check(!all.contains(odd), "nothing that commands a terminal");
            check(!out.stdout.contains("paged"), "no pager without a terminal");
            check(code == Some(0) || !all.is_empty(), "what ends badly says why");
            if !row.json.is_empty() && matches!(code, Some(0 | 1)) && !out.stdout.is_empty() {
                match serde_json::from_str(&out.stdout) {
                    Ok(value) => {
                        printed.push(serde_json::json!([row.json, value]));
                        let faults = faults_of(&value, row.json);
                        check(faults.is_empty(), &format!("{} must be as described: {faults:?}", row.line));
                    }
                    Err(e) => check(false, &format!("{} must be JSON: {e}", row.line)),
                }
            }
        }
        // A build never minds.
        remove(&tree.path.join("target"));
        tree.cargo("build").run().ok();
    }
    others_agree(&Value::Array(printed));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

// --- the schema ----------------------------------------------------------------------------------------------------

fn schema_file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.schema.json")
}

/// The same by a validator that others wrote, where there is one.
fn others_agree(printed: &Value) {
    const SCRIPT: &str = "\
import json, sys
try:
    from jsonschema import Draft202012Validator as Validator
except ImportError:
    sys.exit(77)
schema = json.load(open(sys.argv[1]))
Validator.check_schema(schema)
for name, value in json.load(open(sys.argv[2])):
    Validator(schema).validate(value)
    Validator({**schema, 'anyOf': [{'$ref': '#/$defs/' + name}]}).validate(value)
    wrong = {**value, 'version': 0}
    assert not Validator(schema).is_valid(wrong), name
";
    let space = Space::new();
    let file = space.path("printed.json");
    fs::write(&file, printed.to_string()).expect("what was printed");
    if !on_path("python3") {
        return skip("others_agree", "no python3");
    }
    let out = space.command("python3", &space.path("")).args("-c").arg(SCRIPT).arg(schema_file()).arg(&file).run();
    match out.status.code() {
        Some(77) => skip("others_agree", "no jsonschema (Debian package python3-jsonschema)"),
        _ => drop(out.ok()),
    }
}

/// What is not as docs/json.schema.json says of this definition.
pub fn faults_of(value: &Value, definition: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema_file()).expect("schema")).expect("JSON");
    faults(value, &schema["$defs"][definition], &schema, definition)
}

/// The part of JSON Schema that ours uses; a word that is not understood here is a fault of the schema.
fn faults(value: &Value, schema: &Value, root: &Value, at: &str) -> Vec<String> {
    const ANNOTATIONS: [&str; 4] = ["$schema", "$defs", "title", "description"];
    let mut found = Vec::new();
    for (word, rule) in schema.as_object().expect("a schema is an object") {
        let holds = match word.as_str() {
            word if ANNOTATIONS.contains(&word) => true,
            "$ref" => {
                let pointer = rule.as_str().and_then(|r| r.strip_prefix('#')).expect("a reference within");
                found.extend(faults(value, root.pointer(pointer).expect("what is referred to"), root, at));
                true
            }
            "anyOf" => rule.as_array().expect("schemas").iter().any(|s| faults(value, s, root, at).is_empty()),
            "type" => {
                let is = |kind: &Value| match kind.as_str().expect("a type") {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    other => panic!("type {other}"),
                };
                rule.as_array().map_or_else(|| is(rule), |kinds| kinds.iter().any(is))
            }
            "enum" => rule.as_array().expect("values").contains(value),
            "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|v| v <= rule.as_f64().expect("a number")),
            "required" => {
                rule.as_array().expect("names").iter().all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            "properties" => {
                for (name, schema) in rule.as_object().expect("properties") {
                    if let Some(inner) = value.get(name) {
                        found.extend(faults(inner, schema, root, &format!("{at}.{name}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                let named = schema.get("properties").and_then(Value::as_object);
                for (name, inner) in value.as_object().into_iter().flatten() {
                    let inner_at = format!("{at}.{name}");
                    match (named.is_some_and(|n| n.contains_key(name)), rule) {
                        (true, _) => {}
                        (false, Value::Bool(false)) => found.push(format!("{inner_at} is not described")),
                        (false, rule) => found.extend(faults(inner, rule, root, &inner_at)),
                    }
                }
                true
            }
            "items" => {
                for (n, inner) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(faults(inner, rule, root, &format!("{at}[{n}]")));
                }
                true
            }
            other => panic!("the schema says {other:?}, which is not checked"),
        };
        if !holds {
            found.push(format!("{at}: {word} {rule}"));
        }
    }
    found
}

/// Guards: the check of the schema finds what is wrong, or the tests below prove nothing.
#[test]
fn the_check_finds_faults() {
    let schema: Value = serde_json::from_str(
        r##"{"type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/n"}}, "b": {"enum": [1]}},
            "$defs": {"n": {"type": ["integer", "null"], "minimum": 0, "maximum": 9}}}"##,
    )
    .expect("schema");
    for (text, wrong) in [
        (r#"{"a": [1, null]}"#, 0),
        (r#"{"a": [], "b": 1}"#, 0),
        (r#"{"b": 1}"#, 1),
        (r#"{"a": [1.5]}"#, 1),
        (r#"{"a": [-1, 10]}"#, 2),
        (r#"{"a": [], "c": 1}"#, 1),
        (r#"{"a": {}, "b": 2}"#, 2),
    ] {
        let value = serde_json::from_str(text).expect("JSON");
        assert_eq!(faults(&value, &schema, &schema, "it").len(), wrong, "{text}");
    }
}
