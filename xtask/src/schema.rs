//! What `--json` prints, as a table, and the JSON Schema made from it (docs/json.schema.json).
//!
//! An object begins at the margin; below it stand its fields: name (`?`: may be missing), type, words. Types: `int`,
//! `number`, `ratio`, `text`, `bool`, a number (exactly this), words with `|` between (one of them), the name of an object;
//! `[T]` a list, `{T}` values by name, `T?` or null. `..name` stands for the fields of that object, `name = a | b` for either.

use serde_json::{Map, Value, json};

/// The objects that are whole outputs.
const OUTPUTS: &[&str] = &[
    "clean",
    "config-list",
    "doctor",
    "explain",
    "gc",
    "init-check",
    "list",
    "purge",
    "report",
    "show",
    "stats",
    "try",
];

const TABLE: &str = "\
clean: `kache clean --json`: target directories.
  version       1
  dry_run       bool
  freed_bytes   int
  targets       [target]

target: A target directory of cargo's.
  dir               text
  frees_bytes       int   What removing it gives back to the disk.
  restorable_bytes  int   Of these, bytes of files whose content is in the store.
  linked_bytes      int   What stays, because the store or another tree shares the inodes.
  used_ms           int   Time of the newest file.
  in_use            bool  A build holds its lock: it is left alone.
  error             text?  Why its locks can't be taken: it is left alone.
  removed           bool

config-list: `kache config list --json`: the settings that hold here.
  version       1
  user_file     text?
  project_file  text?
  warnings      [text]
  settings      [setting]

setting: A setting.
  name      text
  variable  text
  value     text
  source    default|user|project|environment  Who gave the value.
  default   text
  accepts   text
  doc       text

doctor: `kache doctor --json`: what was looked at.
  version   1
  kache     text   The version of the program.
  ok        bool   There is no problem; there may be notes.
  findings  [finding]

finding: One thing that was looked at.
  level   ok|note|problem
  about   text
  text    text
  advice  text?   What to do.

explain = explain-one | explain-builds

explain-one: `kache explain CRATE --json`: the newest miss of that name.
  version      1
  explanation  why?   Null: it was always restored.

explain-builds: `kache explain --json`: the last build, or all builds of a time.
  version    1
  builds     int
  cut        bool     Only the newest 200,000 invocations were looked at, and there are older ones.
  build_dir  text?    Of the last build. Null: there was none.
  time       int?     When it ended, in milliseconds since 1970.
  outcomes   {tally}  By kind of action.
  probes     tally    Compiles by which a configure script or CMake tried something; counted nowhere else.
  groups     [group]  What was not restored, by what stands behind it; most units first.

group: Units that were not restored for one reason.
  root        why
  units       [text]
  dependents  [text]  Units that missed because they read what those wrote.

why: Why a unit was not restored. What `cause` it is tells which of the fields that may be missing are there.
  unit           text
  action         text
  outcome        outcome
  time           int    In milliseconds since 1970.
  dir            text?  The build directory, of C the project's.
  source         text?
  reason         text?  Why it was not cached or not stored, when it was not.
  sentence       text?  The same in words.
  detail         text?  What the reason is about.
  cause          first|changed|gone|unrecorded|declined|unknown
  change?        change   The first difference between the two keys.
  others?        int      Differences beside that.
  compared_with? text     The unit whose key it was.
  compared_dir?  text?    Its build directory, if that is another one.
  compared_time? int
  was_stored?    bool
  because?       text
  because_of     why?     The unit that wrote what changed.

change: A key field or an input that differs.
  what    text
  before  text?
  now     text?

gc: `kache gc --json`: what was evicted.
  version             1
  dry_run             bool
  busy                bool  Another run was at work: nothing was done.
  entries             int   Before.
  evicted             int
  orphans             int   Files that nothing referred to.
  freed_bytes         int
  still_linked_bytes  int   Evicted, and kept on the disk by build trees.
  size_bytes          int   After.

init-check: `kache init --check --json`: what is to do.
  version  1
  ok       bool       There is nothing to do.
  changes  [setup-change]
  notes    [text]     What is left alone, and what to know.

setup-change: What init would do to a file.
  verb  write|edit|remove|link|unlink
  path  text
  text  text

list: `kache list --json`: what is stored.
  version  1
  entries  [entry]

