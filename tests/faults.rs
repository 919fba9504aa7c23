//! Whatever befalls the cache, the build goes on and no wrong byte is served.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use crate::common::*;

/// One small library, compiled the way cargo does it, and what the plain compiler makes of it here.
struct Unit<'s> {
    tree: Tree<'s>,
    plain: Snapshot,
}

const UNIT: &str = "--crate-name unit --edition=2024 unit.rs --crate-type lib --emit=dep-info,metadata,link \
                    -C metadata=0123456789abcdef -C extra-filename=-0123456789abcdef";

impl<'s> Unit<'s> {
    fn new(space: &'s Space) -> Unit<'s> {
        let tree = space.tree("w");
        tree.write("unit.rs", "#![no_std]\npub fn tell() -> u32 { let unused = 2; 1 }\n");
        let mut unit = Unit { tree, plain: Snapshot::of(Path::new("/nonexistent")) };
        unit.compile().plain().run().ok();
        unit.plain = unit.outputs();
        unit
    }

    /// Into an empty directory.
    fn compile(&self) -> Run<'s> {
        let out = self.tree.path.join("target/debug/deps");
        self.tree.clean();
        fs::create_dir_all(&out).unwrap();
        self.compile_again()
    }

    fn compile_again(&self) -> Run<'s> {
        let map = format!("--remap-path-prefix={}=.", self.tree.path.display());
        self.tree.rustc(UNIT).args("--out-dir target/debug/deps").arg(map)
    }

    /// Without what a killed process could not clean up: a file that was not yet renamed to its name.
    fn outputs(&self) -> Snapshot {
        self.tree.snapshot().only(|p| !p.file_name().unwrap().to_string_lossy().starts_with(".kache-"))
    }

    /// The compiler's outputs and streams, whatever happened before.
    #[track_caller]
    fn assert_right(&self, out: &Outcome) {
        out.ok();
        out.check(out.stderr.contains("unused variable"), "the warning is there");
        self.outputs().same_bytes(&self.plain);
    }
}

fn copy_dir(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// More steps than an action can have: the loop over kill points must end by itself.
const MANY_STEPS: u32 = 200;

#[test]
fn killed_at_every_step_of_storing() {
    let space = Space::new();
    let unit = Unit::new(&space);
    for step in 0.. {
        assert!(step < MANY_STEPS, "no end of the steps");
        remove(&space.cache());
        let out = unit.compile().env("KACHE_KILL_AT", step.to_string()).run();
        if out.status.signal() != Some(9) {
            unit.assert_right(&out);
            out.check(step > 3, "storing has steps");
            break;
        }
        unit.assert_right(&unit.compile_again().run());
        let out = unit.compile().run();
        unit.assert_right(&out);
        out.all_hit();
    }
}

#[test]
fn killed_at_every_step_of_restoring() {
    let space = Space::new();
    let unit = Unit::new(&space);
    unit.compile().run().ok();
    let (cache, kept) = (space.cache(), space.path("kept"));
    copy_dir(&cache, &kept);
    for step in 0.. {
        assert!(step < MANY_STEPS, "no end of the steps");
        remove(&cache);
        copy_dir(&kept, &cache);
        let out = unit.compile().env("KACHE_KILL_AT", step.to_string()).run();
        if out.status.signal() != Some(9) {
            unit.assert_right(&out);
            out.all_hit();
            out.check(step > 1, "restoring has steps");
            break;
        }
        let out = unit.compile_again().run();
        unit.assert_right(&out);
        let out = unit.compile().run();
        unit.assert_right(&out);
        out.all_hit();
    }
}

#[test]
fn killed_while_storing_a_whole_build() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "include!(concat!(env!(\"OUT_DIR\"), \"/code.rs\"));\n");
    tree.write(
        "part/build.rs",
        "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap();
         std::fs::write(out + \"/code.rs\", \"pub fn tell() -> u32 { 7 }\").unwrap(); }\n",
    );
    for step in [2, 5, 9, 14, 20] {
        remove(&space.cache());
        tree.clean();
        let out = tree.cargo("build").env("KACHE_KILL_AT", step.to_string()).run();
        out.check(!out.status.success() || step > 9, "a build with a killed wrapper fails");
        for _ in 0..2 {
            tree.cargo("build").run().ok();
            assert_eq!(tree.execute("target/debug/app").stdout, "7\n");
            tree.clean();
        }
    }
}

