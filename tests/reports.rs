//! `stats`, `list`, `report`, `purge --crate-name` and `clean`: what they say of a good, an empty and a damaged cache, where
//! nobody watches, and that what programs read is what is promised.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::commands::faults_of;
use crate::common::*;

const FORMATS: [&str; 6] = ["text", "json", "markdown", "github", "html", "perfetto"];

/// Builds an application with a library twice: two misses, two hits.
fn built_twice(space: &Space) -> Tree<'_> {
    let tree = space.tree("one");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.cargo("build").run().ok();
    tree.clean();
    tree.cargo("build").run().all_hit();
    tree
}

#[track_caller]
fn json(out: &Outcome) -> Value {
    let value = serde_json::from_str(&out.stdout);
    out.check(value.is_ok(), "the output must be JSON");
    value.expect("JSON")
}

#[track_caller]
fn valid_report(out: &Outcome) -> Value {
    let report = json(out.ok());
    let wrong = faults_of(&report, "report");
    out.check(wrong.is_empty(), &format!("the report must be as its schema says: {wrong:?}"));
    report
}

/// Guards: nothing is made by looking, and every format has its form, also of nothing.
#[test]
fn no_cache() {
    let space = Space::new();
    for format in FORMATS {
        let out = space.cli("report --format").arg(format).run();
        says(out.ok(), &[env!("CARGO_PKG_VERSION")]);
    }
    let report = valid_report(&space.cli("report --format json --since all").run());
    assert_eq!((&report["total"]["hit"], &report["last_build"]), (&0.into(), &Value::Null));
    says(space.cli("report").run().ok(), &["empty"]);
    says(space.cli("list").run().ok(), &["empty"]);
    assert_eq!(json(space.cli("list --json").run().ok())["entries"], Value::Array(Vec::new()));
    let out = space.cli("list serde").run();
    exits(&out, 1);
    says(&out, &["nothing called \"serde\""]);
    assert!(!space.cache().exists());
}

#[test]
fn after_builds() {
    let space = Space::new();
    built_twice(&space);
    let report = valid_report(&space.cli("report --format json").run());
    assert_eq!((&report["total"]["miss"], &report["total"]["hit"]), (&2.into(), &2.into()), "{report}");
    assert_eq!((&report["version"], &report["kache"]), (&1.into(), &env!("CARGO_PKG_VERSION").into()));
    let build = &report["last_build"];
    assert_eq!((&build["total"]["hit"], build["units"].as_array().map(Vec::len)), (&2.into(), Some(2)), "{report}");
    let names: BTreeSet<_> =
        report["slowest_misses"].as_array().expect("misses").iter().map(|m| m["unit"].as_str()).collect();
    assert_eq!(names.len(), 2, "{report}");
    let restored: u64 = ["linked_bytes", "cloned_bytes", "copied_bytes"]
        .iter()
        .map(|m| report["restored"][m].as_u64().expect("bytes"))
        .sum();
    let listed = json(space.cli("list --json").run().ok());
    let of = |name: &str| {
        let entries = listed["entries"].as_array().expect("entries");
        entries.iter().find(|e| e["name"] == name).unwrap_or_else(|| panic!("{name} in {listed}")).clone()
    };
    let sizes = of("app")["size_bytes"].as_u64().expect("size") + of("part")["size_bytes"].as_u64().expect("size");
    assert!(restored > 0 && sizes >= restored, "what was restored is what is stored: {sizes} and {restored}");
    assert_eq!((&of("app")["hits"], &of("part")["hits"]), (&1.into(), &1.into()), "{listed}");
    valid_report(&space.cli("report --format json --since 30m --top 1").run());

    says(space.cli("report").run().ok(), &["50.0 %", "Last build", "2 of 2 lookups", "Slowest misses", "part-"]);
    says(space.cli("report --format markdown").run().ok(), &["| rustc | 2 | 0 | 2 |", "### Slowest misses"]);
    says(space.cli("report --format github").run().ok(), &["<details><summary>Slowest misses</summary>"]);
    says(space.cli("list part").run().ok(), &["part-", "1 entry"]);
    assert!(!space.cli("list part").run().stdout.contains("app"));
    let by = |sort: &str, field: &str| -> Vec<u64> {
        let out = json(space.cli("list --json --sort").arg(sort).run().ok());
        out["entries"].as_array().expect("entries").iter().map(|e| e[field].as_u64().expect("a number")).collect()
    };
    for (sort, field) in [("size", "size_bytes"), ("hits", "hits"), ("age", "used_ms")] {
        let values = by(sort, field);
        assert!(values.len() >= 2 && values.is_sorted_by(|a, b| a >= b), "{sort}: {values:?}");
    }
}