entry: An entry of the store.
  key         text
  name        text
  unit        text
  action      text  Empty: older than the log.
  size_bytes  int   What it restores.
  tool_ms     int
  used_ms     int   When it was used last.
  hits        int   Times it was restored, as far as the log tells.

purge: `kache purge --json`: what was removed.
  version     1
  dry_run     bool
  entries     int
  size_bytes  int   What they took on the disk; of one crate, what they restore.

report: `kache report --format json`: what the cache did in a span of time. Times are milliseconds since 1970 (UTC), unless the name says otherwise.
  version         1
  kache           text      The version of the program.
  generated_ms    int
  since_ms        int
  span            text      The span in words.
  ..summary
  slowest_misses  [miss]
  step_hours      int       Length of a step of `course`.
  course          [step]    Outcomes in the course of time; steps without any are left out.
  last_build      build?

summary: Sums of a span of time.
  total               tally
  actions             {tally}   By kind of action.
  hit_ratio           ratio?    Of what could be looked up, the part that was restored.
  hit_ratio_by_time   ratio?    The same, each unit weighed by the time of its compile.
  tool_seconds_saved  number
  tool_seconds_spent  number
  queries             int       Questions to a compiler about itself; counted nowhere else.
  reasons             [reason]  Why things were not cached, the most frequent first.
  restored            restored
  store               store

tally: How many invocations ended how.
  hit          int
  dup          int
  miss         int
  passthrough  int
  skipped      int
  error        int

reason: Why things were not cached.
  outcome   outcome
  reason    text
  sentence  text
  count     int
  example   text

restored: Bytes by how they came to their places: hard link, reflink, copy.
  linked_bytes  int
  cloned_bytes  int
  copied_bytes  int

store: The store as it is now.
  dir                 text
  entries             int
  blobs               int
  blob_bytes          int
  record_bytes        int
  linked_bytes        int  Of the blobs' bytes, those whose inode a build tree shares.
  max_bytes           int
  deduplicated_bytes  int  What equal outputs of several entries would take in addition, if each were stored.

miss: A compile.
  unit          text
  action        text
  tool_seconds  number
  time_ms       int
  stored        bool
  reason        text?
  key           text?

step: A step of time.
  begin_ms  int
  ..tally

build: One build.
  dir       text
  begin_ms  int
  end_ms    int
  total     tally
  cut       bool    It may have had more invocations: the newest 5,000 of the log were looked at.
  lanes     int
  units     [unit]

unit: One invocation on a timeline.
  unit      text
  action    text
  outcome   outcome
  begin_ms  number
  ms        number
  tool_ms   int
  lane      int   Those that ran at the same time are in different lanes.
  reason    text?

show: `kache show KEY --json`: one entry.
  version  1
  key      text
  name     text?
  unit     text?
  tool_ms  int?      Null: the entry is gone, and this is what its key was made of.
  outputs  [output]
  fields   [[text]]  Key fields: tag and value.
  inputs   [[text]]  What it was seen to read: name and state.

output: Something that is restored.
  path   text
  kind   file|text|link|directory|stream
  bytes  int

stats: `kache stats --json`: what the cache did.
  version  1
  ..summary

try: `kache try --json`: what a trial came to.
  version     1
  project     text
  command     text
  runs        int
  units       int
  phases      [trial-phase]
  disk        disk
  not_cached  [not-cached]
  ok          bool
  verdict     text

trial-phase: One phase of a trial.
  phase        phase
  seconds      number    The median.
  all_seconds  [number]
  outcomes     tally
  by_action    {tally}
  compiled?    [text]    Of a next build: what was compiled, and should not have been.

disk: Room on the disk.
  second_tree_bytes  int  What the second checkout's target directory added.
  target_bytes       int
  cache_bytes        int

not-cached: A unit that came from the compiler where it could have come from the cache.
  unit    text
  action  text
  phases  [phase]
  why     text
";

/// Types that have a name and are no objects.
const WORDS: &[(&str, &str)] = &[
    ("outcome", "hit|dup|miss|passthrough|skipped|error"),
    ("phase", "no-cache|cold|warm|second|next-first|next-second"),
];

struct Object<'a> {
    words: &'a str,
    /// Name, type, words.
    fields: Vec<(&'a str, &'a str, &'a str)>,
}

fn column(line: &str) -> (&str, &str) {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    (first, rest.trim_start())
}