/// A build script's launcher, its real program, its tree of files and an executable, each at every step of a restore.
#[test]
fn killed_at_every_step_of_restoring_a_whole_build() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "include!(concat!(env!(\"OUT_DIR\"), \"/sub/code.rs\"));\n");
    tree.write(
        "part/build.rs",
        "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap();
         std::fs::create_dir(format!(\"{out}/sub\")).unwrap();
         std::fs::write(format!(\"{out}/more\"), [7; 40_000]).unwrap();
         std::fs::write(out + \"/sub/code.rs\", \"pub fn tell() -> u32 { 7 }\").unwrap(); }\n",
    );
    // Arms one action.
    let wrapper = space.path("wrapper/kache");
    let arm = "case \"$*\" in *\"$ARMED\"*) export KACHE_KILL_AT=$STEP ;; *) unset KACHE_KILL_AT ;; esac";
    write_script(&wrapper, &format!("#!/bin/sh\n{arm}\nexec {} \"$@\"\n", kache().display()));
    let flags = format!("--remap-path-prefix={}=.", tree.path.display());
    let run = tree.cargo("build").plain().env("RUSTFLAGS", flags).env("KACHE_CACHE_DIR", space.cache());
    run.clone().run().ok();
    let plain = tree.snapshot();
    tree.clean();
    let run = run.env("RUSTC_WRAPPER", &wrapper).env("KACHE_CONFIG", space.path("user.toml"));
    run.clone().run().ok();
    let compile = |name: &str| format!("--crate-name {name} ");
    for armed in [compile("build_script_build"), "--build-script".into(), compile("part"), compile("app")] {
        for step in 0.. {
            assert!(step < MANY_STEPS, "no end of the steps");
            tree.clean();
            let out = run.clone().env("ARMED", &armed).env("STEP", step.to_string()).run();
            if out.status.success() {
                out.all_hit().check(step > 1, &format!("restoring has steps: {armed} {step}"));
                break;
            }
            out.check(out.stderr.contains("SIGKILL"), "it fails by being killed");
            // In the tree as it was left.
            run.clone().run().ok();
            tree.snapshot()
                .only(|p| !p.file_name().unwrap().to_string_lossy().starts_with(".kache-"))
                .same_bytes(&plain);
            assert_eq!(tree.execute("target/debug/app").stdout, "7\n");
        }
    }
}

type Harm = fn(&[u8]) -> Vec<u8>;

/// Ways in which a file can be wrong.
const HARMS: &[(&str, Harm)] = &[
    ("empty", |_| Vec::new()),
    ("truncated", |b| b[..b.len() / 2].to_vec()),
    ("a bit flipped", |b| {
        let mut bytes = b.to_vec();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x10;
        }
        bytes
    }),
    ("of another version", |b| {
        let mut bytes = b.to_vec();
        for byte in bytes.iter_mut().take(8) {
            *byte = byte.wrapping_add(1);
        }
        bytes
    }),
    ("longer", |b| [b, b"more"].concat()),
];

#[test]
fn damaged_files_of_the_cache() {
    let space = Space::new();
    let unit = Unit::new(&space);
    unit.compile().run().ok();
    unit.compile().run().all_hit();
    unit.tree.clean();
    let (cache, kept) = (space.cache(), space.path("kept"));
    copy_dir(&cache, &kept);
    for part in ["blobs", "actions", "entries", "inputs", "memo", "events"] {
        for (how, harm) in HARMS {
            remove(&cache);
            copy_dir(&kept, &cache);
            let at = cache.join("v1").join(part);
            let files = if at.is_file() { vec![at] } else { files_below(&at) };
            for file in &files {
                let bytes = fs::read(file).unwrap();
                fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(file, harm(&bytes)).unwrap();
            }
            eprintln!("{part}: {} files {how}", files.len());
            unit.assert_right(&unit.compile().run());
            let out = unit.compile().run();
            unit.assert_right(&out);
            out.all_hit();
        }
    }
}

/// Changes a byte of each blob, with its size and its mtime as they were.
fn rot(cache: &Path) {
    let blobs = files_below(&cache.join("v1/blobs"));
    assert!(!blobs.is_empty());
    for blob in blobs {
        let mtime = fs::metadata(&blob).unwrap().modified().unwrap();
        let mut bytes = fs::read(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&blob, bytes).unwrap();
        fs::File::options().write(true).open(&blob).unwrap().set_modified(mtime).unwrap();
        fs::set_permissions(&blob, fs::Permissions::from_mode(0o444)).unwrap();
    }
}

/// Guards: a result whose bytes are there already under their digest is not answered for unread.
#[test]
fn bad_blob_is_not_adopted() {
    let space = Space::new();
    let unit = Unit::new(&space);
    unit.compile().run().ok();
    unit.tree.clean();
    rot(&space.cache());
    remove(&space.cache().join("v1/entries"));
    let out = unit.compile().run();
    unit.assert_right(&out);
    out.check(out.event("unit").stored(), "it is compiled and stored");
    let out = unit.compile().run();
    unit.assert_right(&out);
    out.all_hit();
}

/// Guards: what another boot wrote may never have reached the disk, whatever sizes and times say.
#[test]
fn another_boot() {
    let space = Space::new();
    let unit = Unit::new(&space);
    unit.compile().run().ok();
    unit.tree.clean();
    let id = space.path("boot_id");
    fs::write(&id, "01234567-89ab-cdef-0123-456789abcdef\n").unwrap();
    let script = format!("mount --bind '{}' /proc/sys/kernel/random/boot_id && exec \"$@\"", id.display());
    let booted = ["unshare", "-m", "sh", "-c", &script, "sh"];
    if !Command::new(booted[0]).args(&booted[1..]).arg("true").status().is_ok_and(|s| s.success()) {
        return skip("another_boot", "cannot mount over the boot id");
    }
    // What reached the disk is used, and is this boot's from now on.
    unit.compile().under(&booted).run().all_hit();
    unit.compile().run().all_hit();
    unit.tree.clean();
    rot(&space.cache());
    let out = unit.compile().under(&booted).run();
    unit.assert_right(&out);
    out.check(out.count("hit") == 0, "a blob that did not reach the disk is no hit");
    let out = unit.compile().under(&booted).run();
    unit.assert_right(&out);
    out.all_hit();
}

#[test]
fn files_of_the_cache_that_are_missing() {
    let space = Space::new();
    let unit = Unit::new(&space);
    unit.compile().run().ok();
    for part in ["blobs", "actions", "entries", "inputs", "memo", "events", "locks", "tools", "tmp", ""] {
        remove(&space.cache().join("v1").join(part));
        unit.assert_right(&unit.compile().run());
        let out = unit.compile().run();
        unit.assert_right(&out);
        out.all_hit();
    }
}

#[test]
fn directories_where_files_should_be() {
    let space = Space::new();
    let unit = Unit::new(&space);
    unit.compile().run().ok();
    for file in files_below(&space.cache().join("v1")) {
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
    }
    for _ in 0..2 {
        unit.assert_right(&unit.compile().run());
    }
}

#[test]
fn cache_directory_is_a_file() {
    let space = Space::new();
    let unit = Unit::new(&space);
    fs::write(space.cache(), "not a directory").unwrap();
    for _ in 0..2 {
        unit.assert_right(&unit.compile().run());
    }
    assert_eq!(fs::read_to_string(space.cache()).unwrap(), "not a directory");
}

/// Guards: where the observer can't be loaded, declared inputs are cached, and a build says why it is fewer things.
#[test]
fn cache_that_forbids_execution() {
    let test = "cache_that_forbids_execution";
    let space = Space::new();
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "noexec", "none"], &space.cache()) else {
        return skip(test, "cannot mount a tmpfs");
    };
    let tree = space.tree("w");
    tree.write("x.c", "int f(void) { return 1; }\n");
    for compilers in compilers(test) {
        let object = |run: Run<'_>| {
            let out = run.run();
            out.ok();
            let bytes = std::fs::read(tree.path.join("x.o")).unwrap();
            tree.remove("x.o");
            (out, bytes)
        };
        let compile = || tree.shell(compilers, "$CC -c x.c -o x.o");
        let (_, expected) = object(compile().plain());
        for outcome in ["miss", "hit"] {
            let (out, bytes) = object(compile());
            out.check(out.outcome("x.o") == outcome && bytes == expected, outcome);
        }
    }
    let unit = Unit::new(&space);
    for outcome in ["miss", "hit"] {
        let out = unit.compile().run();
        unit.assert_right(&out);
        out.check(out.actions().all(|e| e.outcome() == outcome), outcome);
    }
    let project = space.tree("project");
    app_with_part(&project, "pub fn tell() -> u32 { 1 }\n");
    let build = project.cargo("build").under(&["sh", "-c", "\"$0\" \"$@\" 2>&1 | cat"]).run();
    build.ok().check(build.stdout.matches("forbids execution").count() == 1, "it is told, once");
}