/// Guards: the page holds the build's units, is whole, and asks for nothing from elsewhere.
#[test]
fn the_page_needs_nothing_else() {
    let space = Space::new();
    let tree = built_twice(&space);
    tree.edit("part/src/lib.rs", "1", "2");
    tree.cargo("build").run().ok();
    let page = space.path("report.html");
    let out = space.cli("report --format html --output").arg(&page).run();
    out.ok().check(out.stdout.is_empty(), "the page goes to the file");
    let page = fs::read_to_string(page).expect("the page");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for outside in ["http:", "https:", "src=", "href=", "@import", "url(", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for (open, close) in [("<svg", "</svg>"), ("<rect", "</rect>"), ("<table", "</table>"), ("<title", "</title>")] {
        let closed = page.matches(close).count() + page.matches("\"/></svg>").count() * usize::from(open == "<rect");
        assert_eq!(page.matches(open).count(), closed, "{open}");
    }
    assert!(page.matches("part-").count() >= 2 && page.contains("class=\"miss\"") && page.contains("<footer>kache "));
}

/// Guards: slices name unit and outcome, lie in named lanes, and never overlap within one.
#[test]
fn traces_are_of_their_format() {
    let space = Space::new();
    built_twice(&space);
    let trace = json(space.cli("report --format perfetto").run().ok());
    assert_eq!(trace["otherData"]["kache"], env!("CARGO_PKG_VERSION"));
    let events = trace["traceEvents"].as_array().expect("events");
    let of = |phase: &str| events.iter().filter(|e| e["ph"] == phase).collect::<Vec<_>>();
    let named: BTreeSet<_> = of("M").iter().filter(|e| e["name"] == "thread_name").map(|e| lane(e)).collect();
    let mut slices = of("X");
    assert!(slices.len() >= 4, "{trace}");
    slices.sort_by_key(|s| (lane(s), s["ts"].as_u64()));
    for s in &slices {
        assert!(named.contains(&lane(s)), "{s}");
        assert_eq!(s["cat"], s["args"]["outcome"]);
        let name = s["name"].as_str().expect("a name");
        assert!(name.ends_with(&format!("({})", s["cat"].as_str().expect("outcome"))), "{s}");
    }
    for pair in slices.windows(2).filter(|p| lane(p[0]) == lane(p[1])) {
        let end = pair[0]["ts"].as_u64().expect("ts") + pair[0]["dur"].as_u64().expect("dur");
        assert!(end <= pair[1]["ts"].as_u64().expect("ts") + 1, "{} overlaps {}", pair[0], pair[1]);
    }
    let app = slices.iter().filter(|s| s["name"].as_str().is_some_and(|n| n.starts_with("app-")));
    let outcomes: Vec<_> = app.map(|s| s["cat"].as_str().expect("outcome")).collect();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.contains(&"hit") && outcomes.contains(&"miss"), "{outcomes:?}");
}

