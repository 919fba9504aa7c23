//! Settings: which of them wins, and that none of them, right or wrong, breaks a build.

use std::os::unix::fs::MetadataExt;

use crate::common::*;

fn project<'s>(space: &'s Space) -> Tree<'s> {
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree
}

fn rebuilt<'s>(tree: &Tree<'s>, with: impl Fn(Run<'s>) -> Run<'s>) -> Outcome {
    tree.clean();
    let out = with(tree.cargo("build")).run();
    out.ok();
    out
}

#[test]
fn switched_off() {
    let space = Space::new();
    let tree = project(&space);
    let plain = tree.cargo("build").plain().run();
    plain.ok();
    let plain = tree.snapshot();
    for _ in 0..2 {
        let out = rebuilt(&tree, |r| r.env("KACHE_DISABLED", "1"));
        out.check(out.actions().count() > 0, "skipped invocations are told");
        out.check(out.actions().all(|e| e.outcome() == "skipped"), "nothing but skipped invocations");
        tree.snapshot().same_bytes(&plain);
    }
    // Not switched off by its negation.
    drop(rebuilt(&tree, |r| r.env("KACHE_DISABLED", "0")));
    rebuilt(&tree, |r| r.env("KACHE_DISABLED", "")).all_hit();
}

#[test]
fn excluded_by_each_layer() {
    let space = Space::new();
    let tree = project(&space);
    drop(rebuilt(&tree, |r| r));
    rebuilt(&tree, |r| r).all_hit();
    let outcomes = |out: Outcome| (out.outcome("app").to_owned(), out.outcome("part").to_owned());
    let expect = |app: &str, part: &str| (app.to_owned(), part.to_owned());

    std::fs::write(space.path("user.toml"), "[cache]\nexclude = [\"app\"]\n").unwrap();
    assert_eq!(outcomes(rebuilt(&tree, |r| r)), expect("passthrough", "hit"));
    tree.write(".kache.toml", "[cache]\nexclude = [\"pa*\"]\n");
    // What was excluded is compiled as without kache, so what depends on it may be another action; but not excluded.
    let (app, part) = outcomes(rebuilt(&tree, |r| r));
    assert!(app != "passthrough" && part == "passthrough", "{app} {part}");
    assert_eq!(outcomes(rebuilt(&tree, |r| r.env("KACHE_EXCLUDE", "app,nothing"))), expect("passthrough", "hit"));
    let out = rebuilt(&tree, |r| r.env("KACHE_EXCLUDE", "*"));
    out.check(out.event("app").reason() != "", "a passthrough has a reason");
    assert_eq!(outcomes(out), expect("passthrough", "passthrough"));
}

#[test]
fn broken_files_warn_and_defaults_hold() {
    let space = Space::new();
    let tree = project(&space);
    drop(rebuilt(&tree, |r| r));
    for broken in ["not [ toml", "[cache]\nno_such_setting = 1\n", "[cache]\nmax_size = \"plenty\"\n", "\u{0}\u{1}"] {
        tree.write(".kache.toml", broken);
        let out = rebuilt(&tree, |r| r);
        out.all_hit();
        out.check(out.stderr.contains(".kache.toml"), "the warning names the file");
    }
    tree.remove(".kache.toml");
    std::fs::create_dir(tree.path.join(".kache.toml")).unwrap();
    rebuilt(&tree, |r| r).all_hit();
    tree.remove(".kache.toml");
    let out = rebuilt(&tree, |r| r.env("KACHE_MAX_SIZE", "plenty"));
    out.all_hit().check(out.stderr.contains("KACHE_MAX_SIZE"), "the warning names the variable");
}

/// Variables, and what is said of them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

fn warnings(out: &Outcome) -> Vec<String> {
    let all = format!("{}{}", out.stdout, out.stderr);
    all.lines().filter(|l| l.contains("kache: ")).map(str::to_owned).collect()
}

