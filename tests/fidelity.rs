//! What comes out of the cache is what the compiler would have given: streams, exit codes, modes, places, behaviour.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;

use crate::common::*;

/// A build through kache that compiles, one that restores, and the plain one, from the same empty place.
struct Three {
    miss: Outcome,
    hit: Outcome,
    plain: Outcome,
    miss_files: Snapshot,
    hit_files: Snapshot,
    plain_files: Snapshot,
}

fn three(tree: &Tree<'_>, run: &Run<'_>) -> Three {
    let build = |run: Run<'_>| {
        tree.clean();
        let out = run.run();
        (out, tree.snapshot())
    };
    let (plain, plain_files) = build(run.clone().plain());
    let (miss, miss_files) = build(run.clone());
    let (hit, hit_files) = build(run.clone());
    Three { miss, hit, plain, miss_files, hit_files, plain_files }
}

/// The user's map makes outputs comparable byte for byte: kache's own flags come first and the last match wins.
fn mapped<'s>(tree: &Tree<'s>, args: &str) -> Run<'s> {
    tree.cargo(args).env("RUSTFLAGS", format!("--remap-path-prefix={}=.", tree.path.display()))
}

#[test]
fn outputs_are_those_of_the_plain_compiler() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    let three = three(&tree, &mapped(&tree, "build"));
    three.hit.ok().all_hit();
    three.miss_files.same_bytes(&three.plain_files);
    three.hit_files.same_bytes(&three.plain_files);
}

#[test]
fn without_any_map_names_and_behaviour_are_those_of_the_plain_compiler() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> String { format!(\"{} {}\", file!(), std::panic::Location::caller()) }\n");
    tree.cargo("build").plain().run().ok();
    let plain = tree.execute("target/debug/app");
    let three = three(&tree, &tree.cargo("build"));
    three.hit.ok().all_hit();
    three.miss_files.same_names(&three.plain_files);
    three.hit_files.same_names(&three.plain_files);
    tree.execute("target/debug/app").same_as(&plain);
}

#[test]
fn warnings_are_replayed() {
    for args in ["build", "build --message-format short", "build --color always"] {
        let space = Space::new();
        let tree = space.tree("w");
        app_with_part(&tree, "pub fn tell() -> u32 { let unused = 2; 1 }\nfn never() {}\n");
        let three = three(&tree, &tree.cargo(args));
        three.plain.check(three.plain.stderr.contains("unused"), "the compiler warns");
        three.miss.same_as(&three.plain);
        three.hit.all_hit().same_as(&three.plain);
    }
}

/// Without cargo between: not one byte of either stream is another one.
#[test]
fn streams_are_those_of_the_compiler_byte_for_byte() {
    let formats = [
        "",
        "--color always",
        "--error-format short",
        "--error-format json",
        "--error-format=json --json=diagnostic-rendered-ansi,artifacts,future-incompat --diagnostic-width 70",
        "--print crate-name --print file-names --print link-args",
    ];
    for format in formats {
        let space = Space::new();
        let tree = space.tree("w");
        tree.write("x.rs", "fn never() {}\npub fn tell() -> &'static str { let ünused = 2; \"\\\\ \\\"\" }\n");
        let build = |mode| {
            tree.clean();
            fs::create_dir_all(tree.path.join("target")).unwrap();
            let args = "--crate-name x --edition=2024 --crate-type lib x.rs --emit=dep-info,metadata,link \
                        -C metadata=1 -C extra-filename=-1 --out-dir target";
            let out = tree.rustc(args).args(format).mode(mode).run();
            out.ok().check(format.contains("print") || out.stderr.contains("unused"), "the compiler warns");
            out
        };
        let [plain, miss, hit] = [Mode::Plain, Mode::Observed, Mode::Observed].map(build);
        for out in [&miss, &hit] {
            assert_eq!((&out.stdout, &out.stderr), (&plain.stdout, &plain.stderr), "{}", out.world());
        }
        hit.check(format.contains("print") || hit.all_hit().count("hit") == 1, "found");
    }
}