#[test]
fn full_disk() {
    let space = Space::new();
    let unit = Unit::new(&space);
    for kilobytes in [4, 16, 64, 256, 1024] {
        let size = format!("size={kilobytes}k");
        let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", &size, "none"], &space.cache()) else {
            return skip("full_disk", "cannot mount a tmpfs");
        };
        for _ in 0..3 {
            unit.assert_right(&unit.compile().run());
            let names = std::fs::read_dir(space.cache().join("v1/tmp")).into_iter().flatten();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let left: Vec<String> = names.filter(|name| !name.starts_with("kache-warned-")).collect();
            assert_eq!(left, [""; 0], "begun and left, with {kilobytes} kB");
        }
    }
}

#[test]
fn full_disk_in_a_whole_build() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.write("part/build.rs", "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }\n");
    for kilobytes in [64, 2048, 5000] {
        let size = format!("size={kilobytes}k");
        let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", &size, "none"], &space.cache()) else {
            return skip("full_disk_in_a_whole_build", "cannot mount a tmpfs");
        };
        for _ in 0..2 {
            tree.clean();
            tree.cargo("build").run().ok();
            assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
        }
    }
}

#[test]
fn read_only_cache() {
    let space = Space::new();
    let unit = Unit::new(&space);
    unit.compile().run().ok();
    let Some(_read_only) = ReadOnly::new(&space.cache()) else {
        return skip("read_only_cache", "root may write everywhere, and cannot mount");
    };
    // What is there is used; what is not there is compiled. No event can be written that would tell.
    let log = space.path("strace.log");
    let compilers = |run: Run<'_>| {
        let run = match on_path("strace") {
            true => run.under(&["strace", "-f", "-qq", "-e", "trace=execve", "-o", log.to_str().unwrap()]),
            false => run,
        };
        let out = run.run();
        let log = fs::read_to_string(&log).unwrap_or_default();
        let programs = log.lines().filter(|l| l.ends_with(" = 0")).filter_map(|l| l.split('"').nth(1));
        (out, programs.filter(|p| p.ends_with("/rustc")).count())
    };
    if !on_path("strace") {
        skip("read_only_cache", "strace is not installed: not seen whether the hit was one");
    }
    let (out, started) = compilers(unit.compile());
    unit.assert_right(&out);
    out.check(started == 0, "what is there is used");
    unit.tree.write("unit.rs", "#![no_std]\npub fn tell() -> u32 { let unused = 3; 2 }\n");
    let plain = unit.compile().plain().run();
    let files = unit.outputs();
    let (out, started) = compilers(unit.compile());
    out.ok().check(started == 1 || !on_path("strace"), "what is not there is compiled");
    out.check(out.stderr.starts_with(&plain.stderr) && out.stdout == plain.stdout, "the compiler's words come first");
    let more: Vec<&str> = out.stderr[plain.stderr.len()..].lines().collect();
    let one = |line: &str| line.starts_with("kache: warning: the result could not be written");
    out.check(more.iter().all(|line| one(line)) && more.len() < 2, "one line tells why it is not stored");
    unit.outputs().same_bytes(&files);
}