/// Guards: whatever degraded and however often, a build says one line; and cargo does not say it again, when nothing is built
/// or after it was mended.
#[test]
fn a_build_says_one_line() {
    let space = Space::new();
    let tree = project(&space);
    tree.write("build.rs", "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }");
    let file = space.path("file");
    std::fs::write(&file, "").unwrap();
    // Its standard error is a pipe, as in most places; otherwise the tests' is a file.
    let piped = |set: &[(&str, &str)]| {
        let run = tree.cargo("build").under(&["sh", "-c", "\"$0\" \"$@\" 2>&1 | cat"]);
        let out = set.iter().fold(run, |run, (name, value)| run.env(name, value)).run();
        out.ok().check(out.stdout.contains("Finished"), "the build goes on");
        out
    };
    let nowhere = "/nowhere/at/all";
    let cases: [Case<'_>; 6] = [
        (&[("KACHE_LOG", "loud")], &[".kache.toml: cache.no_such_setting", "and 1 more: kache config list"]),
        (&[("KACHE_BASE_DIR", "../here")], &["KACHE_BASE_DIR: must be an absolute path (is \"../here\")"]),
        (&[("KACHE_CONFIG", "here.toml")], &["KACHE_CONFIG: must be an absolute path"]),
        (&[("KACHE_FALLBACK", nowhere), ("KACHE_EXCLUDE", "*")], &["fallback /nowhere/at/all", "directly"]),
        (&[("KACHE_CACHE_DIR", file.to_str().unwrap())], &["nothing is stored", "space-", "file/v1"]),
        (&[("KACHE_LOG", "info"), ("KACHE_LOG_FILE", "/dev/null/log")], &["nothing is logged: /dev/null/log"]),
    ];
    for (n, (set, words)) in cases.iter().enumerate() {
        if n == 0 {
            tree.write(".kache.toml", "[cache]\nno_such_setting = 1\n");
        }
        tree.clean();
        let out = piped(set);
        let said = warnings(&out);
        out.check(
            said.len() == 1 && words.iter().all(|w| said[0].contains(w)),
            &format!("one line that says {words:?}"),
        );
        drop(std::fs::remove_file(tree.path.join(".kache.toml")));
        let again = piped(&[]);
        again.check(warnings(&again).is_empty(), "nothing is said again");
        assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
        tree.clean();
        let out = set.iter().fold(tree.cargo("build"), |run, (name, value)| run.env(name, value)).run();
        out.check(warnings(&out).len() <= 1, "one line into a file, too");
    }
}

/// Guards: a script that builds is one build, whichever shells it starts.
#[test]
fn a_script_says_one_line() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("unit.rs", "");
    let line = |n: u32| {
        let names = format!("--crate-name unit --crate-type lib --out-dir out{n} unit.rs");
        format!("(true; {} {} {names}; true)\n", kache().display(), rustc().display())
    };
    let script: String = (0..3).map(line).collect();
    let run = space.command("sh", &tree.path).arg("-c").arg(script).env("KACHE_CACHE_DIR", space.cache());
    let out = run.env("KACHE_CONFIG", "").env("KACHE_BASE_DIR", "here").run();
    out.ok().check(warnings(&out).len() == 1, "one line");
    assert!((0..3).all(|n| tree.path.join(format!("out{n}/libunit.rlib")).is_file()));
}

/// Guards: make and the makes below it are one build, and what asks a compiler for its messages gets the compiler's alone.
#[test]
fn a_make_says_one_line() {
    let space = Space::new();
    let tree = space.tree("w");
    let rules = "all: a.o b.o probe\n%.o: %.c\n\t(true; $(CC) -c $< -o $@)\n";
    tree.files(&[
        ("a.c", "int a;\n"),
        ("b.c", "int b;\n"),
        ("sub/a.c", "int c;\n"),
        ("sub/b.c", "int d;\n"),
        ("sub/Makefile", &format!("{rules}probe:\n")),
        (
            "Makefile",
            &format!("{rules}\t@$(MAKE) -C sub\nprobe:\n\t$(CC) -c a.c -o p.o 2>messages; test ! -s messages\n"),
        ),
    ]);
    for compilers in compilers("a_make_says_one_line") {
        for script in ["make CC=\"$CC\" -j2 2>&1 | cat", "make CC=\"$CC\" -j2"] {
            let out =
                tree.shell(compilers, &format!("rm -f *.o sub/*.o; {script}")).env("KACHE_BASE_DIR", "here").run();
            let said = warnings(out.ok());
            out.check(said.len() == 1 && said[0].contains("KACHE_BASE_DIR"), "one line");
            assert_eq!(tree.read("messages"), "");
        }
    }
}