/// Guards: a line that does not end is passed on before it does, whole, and not kept.
#[test]
fn a_line_without_an_end() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.rs", "pub fn x() {}\n");
    let long = "head -c 40000000 /dev/zero | tr '\\0' x >&2; read go <go; echo . >&2";
    write_script(&tree.path.join("bin/rustc"), &format!("#!/bin/sh\n{long}\nexec {} \"$@\"\n", rustc().display()));
    let compile = "bin/rustc --crate-name x --crate-type lib --error-format json --emit metadata --out-dir target x.rs";
    let mut said = Vec::new();
    for kache in ["", kache().to_str().unwrap()] {
        ["go", "err", "target"].iter().for_each(|file| tree.remove(file));
        let run = tree.shell(GNU, &format!("mkdir target; mkfifo go; {kache} $PWD/{compile} 2>err")).spawn();
        until(|| fs::metadata(tree.path.join("err")).is_ok_and(|m| m.len() > 30_000_000));
        tree.shell(GNU, "echo >go").plain().run().ok();
        let out = run.wait();
        out.ok().check(kache.is_empty() || out.events[0].reason() == "long-stream", "too long to store");
        said.push(fs::read(tree.path.join("err")).unwrap());
    }
    assert!(said[0] == said[1] && said[0].ends_with(b"x.\n"), "every byte");
}

/// Guards: a message names the file in this checkout, as the plain compiler does, whoever compiled first and wherever.
#[test]
fn warnings_name_this_checkout() {
    let space = Space::new();
    for (at, later) in [("w", false), ("another/place", true)] {
        // A package outside the workspace is compiled with absolute paths; a member may include by one.
        let tree = space.tree(&format!("{at}/app"));
        let unused = "{ let unused = 2; 1 }\n";
        // One after the other: of packages that are ready at once cargo takes any.
        let needs = "[dependencies]\npart = { path = \"../app/part\" }\n[workspace]\n";
        space.write(&format!("{at}/beside/Cargo.toml"), &manifest("beside", needs));
        space.write(&format!("{at}/beside/src/lib.rs"), &format!("pub fn beside() -> u32 {unused}"));
        app_with_part(&tree, "include!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/code.rs\"));\n");
        tree.write("part/code.rs", &format!("pub fn tell() -> u32 {unused}"));
        tree.edit("Cargo.toml", "[dependencies]\n", "[dependencies]\nbeside = { path = \"../beside\" }\n");
        tree.edit("src/main.rs", "part::tell()", "part::tell() + beside::beside()");
        tree.cargo("generate-lockfile").plain().run().ok();
        for args in [MESSAGES[0], MESSAGES[3]] {
            let three = three(&tree, &tree.cargo(args));
            for file in [tree.path.join("part/code.rs"), space.site(&format!("{at}/beside/src/lib.rs"))] {
                let named =
                    [&three.plain.stdout, &three.plain.stderr].iter().any(|s| s.contains(file.to_str().unwrap()));
                three.plain.check(named, "the message names the file");
            }
            three.miss.ok().same_as(&three.plain);
            three.miss.check(!later || three.miss.event("part").is_hit(), "the member comes from the other checkout");
            three.hit.all_hit().same_as(&three.plain);
        }
    }
}

/// The ways in which cargo asks for messages.
const MESSAGES: [&str; 4] =
    ["build -j1", "build -j1 --color always", "build -j1 --message-format short", "build -j1 --message-format json"];

/// Guards: generated code lies where no message would find it by the name that kache's map gives it.
#[test]
fn warnings_in_generated_code() {
    let space = Space::new();
    for (at, target) in [("w", None), ("another/place", Some(space.path("built elsewhere")))] {
        let tree = space.tree(at);
        app_with_part(&tree, "include!(concat!(env!(\"OUT_DIR\"), \"/code.rs\"));\n");
        tree.write(
            "part/build.rs",
            "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap();
             std::fs::write(out + \"/code.rs\", \"pub fn tell() -> u32 { let unused = 2; 1 }\").unwrap(); }\n",
        );
        let out = target.clone().unwrap_or(tree.path.join("target"));
        let generated = format!("{}/debug/build/part-", out.display());
        for args in MESSAGES {
            let run = tree.cargo(args).env("CARGO_TARGET_DIR", &out);
            let build = |run: &Run<'_>| {
                remove(&out);
                run.clone().run()
            };
            let plain = build(&run.clone().plain());
            let named = [&plain.stdout, &plain.stderr].iter().any(|s| s.contains(&generated));
            plain.ok().check(named, "the message names the file");
            let first = build(&run);
            first.ok().same_as(&plain);
            first.check(target.is_none() || first.event("part").is_hit(), "it comes from the other checkout");
            build(&run).all_hit().same_as(&plain);
        }
        // An error is passed on and not stored; in a unit that is being edited kache records nothing at all.
        let run = tree.cargo("build -j1").env("CARGO_TARGET_DIR", &out).env("CARGO_INCREMENTAL", "1");
        let part = tree.read("part/src/lib.rs");
        let main = tree.read("src/main.rs");
        let edits =
            [("src/main.rs", "fn main() { part::tell(1); }\n"), ("part/src/lib.rs", &*format!("{part}fn f() {{}}\n"))];
        for (file, edited) in edits {
            let [plain, kache] = [Mode::Plain, Mode::Observed].map(|mode| {
                tree.write("src/main.rs", &main);
                tree.write("part/src/lib.rs", &part);
                remove(&out);
                run.clone().mode(mode).run().ok();
                tree.write(file, edited);
                run.clone().mode(mode).run()
            });
            plain.check(plain.stderr.contains(&generated), "the message names the file");
            kache.same_as(&plain);
            kache.check(kache.actions().any(|e| e.outcome() == "miss"), "something was compiled");
        }
        tree.write("src/main.rs", &main);
        tree.write("part/src/lib.rs", &part);
    }
}

