//! Every kind of crate and output: restored as compiled, equal to the plain compiler's, and usable.

use crate::common::*;

/// Builds plainly, through kache, and again from the cache; the restored files are the plain ones.
#[track_caller]
fn restored(tree: &Tree<'_>, args: &str, flags: &str) -> Snapshot {
    let flags = format!("{flags} --remap-path-prefix={}=.", tree.path.display());
    restored_with(tree, args, |run| run.env("RUSTFLAGS", flags.trim()))
}

#[track_caller]
fn restored_with<'s>(tree: &Tree<'s>, args: &str, with: impl Fn(Run<'s>) -> Run<'s>) -> Snapshot {
    let build = |mode| {
        tree.clean();
        let out = with(tree.cargo(args).mode(mode)).run();
        out.ok();
        (out, tree.snapshot())
    };
    let (said, plain) = build(Mode::Plain);
    let (miss, compiled) = build(Mode::Observed);
    miss.check(miss.actions().all(|e| e.stored()), "all of it is stored");
    miss.same_as(&said);
    compiled.same_bytes(&plain);
    let (hit, files) = build(Mode::Observed);
    hit.all_hit().same_as(&said);
    files.same_bytes(&plain);
    files
}

fn library<'s>(space: &'s Space, kinds: &str) -> Tree<'s> {
    let tree = space.tree("w");
    tree.write("Cargo.toml", &manifest("thing", &format!("[lib]\ncrate-type = [{kinds}]\n[workspace]\n")));
    tree.write("src/lib.rs", "#[unsafe(no_mangle)] pub extern \"C\" fn tell() -> u32 { 1 }\n");
    tree
}

#[test]
fn lib() {
    let space = Space::new();
    assert!(restored(&library(&space, "\"lib\""), "build", "").has("libthing.rlib"));
}

#[test]
fn rlib() {
    let space = Space::new();
    assert!(restored(&library(&space, "\"rlib\""), "build", "").has("libthing.rlib"));
}

#[test]
fn dylib() {
    let space = Space::new();
    assert!(restored(&library(&space, "\"dylib\""), "build", "").has("libthing.so"));
}

#[test]
fn cdylib() {
    let space = Space::new();
    let tree = library(&space, "\"cdylib\"");
    assert!(restored(&tree, "build", "").has("libthing.so"));
    tree.write("main.c", "unsigned tell(void); int main(void) { return tell() == 1 ? 0 : 1; }\n");
    space.command("cc", &tree.path).args("main.c -o main -Ltarget/debug -lthing -Wl,-rpath,target/debug").run().ok();
    space.command("./main", &tree.path).run().ok();
}

#[test]
fn staticlib() {
    let space = Space::new();
    let tree = library(&space, "\"staticlib\"");
    assert!(restored(&tree, "build", "").has("libthing.a"));
    tree.write("main.c", "unsigned tell(void); int main(void) { return tell() == 1 ? 0 : 1; }\n");
    space
        .command("cc", &tree.path)
        .args("main.c -o main target/debug/libthing.a -lpthread -ldl -lm -lgcc_s")
        .run()
        .ok();
    space.command("./main", &tree.path).run().ok();
}

#[test]
fn several_kinds_at_once() {
    let space = Space::new();
    let files = restored(&library(&space, "\"rlib\", \"cdylib\", \"staticlib\""), "build", "");
    assert!(files.has("libthing.rlib") && files.has("libthing.so") && files.has("libthing.a"));
}

#[test]
fn proc_macro() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { mac::one!() }\n");
    let_part_use_a_macro(&tree);
    let code =
        "#[proc_macro] pub fn one(_: proc_macro::TokenStream) -> proc_macro::TokenStream { \"1\".parse().unwrap() }\n";
    tree.write("mac/src/lib.rs", code);
    restored(&tree, "build", "");
    // The restored macro is one that the compiler can load.
    tree.edit("part/src/lib.rs", "mac::one!()", "mac::one!() + 1");
    tree.cargo("build").run().ok();
    assert_eq!(tree.execute("target/debug/app").stdout, "2\n");
}

fn everything<'s>(space: &'s Space) -> Tree<'s> {
    let tree = space.tree("w");
    app_with_part(
        &tree,
        "/// ```\n/// assert_eq!(part::tell(), 1);\n/// ```\npub fn tell() -> u32 { 1 }\n#[test] fn unit() {}\n",
    );
    tree.write("part/tests/it.rs", "#[test] fn it() { assert_eq!(part::tell(), 1); }\n");
    tree.write("part/benches/b.rs", "fn main() {}\n");
    tree.write("part/examples/e.rs", "fn main() { println!(\"{}\", part::tell()); }\n");
    tree
}

#[test]
fn bin() {
    let space = Space::new();
    let tree = everything(&space);
    restored(&tree, "build", "");
    assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
}