/// Guards: the project's file holds for all of a build, wherever a dependency's source lies and whatever lies there.
#[test]
fn a_project_is_all_that_it_builds() {
    let space = Space::new();
    let tree = project(&space);
    let outside = ["site/elsewhere/far", "cargo-home/registry/src/index/far"].map(|at| space.path(at));
    for (place, target) in
        outside.iter().flat_map(|place| ["w/target", "target-elsewhere"].map(|t| (place, space.site(t))))
    {
        write_file(&place.join("Cargo.toml"), &manifest("far", "[workspace]\n"));
        write_file(&place.join("build.rs"), "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }");
        write_file(&place.join("src/lib.rs"), "pub fn far() {}\n");
        let other =
            format!("[dependencies]\npart = {{ path = \"part\" }}\nfar = {{ path = {place:?} }}\n[workspace]\n");
        tree.write("Cargo.toml", &manifest("app", &other));
        tree.write(".kache.toml", "[cache]\nexclude = [\"far\"]\n");
        let out = rebuilt(&tree, |r| r.env("CARGO_TARGET_DIR", &target));
        out.check(out.outcome("part") != "passthrough", "only what is excluded");
        let of_far: Vec<_> =
            out.actions().filter(|e| e.field("dir").is_some_and(|d| d == &*place.to_string_lossy())).collect();
        assert!(!of_far.is_empty(), "{}", out.world());
        let excluded = |name: &str| of_far.iter().any(|e| e.name() == name && e.outcome() == "passthrough");
        // Elsewhere, only cargo's home tells that it is no project.
        let found = target.starts_with(&tree.path) || place.starts_with(space.path("cargo-home"));
        out.check(excluded("far") == found, &format!("{} with {}", place.display(), target.display()));
        remove(&target);
        remove(&tree.path.join("Cargo.lock"));
        drop(std::fs::remove_dir_all(space.cache()));
    }
}

#[test]
fn a_file_that_is_not_there() {
    let space = Space::new();
    let tree = project(&space);
    drop(rebuilt(&tree, |r| r.env("KACHE_CONFIG", space.path("nowhere.toml"))));
    rebuilt(&tree, |r| r.env("KACHE_CONFIG", space.path("nowhere.toml"))).all_hit();
}

#[test]
fn salt() {
    let space = Space::new();
    let tree = project(&space);
    drop(rebuilt(&tree, |r| r));
    let out = rebuilt(&tree, |r| r.env("KACHE_KEY_SALT", "pepper"));
    out.check(out.count("hit") == 0, "another salt is another cache");
    rebuilt(&tree, |r| r.env("KACHE_KEY_SALT", "pepper")).all_hit();
    rebuilt(&tree, |r| r).all_hit();
}

#[test]
fn verified_restores() {
    let space = Space::new();
    let tree = project(&space);
    drop(rebuilt(&tree, |r| r));
    rebuilt(&tree, |r| r.env("KACHE_VERIFY_RESTORES", "1")).all_hit();
    // Damage that leaves size and mtime as they were: only a restore that hashes finds it.
    let plain = {
        tree.clean();
        tree.cargo("build").plain().run().ok();
        tree.execute("target/debug/app")
    };
    for blob in files_below(&space.cache().join("v1/blobs")) {
        let mut bytes = std::fs::read(&blob).unwrap();
        let meta = std::fs::metadata(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        remove(&blob);
        std::fs::write(&blob, bytes).unwrap();
        std::fs::File::options().write(true).open(&blob).unwrap().set_modified(meta.modified().unwrap()).unwrap();
        std::fs::set_permissions(&blob, meta.permissions()).unwrap();
    }
    drop(rebuilt(&tree, |r| r.env("KACHE_VERIFY_RESTORES", "1")));
    tree.execute("target/debug/app").same_as(&plain);
    rebuilt(&tree, |r| r).all_hit();
    tree.execute("target/debug/app").same_as(&plain);
}

#[test]
fn fallback_gets_what_is_declined() {
    let space = Space::new();
    let tree = project(&space);
    let (wrapper, log) = (space.path("bin/second-wrapper"), space.path("second.log"));
    write_script(&wrapper, &format!("#!/bin/sh\necho \"$@\" >> {}\nexec \"$@\"\n", log.display()));
    let out = rebuilt(&tree, |r| r.env("KACHE_FALLBACK", &wrapper).env("KACHE_EXCLUDE", "app"));
    out.check(out.outcome("part") == "miss", "what kache caches does not go to the second wrapper");
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("--crate-name app") && !told.contains("--crate-name part"), "{told}");
}