fn object_of<'a>(text: &'a str) -> (&'a str, Object<'a>) {
    let (head, fields) = text.split_once('\n').unwrap_or((text, ""));
    let (name, words) = head.split_once(": ").unwrap_or((head, ""));
    let field = |line: &'a str| {
        let (name, rest) = column(line.trim_start());
        let (kind, words) = column(rest);
        (name, kind, words)
    };
    (name, Object { words, fields: fields.lines().map(field).collect() })
}

fn of_type(text: &str) -> Value {
    let within = |open: char, close: char| text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
    if let Some(kind) = text.strip_suffix('?') {
        let mut schema = of_type(kind);
        return match schema.get("type").cloned() {
            Some(kind) if schema.get("enum").is_none() => {
                schema["type"] = json!([kind, "null"]);
                schema
            }
            _ => json!({ "anyOf": [schema, { "type": "null" }] }),
        };
    }
    if let Some(kind) = within('[', ']') {
        return json!({ "type": "array", "items": of_type(kind) });
    }
    if let Some(kind) = within('{', '}') {
        return json!({ "type": "object", "additionalProperties": of_type(kind) });
    }
    match text {
        "int" => json!({ "type": "integer", "minimum": 0 }),
        "number" => json!({ "type": "number", "minimum": 0 }),
        "ratio" => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        "text" => json!({ "type": "string" }),
        "bool" => json!({ "type": "boolean" }),
        _ if text.contains('|') => json!({ "type": "string", "enum": text.split('|').collect::<Vec<_>>() }),
        _ => match text.parse::<u32>() {
            Ok(number) => json!({ "type": "integer", "enum": [number] }),
            Err(_) => json!({ "$ref": format!("#/$defs/{text}") }),
        },
    }
}

/// The fields of an object, those of others put in their places.
fn fields_of<'a>(object: &Object<'a>, all: &[(&'a str, Object<'a>)]) -> Vec<(&'a str, &'a str, &'a str)> {
    let mut fields = Vec::new();
    for field in &object.fields {
        match field.0.strip_prefix("..").and_then(|name| all.iter().find(|(known, _)| *known == name)) {
            Some((_, other)) => fields.extend(fields_of(other, all)),
            None => fields.push(*field),
        }
    }
    fields
}

/// The document.
pub fn document() -> String {
    let (either, objects): (Vec<_>, Vec<_>) =
        TABLE.trim_end().split("\n\n").partition(|text| text.lines().count() == 1 && text.contains(" = "));
    let all: Vec<_> = objects.into_iter().map(object_of).collect();
    let mut known = Map::new();
    for (name, words) in WORDS {
        known.insert((*name).to_owned(), of_type(words));
    }
    for (name, kinds) in either.into_iter().filter_map(|text| text.split_once(" = ")) {
        let kinds: Vec<Value> = kinds.split(" | ").map(of_type).collect();
        known.insert(name.to_owned(), json!({ "anyOf": kinds }));
    }
    for (name, object) in &all {
        let fields = fields_of(object, &all);
        let required: Vec<&str> = fields.iter().map(|f| f.0).filter(|name| !name.ends_with('?')).collect();
        let mut properties = Map::new();
        for (name, kind, words) in fields {
            let mut schema = of_type(kind);
            if !words.is_empty() {
                schema["description"] = words.into();
            }
            properties.insert(name.trim_end_matches('?').to_owned(), schema);
        }
        known.insert(
            (*name).to_owned(),
            json!({
                "description": object.words, "type": "object", "additionalProperties": false,
                "required": required, "properties": properties,
            }),
        );
    }
    let outputs: Vec<Value> = OUTPUTS.iter().map(|name| of_type(name)).collect();
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What kache prints as JSON",
        "description": "Made by `cargo xtask docs` from xtask/src/schema.rs; do not edit. Each command's output is described \
                        by the definition of its name. Within a version fields may be added.",
        "anyOf": outputs,
        "$defs": known,
    });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: nothing refers to what is not there, and every object is reached from an output.
    #[test]
    fn nothing_is_left_over() {
        let text = document();
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let known = document["$defs"].as_object().expect("definitions");
        for name in text.split("#/$defs/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()) {
            assert!(known.contains_key(name), "{name}");
        }
        for name in known.keys().filter(|name| *name != "summary") {
            assert!(text.contains(&format!("#/$defs/{name}\"")), "{name} is used by nothing");
        }
    }
}