/// Guards: the page in a real browser, as narrow as a telephone: nothing sticks out, no script fails, and the legend hides
/// and shows what ended so, in the charts of outcomes only.
#[test]
fn the_page_in_a_browser() {
    if !on_path("chromium") {
        return skip("reports::the_page_in_a_browser", "chromium is not installed");
    }
    const FIRST: &str = "<head><script>const wrong=[];onerror=m=>wrong.push(String(m))</script>";
    const LAST: &str = "<script>
        const shown=c=>[...document.querySelectorAll('svg.chart .'+c)].filter(r=>getComputedStyle(r).display!='none').length;
        const all=()=>[shown('hit'),shown('miss'),shown('bytes')], press=()=>document.querySelector('[data-outcome=hit]').click();
        const page=document.documentElement, before=all(); press(); const off=all(); press();
        document.title='seen '+JSON.stringify({before,off,after:all(),beyond:page.scrollWidth-page.clientWidth,wrong})+' end';
        </script></body>";
    let space = Space::new();
    drop(built_twice(&space));
    let page = space.path("report.html");
    space.cli("report --format html --output").arg(&page).run().ok();
    let text = fs::read_to_string(&page).expect("page");
    fs::write(&page, text.replace("<head>", FIRST).replace("</body>", LAST)).expect("page");
    let browser = space.command("chromium", &space.path("")).args("--headless --no-sandbox --disable-gpu");
    let out = browser.args("--window-size=390,800 --dump-dom").arg(&page).run();
    let seen = out.ok().stdout.split_once("seen ").and_then(|(_, rest)| rest.split_once(" end"));
    out.check(seen.is_some(), "the page's scripts must run");
    let seen: Value = serde_json::from_str(seen.expect("title").0).expect("JSON");
    out.check(seen["wrong"] == json!([]) && seen["beyond"] == 0, &seen.to_string());
    out.check(seen["before"] == seen["after"] && seen["before"][0].as_u64() > Some(0), &seen.to_string());
    out.check(seen["off"] == json!([0, seen["before"][1], seen["before"][2]]), &seen.to_string());
}

fn lane(event: &Value) -> (u64, u64) {
    (event["pid"].as_u64().expect("pid"), event["tid"].as_u64().expect("tid"))
}

/// Guards: a lost or damaged index is built anew, and that is said; the answers are the same, and builds never notice.
#[test]
fn the_index_is_built_anew() {
    const NONE: &str = "there was no index: it was made from the log";
    let space = Space::new();
    let tree = built_twice(&space);
    let answer = |told: &str| {
        let out = space.cli("report --format json --since all").run();
        let report = valid_report(&out);
        let fine = if told.is_empty() { !out.stderr.contains("index") } else { out.stderr.contains(told) };
        out.check(fine, &format!("what became of the index must be told: {told:?}"));
        (report["total"].clone(), report["store"]["entries"].clone(), space.cli("list --sort size").run().stdout)
    };
    let lines = |text: &str| text.lines().map(|l| l.split_whitespace().last().map(str::to_owned)).collect::<Vec<_>>();
    let before = answer(NONE);
    let index = space.cache().join("v1/index.db");
    let whole = fs::read(&index).expect("the index");
    let mut torn = whole.clone();
    torn[4096..].fill(0xff);
    let damages: [Option<&[u8]>; 5] = [None, Some(b""), Some(b"no database at all"), Some(&whole[..5000]), Some(&torn)];
    for damage in damages {
        remove(&index);
        if let Some(bytes) = damage {
            fs::write(&index, bytes).expect("damage");
        }
        tree.clean();
        tree.cargo("build").run().all_hit();
        let lost = damage.is_none_or(<[u8]>::is_empty);
        let after = answer(if lost { NONE } else { "the index is built anew" });
        assert_eq!((&after.1, lines(&after.2)), (&before.1, lines(&before.2)));
        answer("");
    }
    // Where it can't be, the answers come without it.
    remove(&index);
    fs::create_dir(&index).expect("a directory in its place");
    tree.clean();
    tree.cargo("build").run().all_hit();
    assert_eq!(answer("no index can be kept").1, before.1);
}