#[test]
fn fallback_that_is_not_there() {
    let space = Space::new();
    let tree = project(&space);
    for _ in 0..2 {
        drop(rebuilt(&tree, |r| r.env("KACHE_FALLBACK", "/nowhere/at/all").env("KACHE_EXCLUDE", "app")));
        assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
    }
}

#[test]
fn observation_switched_off() {
    let space = Space::new();
    let tree = project(&space);
    drop(rebuilt(&tree, Run::declared));
    let out = rebuilt(&tree, Run::declared);
    out.check(out.outcome("part") == "hit", "a library is cached on its declared inputs");
    assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
}

#[test]
fn log_level() {
    let space = Space::new();
    let tree = project(&space);
    let file = space.path("kache.log");
    let logged = |level: &str| {
        drop(std::fs::remove_file(&file));
        let out =
            rebuilt(&tree, |r| r.env("KACHE_LOG", level).env("KACHE_LOG_FILE", &file).env("KACHE_EXCLUDE", "app"));
        out.check(!out.stdout.contains("kache"), "nothing on standard output");
        std::fs::read_to_string(&file).unwrap_or_default()
    };
    drop(rebuilt(&tree, |r| r));
    tree.write("part/src/lib.rs", "pub fn tell() -> u32 { 2 }\n");
    for (level, has, has_not) in [
        ("debug", &["no entry", "] miss rustc part-", "passthrough"][..], "hit rustc part-"),
        ("info", &["] hit rustc part-", "passthrough", "excluded by a setting"], "no entry"),
        ("warn", &[], "] "),
        ("off", &[], "] "),
        ("nonsense", &[], "] "),
    ] {
        let log = logged(level);
        assert!(has.iter().all(|words| log.contains(words)) && !log.contains(has_not), "{level}: {log}");
    }
    // What degraded is there of each process, where a build says it once.
    let out = rebuilt(&tree, |r| r.env("KACHE_LOG", "warn").env("KACHE_BASE_DIR", "here"));
    let log = std::fs::read_to_string(space.cache().join("kache.log")).unwrap();
    out.check(log.lines().filter(|l| l.contains("KACHE_BASE_DIR: must be")).count() > 2, "each process logs it");
    out.check(warnings(&out).len() == 1, "one line");
}

/// Guards: a log file is set aside before it fills the disk, together with the one that was set aside before.
#[test]
fn log_file_is_bounded() {
    const LARGE: u64 = 16 << 20;
    let space = Space::new();
    let tree = project(&space);
    let (log, before) = (space.path("logs/kache.log"), space.path("logs/kache.log.1"));
    std::fs::create_dir(space.path("logs")).unwrap();
    std::fs::write(&before, "older").unwrap();
    std::fs::File::create(&log).unwrap().set_len(LARGE).unwrap();
    let out = rebuilt(&tree, |r| r.env("KACHE_LOG", "info").env("KACHE_LOG_FILE", &log));
    let text = std::fs::read_to_string(&log).unwrap();
    out.check(text.contains("miss rustc part-") && text.len() < 1 << 20, "a new file");
    out.check(before.metadata().unwrap().len() >= LARGE, "the large one is kept");
}