#[test]
fn no_permission() {
    let space = Space::new();
    let unit = Unit::new(&space);
    fs::create_dir(space.cache()).unwrap();
    let (close, open): (&[&str], &[&str]) =
        if is_root() { (&["chattr", "+i"], &["chattr", "-i"]) } else { (&["chmod", "0"], &["chmod", "700"]) };
    let run =
        |line: &[&str]| Command::new(line[0]).args(&line[1..]).arg(space.cache()).status().is_ok_and(|s| s.success());
    if !run(close) {
        return skip("no_permission", "this filesystem has no immutable directories");
    }
    for _ in 0..2 {
        unit.assert_right(&unit.compile().run());
    }
    assert!(run(open));
}

#[test]
fn cache_vanishes_during_the_build() {
    for when in ["before", "after"] {
        let space = Space::new();
        let unit = Unit::new(&space);
        let plain = unit.compile().plain().run();
        let pause = Pause::new(&space, "unit", when);
        let run = || unit.compile().compiler(&pause.rustc);
        let mut out = pause.during(run(), || remove(&space.cache()));
        unit.assert_right(&out);
        // The one thing that shows, and is documented: a program that starts then is told that the observer is gone.
        out.stderr = out.stderr.split_inclusive('\n').filter(|l| !l.starts_with("ERROR: ld.so:")).collect();
        out.same_as(&plain);
        for round in 0..2 {
            let out = run().run();
            unit.assert_right(&out);
            out.same_as(&plain).check(round == 0 || out.all_hit().count("hit") == 1, "found again");
        }
    }
}