#[test]
fn damaged_cache() {
    let space = Space::new();
    let tree = built_twice(&space);
    space.cli("list").run().ok();
    let files = |kind: &str| files_below(&space.cache().join("v1").join(kind));
    for (n, file) in files("blobs").into_iter().chain(files("entries")).chain(files("inputs")).enumerate() {
        remove(&file);
        fs::write(&file, if n % 2 == 0 { "" } else { "not what it was" }).expect("damage");
    }
    for log in files("events") {
        let mut lines = fs::read(&log).expect("log");
        lines.extend(b"{\"v\":1,\"torn\n\xff\xfe\n{\"v\":99}\n{\"v\":1,\"time\":18446744073709551615}\n");
        fs::write(&log, lines).expect("damage");
    }
    for index in [true, false] {
        if !index {
            remove(&space.cache().join("v1/index.db"));
        }
        let report = valid_report(&space.cli("report --format json --since all").run());
        assert_eq!(report["total"]["hit"], 2, "what can be read of the log counts: {report}");
        for command in ["stats", "list", "report --format html", "report --format perfetto"] {
            space.cli(command).run().ok();
        }
    }
    assert_eq!(json(space.cli("list --json").run().ok())["entries"], Value::Array(Vec::new()));
    tree.clean();
    tree.cargo("build").run().ok();

    let file = space.path("file");
    fs::write(&file, "").expect("file");
    for command in ["stats", "list", "report"] {
        let out = space.cli(command).env("KACHE_CACHE_DIR", &file).run();
        out.check(out.status.code().is_some_and(|c| c < 2), "no crash");
        out.check(!out.stderr.contains("panicked"), "no panic");
    }
}

/// Guards: no escape sequence, no pager and no question without a terminal; a reader that leaves is no error.
#[test]
fn without_a_terminal() {
    let space = Space::new();
    built_twice(&space);
    for command in ["list", "report", "report --format markdown", "stats"] {
        let out = space.cli(command).env("PAGER", "echo paged; cat").run();
        out.ok().check(!out.stdout.contains("paged"), "no pager without a terminal");
        let plain = !out.stdout.contains('\x1b') && !out.stderr.contains('\x1b');
        out.check(plain, "no escape sequence without a terminal");
    }
    let line = format!("{} list --json | head -n 1 >/dev/null; exit $?", kache_cli().display());
    let out = space.command("sh", &space.path("")).arg("-c").arg(line).env("KACHE_CACHE_DIR", space.cache()).run();
    out.check(out.ok().stderr.is_empty(), "nothing to say of a closed pipe");
    let out = space.cli("report --output /nowhere/at/all").run();
    exits(&out, 1);
    says(&out, &["/nowhere/at/all"]);
}

/// A command on a terminal, with what is typed there.
fn on_a_terminal(space: &Space, command: &str, typed: &str) -> Option<Outcome> {
    if !on_path("script") {
        skip("reports", "no script (Debian package bsdutils)");
        return None;
    }
    let line = format!("printf '{typed}' | script -qec '{} {command}' /dev/null", kache_cli().display());
    let run = space.command("sh", &space.path("")).arg("-c").arg(line).env("KACHE_CACHE_DIR", space.cache());
    Some(run.env("KACHE_CONFIG", space.path("user.toml")).env("TERM", "xterm").run())
}

/// Guards: on a terminal the list goes through the pager, and is shown where there is none.
#[test]
fn lists_are_paged() {
    let space = Space::new();
    built_twice(&space);
    space.cli("list").run().ok();
    let pagers = [("PAGER=\"echo paged; cat\"", true), ("PAGER=no-such-pager", false), ("PAGER=", false)];
    for (pager, paged) in pagers {
        let script = space.path("list.sh");
        write_script(&script, &format!("#!/bin/sh\n{pager} exec {} list\n", kache_cli().display()));
        let line = format!("script -qec {} /dev/null </dev/null", script.display());
        if !on_path("script") {
            return skip("lists_are_paged", "no script (Debian package bsdutils)");
        }
        let run = space.command("sh", &space.path("")).arg("-c").arg(line).env("KACHE_CACHE_DIR", space.cache());
        let out = run.env("TERM", "xterm").run();
        says(out.ok(), &["app-", "part-"]);
        out.check(out.stdout.contains("paged") == paged, "the pager is the one that was named");
    }
}

/// Guards: one crate goes and the others stay, at once and on the disk; both spellings of a package name are understood.
#[test]
fn one_crate_is_purged() {
    let space = Space::new();
    let tree = built_twice(&space);
    let out = space.cli("purge --crate-name part").run();
    exits(&out, 2);
    says(&out, &["-y", "1 entry of part"]);
    let out = space.cli("purge -y --crate-name nothing-like-it").run();
    exits(&out, 1);
    says(&out, &["nothing called"]);
    says(space.cli("purge -y --crate-name part").run().ok(), &["Removed 1 entry of part"]);
    exits(&space.cli("list part").run(), 1);
    says(space.cli("list app").run().ok(), &["1 entry"]);
    tree.clean();
    let out = tree.cargo("build").run();
    assert_eq!((out.ok().outcome("part"), out.outcome("app")), ("miss", "hit"), "{}", out.world());
    says(space.cli("purge -y").run().ok(), &["Removed"]);
    let empty = space.cli("purge -y --crate-name part").run();
    exits(&empty, 1);
}