#[test]
fn size_limit_evicts() {
    let space = Space::new();
    let tree = project(&space);
    for n in 0..4 {
        tree.write("part/src/lib.rs", &format!("pub fn tell() -> u32 {{ {n} }}\n"));
        drop(rebuilt(&tree, |r| r));
    }
    let size = || {
        files_below(&space.cache().join("v1/blobs")).iter().map(|p| p.metadata().map_or(0, |m| m.len())).sum::<u64>()
    };
    let before = size();
    let out = space.cli("gc").env("KACHE_MAX_SIZE", (before / 2).to_string()).run();
    out.ok();
    assert!(size() <= before / 2, "{} of {before} are left\n{}", size(), out.world());
    drop(rebuilt(&tree, |r| r));
    assert_eq!(tree.execute("target/debug/app").stdout, "3\n");
}

/// Guards: on servers with clocks of their own, what changed less than the margin ago is used and not stored.
#[test]
fn too_new_to_be_stored() {
    let space = Space::new();
    let tree = project(&space);
    for _ in 0..2 {
        let out = rebuilt(&tree, |r| r.env("KACHE_TOO_NEW_MS", "60000"));
        for name in ["part", "app"] {
            let event = out.event(name);
            out.check(event.outcome() == "miss" && !event.stored() && event.reason() == "too-new", name);
        }
    }
    drop(rebuilt(&tree, |r| r));
    rebuilt(&tree, |r| r).all_hit();
}

/// Guards: what is compiled for this processor is keyed by it.
#[test]
fn the_processor_is_in_the_key() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.rs", "");
    for (flags, counts) in [("", false), ("-C target-cpu=native", true), ("-Ctarget-cpu=native", true)] {
        let args = format!("--crate-name x --crate-type lib --out-dir out{} x.rs {flags}", flags.len());
        let out = tree.rustc(&args).run();
        let key = out.ok().event("x").field("key").and_then(|k| k.as_str()).expect("it is stored").to_owned();
        let shown = space.cli("show --json").arg(key).run();
        let report: serde_json::Value = serde_json::from_str(&shown.ok().stdout).expect("JSON");
        let fields = report["fields"].as_array().expect("fields");
        let processor = fields.iter().find(|f| f[0] == "processor");
        shown.check(processor.is_some() == counts, &format!("{flags}: {counts}"));
        shown.check(processor.is_none_or(|f| f[1].as_str().is_some_and(|id| id.len() > 8)), "it says which");
    }
}

const PLENTY: u64 = 1 << 30;

/// The compile of a library of 200 KB into a directory of its own.
fn filling<'s>(tree: &Tree<'s>, number: usize, max_size: u64) -> Run<'s> {
    tree.write("x.rs", &format!("pub static DATA: [u8; 200_000] = [{number}; 200_000];\n"));
    tree.remove(&format!("out{number}"));
    let line = format!("--crate-name x --crate-type lib --edition 2024 --out-dir out{number} x.rs");
    tree.rustc(&line).env("KACHE_MAX_SIZE", max_size.to_string())
}

fn filled(tree: &Tree<'_>, number: usize, max_size: u64) -> Outcome {
    let out = filling(tree, number, max_size).run();
    out.ok();
    out
}