#[test]
fn errors_pass_through_and_are_not_stored() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { \"not a number\" }\n");
    let three = three(&tree, &tree.cargo("build"));
    three.plain.fails();
    three.miss.same_as(&three.plain);
    three.hit.same_as(&three.plain);
    for out in [&three.miss, &three.hit] {
        out.check(out.outcome("part") == "miss" && !out.event("part").stored(), "a failure is never stored");
    }
    tree.edit("part/src/lib.rs", "\"not a number\"", "1");
    tree.cargo("build").run().ok();
    assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
}

/// Guards: a compiler that was killed, or failed, ends kache the same way, whatever it said before, and is not stored.
#[test]
fn a_killed_compiler_is_seen_as_killed() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.rs", "");
    let compiler = space.site("bin/rustc");
    for (end, signal, code) in
        [("kill -9 $$", Some(9), None), ("kill -15 $$", Some(15), None), ("exit 42", None, Some(42))]
    {
        write_script(&compiler, &format!("#!/bin/sh\necho said; echo why >&2\n{end}\n"));
        let line = "--crate-name x --crate-type lib --out-dir out x.rs";
        let plain = space.command(&compiler, &tree.path).args(line).run();
        for _ in 0..2 {
            let ours = space.command(kache(), &tree.path).arg(&compiler).args(line).mode(Mode::Observed).run();
            ours.same_as(&plain);
            ours.check((ours.status.signal(), ours.status.code()) == (signal, code), end);
            let event = ours.event("x");
            ours.check(event.outcome() == "miss" && !event.stored(), "it ran under kache and is not stored");
            ours.check(event.reason() == "tool-failed", "with its reason");
        }
    }
}

#[test]
fn standard_input_reaches_the_compiler() {
    let space = Space::new();
    let tree = space.tree("w");
    let line = format!(
        "echo 'fn main() {{}}' | {} {} - --crate-name in --crate-type bin",
        kache().display(),
        rustc().display()
    );
    for _ in 0..2 {
        tree.remove("in");
        let out = space.command("sh", &tree.path).arg("-c").arg(&line).mode(Mode::Observed).run();
        out.ok().check(out.outcome("in") == "passthrough" && out.event("in").reason() == "stdin", "with its reason");
        assert!(tree.path.join("in").is_file());
    }
}

#[test]
fn restored_executables_run() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> &'static str { \"runs\" }\n");
    let three = three(&tree, &tree.cargo("build"));
    three.hit.all_hit();
    assert_eq!(tree.execute("target/debug/app").stdout, "runs\n");
}

#[test]
fn modes_are_what_the_umask_gives() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, &format!("pub fn tell() -> u32 {{ 1 }}\n{}", interface()));
    for umask in ["022", "077", "002"] {
        let line = format!("umask {umask}; exec \"$@\"");
        let three = three(&tree, &mapped(&tree, "build").under(&["sh", "-c", &line, "sh"]));
        three.hit.ok().all_hit();
        three.miss_files.same_modes(&three.plain_files);
        three.hit_files.same_modes(&three.plain_files);
    }
}