fn targets(out: &Outcome) -> Vec<Value> {
    let report = json(out.ok());
    let wrong = faults_of(&report, "clean");
    out.check(wrong.is_empty(), &format!("clean must print what is described: {wrong:?}"));
    report["targets"].as_array().expect("targets").clone()
}

/// Guards: only what cargo made goes, only with consent, and nothing that a build is using.
#[test]
fn target_directories_are_cleaned() {
    let space = Space::new();
    let tree = built_twice(&space);
    let site = space.site("");
    let at = |out: &Outcome| targets(out).iter().map(|t| t["dir"].clone()).collect::<Vec<_>>();
    // Of others: a tag that is not cargo's, a directory that is called so, a link to one.
    tree.write("other/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# made by another tool\n");
    tree.write("other/.rustc_info.json", "{}");
    tree.write("named/target/file", "mine");
    std::os::unix::fs::symlink(tree.path.join("target"), tree.path.join("link")).expect("link");
    let clean = |args: &str| space.cli("clean").args(args).arg(&site).run();

    let out = clean("--dry-run --json");
    let only = Value::from(tree.path.join("target").display().to_string());
    assert_eq!(at(&out), [only]);
    let target = &targets(&out)[0];
    let frees = target["frees_bytes"].as_u64().expect("bytes");
    let restorable = target["restorable_bytes"].as_u64().expect("bytes");
    assert!(frees > 0 && restorable > 0 && restorable <= frees, "{target}");
    says(clean("--dry-run").ok(), &["target", "restore at least"]);
    let refused = clean("");
    exits(&refused, 2);
    says(&refused, &["-y"]);
    exits(&clean("--json"), 2);
    assert!(tree.path.join("target/debug/app").exists());

    // In use: cargo holds its lock.
    let lock = files_below(&tree.path.join("target/debug"))
        .into_iter()
        .find(|f| f.file_name().is_some_and(|n| n.to_string_lossy().ends_with("-lock")));
    let lock = fs::File::options().write(true).open(lock.expect("cargo's lock")).expect("open the lock");
    lock.lock().expect("lock");
    let out = clean("-y --json");
    assert_eq!((&targets(&out)[0]["in_use"], &targets(&out)[0]["removed"]), (&true.into(), &false.into()));
    assert!(tree.path.join("target/debug/app").exists());
    drop(lock);

    let command = format!("clean {}", site.display());
    for typed in ["\\n", "9\\n", "1 x\\n", "y\\n"] {
        let Some(out) = on_a_terminal(&space, &command, typed) else { break };
        says(&out, &["Remove which?"]);
        assert!(tree.path.join("target/debug/app").exists(), "{typed:?} names nothing");
    }
    // A cache that lies in a target directory keeps it.
    let out =
        space.cli("clean --dry-run --json").arg(&site).env("KACHE_CACHE_DIR", tree.path.join("target/cache")).run();
    assert_eq!(targets(&out).len(), 0);
    match on_a_terminal(&space, &command, "1\\n") {
        Some(out) => says(out.ok(), &["Removed 1 target directory"]),
        None => says(clean("-y").ok(), &["Removed 1 target directory"]),
    }
    assert!(!tree.path.join("target").exists());
    assert!(files_below(&space.cache().join("v1/spares/kept")).is_empty(), "what was kept of it goes with it");
    assert_eq!(tree.read("named/target/file"), "mine");
    assert!(tree.path.join("other/CACHEDIR.TAG").exists());
    says(clean("-y").ok(), &["no target directory"]);
    tree.cargo("build").run().all_hit();
    let out = space.cli("clean -y /nowhere/at/all").run();
    exits(&out, 1);
    says(&out, &["/nowhere/at/all"]);
}