fn backdate(path: &std::path::Path, minutes: u64) {
    let time = std::time::SystemTime::now() - std::time::Duration::from_secs(minutes * 60);
    std::fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Guards: a build that stores something starts the housekeeping when it is due; that evicts what was used least recently,
/// down to the limit, and leaves what may be being recorded.
#[test]
fn evicts_by_itself() {
    let space = Space::new();
    let tree = space.tree("w");
    let v1 = space.cache().join("v1");
    let stamp = v1.join("gc.stamp");
    write_file(&stamp, "");
    for number in 0..4 {
        let out = filled(&tree, number, PLENTY);
        out.check(out.event("x").stored(), "it is stored");
    }
    let files = |kinds: &[&str]| kinds.iter().flat_map(|kind| files_below(&v1.join(kind))).collect::<Vec<_>>();
    let blocks = |file: &std::path::PathBuf| file.metadata().unwrap().blocks() * 512;
    let each = files(&["blobs", "entries", "inputs"]).iter().map(blocks).sum::<u64>() / 4;
    for entry in files(&["entries"]) {
        backdate(&entry, 2 * 24 * 60);
    }
    filled(&tree, 1, PLENTY).all_hit();
    let young = v1.join("blobs/ab").join("0".repeat(62));
    write_file(&young, "an entry may be about to name it");
    backdate(&young, 2 * 24 * 60);
    backdate(&stamp, 11);
    // Room for what is stored now and what was used lately, but for no third. It is over when nobody holds the lock.
    let last = filled(&tree, 4, each * 5 / 2);
    last.check(last.event("x").stored(), "it is stored");
    let start = std::time::Instant::now();
    let over = || std::fs::File::open(v1.join("gc.lock")).is_ok_and(|lock| lock.try_lock().is_ok());
    while !(files(&["entries"]).len() <= 2 && over()) {
        assert!(start.elapsed().as_secs() < 60, "nothing was evicted: {:?}", files(&["entries", "blobs"]));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(young.exists() && files(&["blobs"]).len() == 3, "blobs go with their entries, others are left");
    for (number, outcome) in [(4, "hit"), (1, "hit"), (0, "miss"), (2, "miss"), (3, "miss")] {
        let out = filled(&tree, number, PLENTY);
        out.check(out.outcome("x") == outcome, &format!("{number}: {outcome}"));
    }
}

/// Guards: the housekeeping starts at most once in ten minutes, and not for what stored nothing.
#[test]
fn housekeeping_is_rare() {
    if !on_path("strace") {
        return skip("housekeeping_is_rare", "strace is not installed");
    }
    let space = Space::new();
    let tree = space.tree("w");
    let stamp = space.cache().join("v1/gc.stamp");
    let log = space.path("strace.log");
    let under = ["strace", "-f", "-qq", "-e", "trace=execve", "-o", log.to_str().unwrap()];
    // strace ends when all have ended that were started, detached or not.
    let housekeeps = |number: usize| {
        filling(&tree, number, 1).under(&under).run().ok();
        let started = std::fs::read_to_string(&log).unwrap();
        started.lines().any(|line| line.contains("kache-cli") && line.contains("\"--auto\""))
    };
    assert!(housekeeps(0), "nothing was done so far");
    backdate(&stamp, 9);
    assert!(!housekeeps(1), "it was done lately");
    backdate(&stamp, 11);
    filled(&tree, 1, 1).all_hit();
    assert!(!housekeeps(1), "a hit stores nothing");
    assert!(housekeeps(2), "it is due");
}

/// Guards: one housekeeping at a time; another one leaves it to the first and does not wait.
#[test]
fn one_housekeeping_at_a_time() {
    let space = Space::new();
    let tree = space.tree("w");
    let v1 = space.cache().join("v1");
    write_file(&v1.join("gc.stamp"), "");
    drop(filled(&tree, 0, PLENTY));
    let lock = std::fs::File::create(v1.join("gc.lock")).unwrap();
    lock.lock().unwrap();
    let run = || space.cli("gc --auto").env("KACHE_MAX_SIZE", "1").run();
    run().ok();
    filled(&tree, 0, PLENTY).all_hit();
    lock.unlock().unwrap();
    run().ok();
    let out = filled(&tree, 0, PLENTY);
    out.check(out.outcome("x") == "miss", "without the lock it evicts");
}

#[test]
fn two_wrappers() {
    // The workspace wrapper of clippy and of users comes between kache and the compiler.
    let space = Space::new();
    let tree = project(&space);
    let wrapper = space.site("bin/workspace-wrapper");
    write_script(&wrapper, "#!/bin/sh\nexec \"$@\" --cfg wrapped\n");
    tree.write("part/src/lib.rs", "#![allow(unexpected_cfgs)]\npub fn tell() -> bool { cfg!(wrapped) }\n");
    for _ in 0..2 {
        drop(rebuilt(&tree, |r| r.env("RUSTC_WORKSPACE_WRAPPER", &wrapper)));
        assert_eq!(tree.execute("target/debug/app").stdout, "true\n");
        drop(rebuilt(&tree, |r| r));
        assert_eq!(tree.execute("target/debug/app").stdout, "false\n");
    }
    write_script(&wrapper, "#!/bin/sh\nexec \"$@\"\n");
    drop(rebuilt(&tree, |r| r.env("RUSTC_WORKSPACE_WRAPPER", &wrapper)));
    assert_eq!(tree.execute("target/debug/app").stdout, "false\n");
}