#[test]
fn release() {
    let space = Space::new();
    let tree = everything(&space);
    restored(&tree, "build --release", "");
    assert_eq!(tree.execute("target/release/app").stdout, "1\n");
}

#[test]
fn test() {
    let space = Space::new();
    let tree = everything(&space);
    restored(&tree, "test -p part --no-run --lib --tests", "");
    let out = tree.cargo("test -p part").run();
    out.ok().check(out.stdout.matches("test result: ok. 1 passed").count() == 3, "unit, integration and doc tests run");
}

#[test]
fn bench() {
    let space = Space::new();
    restored(&everything(&space), "bench -p part --no-run", "");
}

#[test]
fn example() {
    let space = Space::new();
    let tree = everything(&space);
    restored(&tree, "build -p part --examples", "");
    assert_eq!(tree.execute("target/debug/examples/e").stdout, "1\n");
}

#[test]
fn check() {
    let space = Space::new();
    restored(&everything(&space), "check --workspace --all-targets", "");
}

#[test]
fn clippy() {
    let space = Space::new();
    let tree = everything(&space);
    tree.write("part/src/lib.rs", "pub fn tell() -> u32 { return 1; }\n");
    restored(&tree, "clippy --workspace", "");
    let out = tree.cargo("clippy --workspace -- -D clippy::needless_return").run();
    out.fails().check(out.stderr.contains("needless_return"), "other arguments are another action");
}

#[test]
fn check_does_not_stand_for_build() {
    let space = Space::new();
    let tree = everything(&space);
    tree.cargo("check").run().ok();
    tree.clean();
    tree.cargo("build").run().ok();
    assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
    tree.clean();
    tree.cargo("check").run().ok().all_hit();
}

#[test]
fn packed_debug_info() {
    let space = Space::new();
    let tree = everything(&space);
    let map = format!("--remap-path-prefix={}=.", tree.path.display());
    let files = restored_with(&tree, "build", |run| {
        run.env("CARGO_PROFILE_DEV_SPLIT_DEBUGINFO", "packed").env("RUSTFLAGS", &map)
    });
    assert!(files.has(".dwp"));
}

#[test]
fn unpacked_debug_info() {
    // Not mapped, and bound to its place: byte for byte what the plain compiler gives, without any map.
    let space = Space::new();
    let tree = everything(&space);
    let files = restored_with(&tree, "build", |run| run.env("CARGO_PROFILE_DEV_SPLIT_DEBUGINFO", "unpacked"));
    assert!(files.has(".dwo"));
}

#[test]
fn coverage() {
    let space = Space::new();
    let tree = everything(&space);
    restored_with(&tree, "build", |run| run.env("RUSTFLAGS", "-C instrument-coverage"));
    let profile = space.path("p.profraw");
    space.command(tree.path.join("target/debug/app"), &tree.path).env("LLVM_PROFILE_FILE", &profile).run().ok();
    assert!(profile.is_file());
}

#[test]
fn other_things_a_compiler_may_emit() {
    let space = Space::new();
    let tree = library(&space, "\"lib\"");
    for emit in ["asm", "llvm-ir", "llvm-bc", "mir", "obj", "metadata", "dep-info", "link,asm,obj"] {
        let map = format!("--remap-path-prefix={}=.", tree.path.display());
        let compile = |mode| {
            tree.clean();
            std::fs::create_dir_all(tree.path.join("target")).unwrap();
            let args = format!(
                "--crate-name thing --edition=2024 src/lib.rs --crate-type lib --emit={emit} -C metadata=1 -C extra-filename=-1 --out-dir target"
            );
            let out = tree.rustc(&args).arg(&map).mode(mode).run();
            out.ok();
            (out, tree.snapshot())
        };
        let (_, plain) = compile(Mode::Plain);
        for round in 0..2 {
            let (out, files) = compile(Mode::Observed);
            files.same_bytes(&plain);
            out.check(out.count("hit") == round, &format!("{emit}, round {round}"));
        }
    }
}

#[test]
fn output_named_by_o() {
    let space = Space::new();
    let tree = library(&space, "\"lib\"");
    let compile = |mode| {
        tree.clean();
        std::fs::create_dir_all(tree.path.join("target")).unwrap();
        let map = format!("--remap-path-prefix={}=.", tree.path.display());
        tree.rustc("--crate-name thing --edition=2024 src/lib.rs --crate-type cdylib -o target/named.so")
            .arg(map)
            .mode(mode)
            .run()
            .ok();
        tree.snapshot()
    };
    let plain = compile(Mode::Plain);
    assert!(plain.has("named.so"));
    for _ in 0..2 {
        compile(Mode::Observed).same_bytes(&plain);
    }
}