#[test]
fn panics_tell_the_place_as_without_kache() {
    let space = Space::new();
    let tree = space.tree("w/app");
    space.write("w/beside/Cargo.toml", &manifest("beside", "[workspace]\n"));
    space.write(
        "w/beside/src/lib.rs",
        "pub fn place() -> &'static str { file!() }\npub fn fall() { panic!(\"fell\") }\n",
    );
    tree.write("Cargo.toml", &manifest("app", "[dependencies]\nbeside = { path = \"../beside\" }\n[workspace]\n"));
    let main = "fn main() { println!(\"{} {}\", file!(), beside::place());\n\
                if std::env::args().count() > 1 { panic!(\"here\") } beside::fall() }\n";
    tree.write("src/main.rs", main);
    // The number of the thread is the only thing that differs between two runs.
    let told = |out: Outcome| {
        let text = format!("{}{}", out.stdout, out.stderr);
        text.split_inclusive(' ')
            .filter(|w| w.trim().trim_matches(['(', ')']).parse::<u32>().is_err())
            .collect::<String>()
    };
    let run = |more: &str| {
        told(space.command(tree.path.join("target/debug/app"), &tree.path).args(more).without("RUST_BACKTRACE").run())
    };
    tree.cargo("build").plain().run().ok();
    let plain = [run(""), run("more")];
    for round in 0..3 {
        tree.clean();
        let out = tree.cargo("build").run();
        out.ok().check(round == 0 || out.all_hit().count("hit") > 0, "found again");
        assert_eq!([run(""), run("more")], plain);
    }
}

#[test]
fn dependency_files_name_this_checkout() {
    let space = Space::new();
    for (round, at) in ["one", "two with a space", "one"].into_iter().enumerate() {
        let tree = space.tree(at);
        app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
        let (mut plain, mut kache) = (Vec::new(), Vec::new());
        for (mode, found) in [(Mode::Plain, &mut plain), (Mode::Observed, &mut kache)] {
            tree.clean();
            let out = tree.cargo("build").mode(mode).run();
            out.ok().check(mode == Mode::Plain || round == 0 || out.all_hit().count("hit") > 0, "found again");
            let below = files_below(&tree.path.join("target"));
            for path in below.iter().filter(|p| p.extension().is_some_and(|e| e == "d")) {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
        assert!(!plain.is_empty());
        assert_eq!(kache, plain);
    }
}

/// The executable is the same for all checkouts; a debugger shows the sources of the one it is run in.
#[test]
fn debuggers_find_the_sources_of_this_checkout() {
    if !on_path("gdb") {
        return skip("debuggers_find_the_sources_of_this_checkout", "gdb is not installed");
    }
    let space = Space::new();
    for at in ["first", "second/place"] {
        let tree = space.tree(at);
        app_with_part(&tree, "pub fn tell() -> u32 {\n    let told = 1;\n    told\n}\n");
        let gdb = |of: &str| {
            let list = format!("list {of}");
            let line = ["-q", "-nx", "-batch", "-ex", &list, "-ex", "info source", "target/debug/app"];
            let out = line.iter().fold(space.command("gdb", &tree.path), |run, arg| run.arg(arg)).run();
            let located = out.stdout.lines().find(|l| l.starts_with("Located in ")).map(str::to_owned);
            let text = out.stdout.split("Current source file").next().map(str::to_owned);
            (text, located)
        };
        tree.cargo("build").plain().run().ok();
        let plain = [gdb("app::main"), gdb("part::tell")];
        tree.clean();
        let out = tree.cargo("build").run();
        out.ok().check(at == "first" || out.all_hit().count("hit") == 2, "found in the second");
        assert_eq!([gdb("app::main"), gdb("part::tell")], plain);
        for ((text, located), (code, file)) in
            plain.iter().zip([("part::tell()", "src/main.rs"), ("told = 1", "part/src/lib.rs")])
        {
            assert!(text.as_ref().is_some_and(|t| t.contains(code)), "{text:?}");
            assert_eq!(located.as_deref(), Some(&*format!("Located in {}", tree.path.join(file).display())));
        }
    }
}

#[test]
fn rewriting_restored_files_does_not_reach_the_store() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.write("part/Cargo.toml", &manifest("part", "[lib]\ncrate-type = [\"lib\", \"cdylib\", \"staticlib\"]\n"));
    let run = mapped(&tree, "build");
    let three = three(&tree, &run);
    three.hit.all_hit();
    type Harm = fn(&std::path::Path);
    let overwrite: Harm = |p| drop(fs::write(p, "rubbish"));
    let append: Harm = |p| {
        use std::io::Write;
        fs::File::options().append(true).open(p).and_then(|mut f| f.write_all(b"more")).unwrap();
    };
    let strip: Harm = |p| drop(std::process::Command::new("strip").arg(p).output());
    for harm in [overwrite, append, strip, |p| fs::remove_file(p).unwrap()] {
        for path in files_below(&tree.path.join("target/debug")) {
            let name = path.file_name().unwrap().to_string_lossy();
            let link = path.extension().is_some_and(|e| e == "rlib" || e == "real");
            if !link && (name.starts_with("app") || name.starts_with("libpart")) {
                harm(&path);
            }
        }
        tree.clean();
        let out = run.clone().run();
        out.ok().all_hit();
        tree.snapshot().same_bytes(&three.plain_files);
    }
}

#[test]
fn a_write_through_a_linked_library_is_found() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, &format!("pub fn tell() -> u32 {{ 1 }}\n{}", interface()));
    let run = mapped(&tree, "build");
    let three = three(&tree, &run);
    three.hit.all_hit();
    for kind in ["rlib", "rmeta"] {
        let below = files_below(&tree.path.join("target/debug/deps"));
        let files: Vec<_> = below.iter().filter(|p| p.extension().is_some_and(|e| e == kind)).collect();
        assert_eq!(files.len(), 1, "{kind}");
        let linked = |path: &std::path::Path| fs::metadata(path).unwrap().nlink() > 1;
        assert_eq!(linked(files[0]), below.iter().any(|p| linked(p) && p.extension().is_some_and(|e| e == "rlib")));
        fs::set_permissions(files[0], fs::Permissions::from_mode(0o644)).unwrap();
        let mut bytes = fs::read(files[0]).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(files[0], bytes).unwrap();
        for _ in 0..2 {
            tree.clean();
            run.clone().run().ok();
            tree.snapshot().same_bytes(&three.plain_files);
        }
    }
}