#[test]
fn twenty_builds_of_one_crate_at_once() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("unit.rs", "pub fn tell() -> u32 { let unused = 2; 1 }\n");
    let map = format!("--remap-path-prefix={}=.", tree.path.display());
    let start = |i: u32| {
        let out = tree.path.join(format!("target-{i}/debug/deps"));
        fs::create_dir_all(&out).unwrap();
        // cargo's mark on a target directory.
        tree.write(&format!("target-{i}/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n");
        let run = tree.rustc(UNIT).arg("--out-dir").arg(&out).arg(&map);
        (out, run)
    };
    let (plain_out, plain) = start(0);
    plain.plain().run().ok();
    let only_code = |dir: &Path| Snapshot::of(dir).only(|p| p.extension().is_none_or(|e| e != "d"));
    let plain = only_code(&plain_out);
    let mark = Mark::of(&space.cache());
    let running: Vec<_> = (1..=20).map(start).map(|(out, run)| (out, run.spawn())).collect();
    for (out, running) in running {
        let done = running.wait();
        done.ok().check(done.stderr.contains("unused variable"), "each of them warns");
        only_code(&out).same_bytes(&plain);
    }
    let events = mark.since();
    assert_eq!(events.len(), 20);
    assert_eq!(events.iter().filter(|e| e.outcome() == "miss").count(), 1, "equal actions compile once");
}

#[test]
fn two_checkouts_at_once() {
    let space = Space::new();
    let trees = ["a", "b"].map(|at| {
        let tree = space.tree(at);
        app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
        tree.write("part/build.rs", "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }\n");
        tree
    });
    for _ in 0..3 {
        let running = trees.each_ref().map(|tree| {
            tree.clean();
            tree.cargo("build").spawn()
        });
        for done in running.map(Running::wait) {
            done.ok();
        }
        for tree in &trees {
            assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
            tree.assert_fresh("build");
        }
    }
}

#[test]
fn eviction_while_building() {
    let space = Space::new();
    let unit = Unit::new(&space);
    for _ in 0..5 {
        let mut purging = space.cli("purge").spawn();
        unit.assert_right(&unit.compile().env("KACHE_MAX_SIZE", "1").run());
        unit.assert_right(&unit.compile().env("KACHE_MAX_SIZE", "1").run());
        while purging.is_running() {
            unit.assert_right(&unit.compile().run());
        }
        let _ = purging.wait();
    }
}

/// Guards: a restore replaces no device and no pipe; what stands there is the compiler's to treat.
#[test]
fn special_file_at_the_place_of_an_output() {
    let space = Space::new();
    let unit = Unit::new(&space);
    unit.compile().run().ok();
    let again = unit.compile();
    let made =
        Command::new("mkfifo").arg(unit.tree.path.join("target/debug/deps/libunit-0123456789abcdef.rmeta")).status();
    assert!(made.unwrap().success());
    let out = again.run();
    out.check(out.count("hit") == 0, "nothing is restored over it");
    unit.assert_right(&out);
}