#[test]
fn argument_files() {
    // Keyed by what is in it, never by its name.
    let space = Space::new();
    let tree = library(&space, "\"lib\"");
    let compile = |mode, cfg: &str| {
        tree.clean();
        std::fs::create_dir_all(tree.path.join("target")).unwrap();
        tree.write("args", &format!("--cfg\n{cfg}\n--remap-path-prefix={}=.\n", tree.path.display()));
        tree.write(
            "src/lib.rs",
            "#![allow(unexpected_cfgs)]\n#[unsafe(no_mangle)] pub fn tell() -> bool { cfg!(one) }\n",
        );
        tree.rustc("@args --crate-name thing --edition=2024 src/lib.rs --crate-type lib --out-dir target")
            .mode(mode)
            .run()
            .ok();
        tree.snapshot()
    };
    for cfg in ["one", "two", "one"] {
        let kache = compile(Mode::Observed, cfg);
        kache.same_bytes(&compile(Mode::Plain, cfg));
    }
}

/// Guards: a question is answered from the cache as the compiler answers it, and what is none of the known ones goes to it.
#[test]
fn queries() {
    let space = Space::new();
    let tree = space.tree("w");
    let cached = ["-vV", "--version", "--print sysroot", "--print cfg", "--print target-list"];
    for query in cached.into_iter().chain(["--help", "--explain E0001"]) {
        let plain = tree.rustc(query).plain().run();
        let ends = if cached.contains(&query) { ["miss", "hit"] } else { ["passthrough"; 2] };
        for end in ends {
            let out = tree.rustc(query).run();
            out.same_as(&plain);
            out.check(out.events.len() == 1 && out.events[0].outcome() == end, &format!("{query}: {end}"));
        }
    }
    if !on_path("strace") {
        return skip("queries", "strace is not installed");
    }
    let log = space.path("strace.log");
    tree.rustc("-vV").under(&["strace", "-f", "-qq", "-e", "trace=execve", "-o", log.to_str().unwrap()]).run().ok();
    let started = std::fs::read_to_string(log).unwrap();
    let programs: Vec<_> = started.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(programs, [kache().to_str().unwrap()], "a hit starts nothing");
}

/// Guards: another compiler in the same place, of the same size and time, answers for itself.
#[test]
fn a_query_of_another_compiler() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    let compiler = space.site("bin/rustc");
    let time = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for (word, ends) in [("one", ["miss", "hit"]), ("two", ["miss", "hit"]), ("one", ["hit", "hit"])] {
        write_script(&compiler, &format!("#!/bin/sh\necho version {word}\n"));
        std::fs::File::options().write(true).open(&compiler).unwrap().set_modified(time).unwrap();
        let plain = space.command(&compiler, &tree.path).args("-vV").run();
        for end in ends {
            let out = space.command(kache(), &tree.path).arg(&compiler).args("-vV").mode(Mode::Observed).run();
            out.same_as(&plain);
            out.check(out.stdout == format!("version {word}\n"), "its own answer");
            out.check(out.events.len() == 1 && out.events[0].outcome() == end, end);
        }
    }
}

#[test]
fn panic_abort_lto_and_codegen_units() {
    let space = Space::new();
    let tree = everything(&space);
    let text = tree.read("Cargo.toml");
    tree.write(
        "Cargo.toml",
        &format!("{text}\n[profile.release]\nlto = true\ncodegen-units = 1\npanic = \"abort\"\nstrip = true\n"),
    );
    restored(&tree, "build --release", "");
    assert_eq!(tree.execute("target/release/app").stdout, "1\n");
}

#[test]
fn explicit_target() {
    let space = Space::new();
    let tree = everything(&space);
    restored(&tree, &format!("build --target {}", host()), "");
}

#[test]
fn names_that_are_hard() {
    // Spaces, quotes and letters beyond ASCII in the path of the checkout; a source name with a space.
    let space = Space::new();
    let tree = space.tree("a b/it's \"quoted\"/ünïcode $HOME #1");
    app_with_part(&tree, "#[path = \"a b.rs\"] mod m;\npub fn tell() -> u32 { m::N }\n");
    tree.write("part/src/a b.rs", "pub const N: u32 = 1;\n");
    tree.cargo("build").plain().run().ok();
    let d = |tree: &Tree<'_>| tree.snapshot().only(|p| p.extension().is_some_and(|e| e == "d"));
    let plain = d(&tree);
    for _ in 0..2 {
        tree.clean();
        tree.cargo("build").run().ok();
        d(&tree).same_bytes(&plain);
    }
    tree.clean();
    tree.cargo("build").run().ok().all_hit();
    tree.assert_fresh("build");
    tree.edit("part/src/a b.rs", "1", "2");
    tree.cargo("build").run().ok();
    assert_eq!(tree.execute("target/debug/app").stdout, "2\n");
}

#[test]
fn documentation() {
    let space = Space::new();
    let tree = everything(&space);
    tree.cargo("doc --workspace --no-deps").run().ok();
    assert!(tree.path.join("target/doc/part/index.html").is_file());
}