#[test]
fn cargo_without_kache_over_a_restored_tree() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.cargo("build").run().ok();
    tree.clean();
    tree.cargo("build").run().ok().all_hit();
    let out = tree.cargo("build").plain().run();
    out.ok().check(!out.stderr.contains("Compiling"), "a restored tree is a fresh tree for plain cargo");
    tree.edit("part/src/lib.rs", "{ 1 }", "{ 2 }");
    tree.cargo("build").plain().run().ok();
    assert_eq!(tree.execute("target/debug/app").stdout, "2\n");
    // And back to kache, over what plain cargo left.
    tree.edit("part/src/lib.rs", "{ 2 }", "{ 3 }");
    tree.cargo("build").run().ok();
    assert_eq!(tree.execute("target/debug/app").stdout, "3\n");
}

#[test]
fn cargo_clean_of_one_package() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.cargo("build").run().ok();
    tree.cargo("clean -p part").run().ok();
    tree.cargo("build").run().ok().all_hit();
    tree.assert_fresh("build");
}

#[test]
fn a_hit_starts_no_compiler() {
    let space = Space::new();
    let tree = space.tree("w");
    if !on_path("strace") {
        return skip("a_hit_starts_no_compiler", "strace is not installed");
    }
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.write("part/build.rs", "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }\n");
    tree.cargo("build").run().ok();
    tree.clean();
    let log = space.path("strace.log");
    let strace = ["strace", "-f", "-qq", "-s", "4096", "-v", "-e", "trace=execve", "-o", log.to_str().unwrap()];
    let out = tree.cargo("build").under(&strace).run();
    out.ok().all_hit();
    let log = fs::read_to_string(log).unwrap();
    for line in log.lines().filter(|l| l.ends_with(" = 0")) {
        let program = line.split('"').nth(1).unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        let compiles = name == "rustc" && line.contains("\"--crate-name\"") && !line.contains("\"___\"");
        assert!(!compiles, "a hit must not start the compiler: {line}");
        assert!(!["cc", "ld", "as"].contains(&name), "a hit must not start a linker: {line}");
        assert!(!name.ends_with(".real"), "a hit must not run the build script: {line}");
    }
}

#[test]
fn metadata_notification_is_streamed() {
    // cargo starts the dependent when it reads the notification. A wrapper that holds the stream back is found by a
    // compiler that does not end before the dependent has started.
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.remove("src/main.rs");
    tree.write("src/lib.rs", "pub fn told() -> u32 { part::tell() }\n");
    let started = space.path("dependent-started");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\
         *'--crate-name app'*) touch {started} ;;\nesac\n\
         {rustc} \"$@\" || exit\n\
         case \"$*\" in\n*'--crate-name part'*) n=0; while [ ! -e {started} ]; do sleep 0.05; n=$((n+1)); [ $n -lt 400 ] || exit 9; done ;;\nesac\n",
        started = started.display(),
        rustc = rustc().display(),
    );
    write_script(&space.site("bin/rustc"), &script);
    tree.cargo("build").env("RUSTC", space.site("bin/rustc")).run().ok();
}
