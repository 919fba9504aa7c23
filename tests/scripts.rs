//! Build-script runs are actions like any other: restored with all they gave, run again when anything they looked at has
//! changed, and not stored when they talk to the network or change their own inputs.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::*;

/// A package `app` whose build script has this body and whose program prints `TOLD` and the file `OUT_DIR/told`, as the
/// script left them.
fn script<'s>(space: &'s Space, at: &str, body: &str) -> Tree<'s> {
    let tree = space.tree(at);
    tree.write("Cargo.toml", &manifest("app", "[workspace]\n"));
    tree.write("src/main.rs", "fn main() { println!(\"{}\", include_str!(concat!(env!(\"OUT_DIR\"), \"/told\"))); }\n");
    tree.write(
        "build.rs",
        &format!(
            "fn main() {{\n let out = std::env::var(\"OUT_DIR\").unwrap();\n\
             let tell = |text: String| std::fs::write(format!(\"{{out}}/told\"), text).unwrap();\n {body}\n}}\n"
        ),
    );
    tree
}

fn run_of(out: &Outcome) -> &Event {
    match out.actions().find(|e| e.action() == "build-script") {
        Some(event) => event,
        None => panic!("no build script ran through kache\n{}", out.world()),
    }
}

/// Builds from nothing, says whether the script's run was a hit.
#[track_caller]
fn build(tree: &Tree<'_>) -> bool {
    tree.clean();
    let out = tree.cargo("build").run();
    out.ok();
    run_of(&out).is_hit()
}

fn told(tree: &Tree<'_>) -> String {
    tree.execute("target/debug/app").stdout.trim_end().to_owned()
}

/// The run is found as long as nothing changes; after the change it runs and sees the change; back again it is found.
#[track_caller]
fn reruns(tree: &Tree<'_>, change: impl Fn()) {
    tree.space.save("before");
    assert!(!build(tree), "the first run runs");
    let first = told(tree);
    assert!(build(tree), "the second is found");
    assert_eq!(told(tree), first);
    change();
    assert!(!build(tree), "after the change it runs");
    let changed = told(tree);
    tree.clean();
    tree.cargo("build").plain().run().ok();
    assert_eq!(changed, told(tree), "it gives what it gives without kache");
    assert_ne!(changed, first, "the change is one that shows");
    tree.space.put_back("before");
    assert!(build(tree), "the way back is found");
    assert_eq!(told(tree), first);
}

#[test]
fn everything_it_gave_is_restored() {
    let body = "tell(\"x\".into()); std::fs::create_dir_all(format!(\"{out}/deep/er\")).unwrap();\n\
                std::fs::write(format!(\"{out}/deep/er/file\"), \"y\").unwrap();\n\
                std::fs::create_dir(format!(\"{out}/empty\")).unwrap();\n\
                std::fs::write(format!(\"{out}/tool\"), \"#!/bin/sh\\n\").unwrap();\n\
                use std::os::unix::fs::PermissionsExt;\n\
                std::fs::set_permissions(format!(\"{out}/tool\"), std::fs::Permissions::from_mode(0o755)).unwrap();\n\
                std::os::unix::fs::symlink(\"told\", format!(\"{out}/link\")).unwrap();\n\
                println!(\"cargo::rustc-env=TOLD=1\"); println!(\"cargo::metadata=root={out}\");\n\
                println!(\"cargo::warning=a warning\"); eprintln!(\"to stderr\"); eprint!(\"no newline\");";
    let space = Space::new();
    for at in ["a", "b"] {
        let tree = script(&space, at, body);
        tree.cargo("build").plain().run().ok();
        let state = || {
            let dir = files_below(&tree.path.join("target/debug/build"));
            let told = |end: &str| {
                let file = dir.iter().find(|p| p.ends_with(end)).unwrap_or_else(|| panic!("no {end} in {dir:?}"));
                fs::read_to_string(file).unwrap()
            };
            let out = dir.iter().find(|p| p.ends_with("out/told")).unwrap().parent().unwrap();
            assert!(out.join("empty").is_dir(), "empty directories count");
            assert_eq!(fs::read_link(out.join("link")).unwrap().to_str(), Some("told"), "a link stays a link");
            [told("output"), told("stderr"), told("out/deep/er/file"), told("out/told"), told("root-output")]
        };
        let (plain, files) = (state(), tree.snapshot());
        for round in 0..2 {
            let hit = build(&tree);
            assert_eq!(hit, round == 1 || at == "b");
            assert_eq!(state(), plain);
            let below_out = |s: &Snapshot| s.only(|p| p.components().any(|c| c.as_os_str() == "out"));
            below_out(&tree.snapshot()).same_bytes(&below_out(&files));
            below_out(&tree.snapshot()).same_modes(&below_out(&files));
        }
        tree.assert_fresh("build");
    }
}

#[test]
fn failure_passes_through_and_is_not_stored() {
    let space = Space::new();
    let tree = script(&space, "w", "println!(\"said before\"); eprintln!(\"why\"); std::process::exit(3);");
    let plain = tree.cargo("build").plain().run();
    for _ in 0..2 {
        tree.clean();
        let out = tree.cargo("build").run();
        out.fails().check(!run_of(&out).is_hit() && !run_of(&out).stored(), "a failed run is not stored");
        let told =
            |o: &Outcome| o.stderr.lines().filter(|l| !l.contains("(exit")).map(str::to_owned).collect::<Vec<_>>();
        assert!(told(&out).iter().any(|l| l.trim() == "why"), "{}", out.world());
        assert_eq!(out.stderr.contains("exit status: 3"), plain.stderr.contains("exit status: 3"));
    }
}

#[test]
fn a_variable_it_reads() {
    let space = Space::new();
    let tree = script(&space, "w", "tell(std::env::var(\"TOLD\").unwrap_or_default());");
    let run = |value: Option<&str>| {
        tree.clean();
        let mut run = tree.cargo("build");
        if let Some(value) = value {
            run = run.env("TOLD", value);
        }
        let out = run.run();
        out.ok();
        (run_of(&out).is_hit(), told(&tree))
    };
    assert_eq!(run(None), (false, "".into()));
    assert_eq!(run(Some("one")), (false, "one".into()));
    assert_eq!(run(None), (true, "".into()));
    assert_eq!(run(Some("one")), (true, "one".into()));
    assert_eq!(run(Some("two")), (false, "two".into()));
}

#[test]
fn a_file_it_reads() {
    let space = Space::new();
    let tree = script(&space, "w", "tell(std::fs::read_to_string(\"data\").unwrap());");
    tree.write("data", "one");
    reruns(&tree, || tree.write("data", "two"));
}

#[test]
fn a_file_it_reads_but_does_not_declare() {
    let space = Space::new();
    let body = "println!(\"cargo::rerun-if-changed=build.rs\"); tell(std::fs::read_to_string(\"data\").unwrap());";
    let tree = script(&space, "w", body);
    tree.write("data", "one");
    reruns(&tree, || tree.write("data", "two"));
}

/// Guards: what lies behind a link that the script made is an input, and not the script's own.
#[test]
fn a_file_behind_a_link_it_made() {
    let link =
        |to: &str, name: &str| format!("std::os::unix::fs::symlink({to}, format!(\"{{out}}/{name}\")).unwrap();\n");
    let here = "format!(\"{}/vendor\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap())";
    let read = "tell(std::fs::read_to_string(format!(\"{out}/deep/l/x.txt\")).unwrap());";
    let deep = "std::fs::create_dir(format!(\"{out}/deep\")).unwrap();\n";
    let moved = "std::fs::create_dir(format!(\"{out}/d\")).unwrap();\n".to_owned()
        + &link(here, "d/l")
        + "std::fs::rename(format!(\"{out}/d\"), format!(\"{out}/deep\")).unwrap();\n";
    let cases = [
        deep.to_owned() + &link(here, "deep/l"),
        // By another link, from where it lies.
        deep.to_owned() + &link(here, "v") + &link("\"../v\"", "deep/l"),
        moved,
    ];
    let space = Space::new();
    for (number, making) in cases.iter().enumerate() {
        let tree = script(&space, &format!("w{number}"), &format!("{making}{read}"));
        tree.write("vendor/x.txt", "one");
        reruns(&tree, || tree.write("vendor/x.txt", "two"));
    }
}

#[test]
fn a_file_that_appears() {
    let space = Space::new();
    let tree = script(&space, "w", "tell(std::path::Path::new(\"data\").exists().to_string());");
    reruns(&tree, || tree.write("data", "two"));
}

#[test]
fn a_directory_it_lists() {
    let space = Space::new();
    let body = "let mut n: Vec<_> = std::fs::read_dir(\"items\").unwrap().map(|e| e.unwrap().file_name()).collect(); n.sort(); tell(format!(\"{n:?}\"));";
    let tree = script(&space, "w", body);
    tree.write("items/one", "");
    reruns(&tree, || tree.write("items/two", ""));
}

#[test]
fn a_program_found_on_path() {
    let space = Space::new();
    let body = "let out = std::process::Command::new(\"teller\").output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
    let tree = script(&space, "w", body);
    for (dir, word) in [("first", "one"), ("second", "two")] {
        write_script(&space.site(&format!("{dir}/teller")), &format!("#!/bin/sh\necho {word}\n"));
    }
    let path = |dirs: &[&str]| {
        let own: String = dirs.iter().map(|d| format!("{}:", space.site(d).display())).collect();
        own + &std::env::var("PATH").unwrap()
    };
    let run = |dirs: &[&str]| {
        tree.clean();
        let out = tree.cargo("build").env("PATH", path(dirs)).run();
        out.ok();
        (run_of(&out).is_hit(), told(&tree))
    };
    assert_eq!(run(&["first", "second"]), (false, "one".into()));
    assert_eq!(run(&["second", "first"]).1, "two");
    assert_eq!(run(&["first", "second"]), (true, "one".into()));
    // The program that would now be found first.
    fs::create_dir(space.site("new")).unwrap();
    assert_eq!(run(&["new", "first"]).1, "one");
    write_script(&space.site("new/teller"), "#!/bin/sh\necho three\n");
    assert_eq!(run(&["new", "first"]), (false, "three".into()));
    write_script(&space.site("new/teller"), "#!/bin/sh\necho four\n");
    assert_eq!(run(&["new", "first"]), (false, "four".into()));
}

#[test]
fn a_program_that_reads_a_file() {
    let space = Space::new();
    let body = "let out = std::process::Command::new(\"sh\").args([\"-c\", \"cat data | tr a-z A-Z\"]).output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
    let tree = script(&space, "w", body);
    tree.write("data", "one");
    reruns(&tree, || tree.write("data", "two"));
}

#[test]
fn a_shell_that_moves_descriptors() {
    // Shells put files on low descriptors; a channel that lives on one of them would write into users' files.
    let space = Space::new();
    let body = "let line = \"exec 3>$OUT_DIR/three 4>$OUT_DIR/four 5>$OUT_DIR/five 9>$OUT_DIR/nine; cat data >&3; cat data >&9; cat $OUT_DIR/three $OUT_DIR/nine\";\n\
                let out = std::process::Command::new(\"sh\").args([\"-c\", line]).output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
    let tree = script(&space, "w", body);
    tree.write("data", "one");
    reruns(&tree, || tree.write("data", "two"));
    assert_eq!(told(&tree), "oneone");
}

#[test]
fn a_program_that_clears_its_environment() {
    let space = Space::new();
    let body = "let out = std::process::Command::new(\"/bin/sh\").env_clear().env(\"PATH\", \"/usr/bin:/bin\").args([\"-c\", \"env -i /bin/cat data\"]).output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
    let tree = script(&space, "w", body);
    tree.write("data", "one");
    reruns(&tree, || tree.write("data", "two"));
}

#[test]
fn git_metadata() {
    if !on_path("git") {
        return skip("git_metadata", "git is not installed");
    }
    let space = Space::new();
    let body = "let out = std::process::Command::new(\"git\").args([\"log\", \"-1\", \"--format=%s\"]).output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
    let tree = script(&space, "w", body);
    tree.write(".gitignore", "target\n");
    let git = |args: &str| {
        let identity = "-c user.name=n -c user.email=e -c commit.gpgsign=false -c init.defaultBranch=main";
        space.command("git", &tree.path).args(identity).args(args).run().ok();
    };
    git("init -q");
    git("add .");
    git("commit -q -m one");
    build(&tree);
    assert!(build(&tree), "git's metadata has not changed");
    assert_eq!(told(&tree), "one");
    git("commit -q --allow-empty -m two");
    assert!(!build(&tree));
    assert_eq!(told(&tree), "two");
}

/// The workspace lies inside of a repository, and each checkout inside of its own.
#[test]
fn git_metadata_above_the_workspace() {
    if !on_path("git") {
        return skip("git_metadata_above_the_workspace", "git is not installed");
    }
    let space = Space::new();
    let body = "let out = std::process::Command::new(\"git\").args([\"log\", \"-1\", \"--format=%s\"]).output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
    for (commit, at) in [("one", "a"), ("two", "deep/down/b"), ("one", "c")] {
        let tree = script(&space, &format!("{at}/w"), body);
        let repository = space.site(at);
        for args in ["init -q", &format!("commit -q --allow-empty -m {commit}")] {
            let identity = "-c user.name=n -c user.email=e -c commit.gpgsign=false -c init.defaultBranch=main";
            space.command("git", &repository).args(identity).args(args).run().ok();
        }
        build(&tree);
        assert_eq!(told(&tree), commit, "each checkout has its own commit");
    }
}

/// A search upward from a checkout finds what is above that one.
#[test]
fn a_file_found_by_a_search_upward() {
    let space = Space::new();
    let body = "let dir = std::path::PathBuf::from(\".\").canonicalize().unwrap();\n\
                let found = dir.ancestors().map(|d| d.join(\"settings.txt\")).find(|f| f.exists());\n\
                tell(found.map_or(\"none\".into(), |f| std::fs::read_to_string(f).unwrap()));";
    for (at, found) in [("a", "none"), ("b/c", "of b"), ("d", "none"), ("e/f/g", "of e")] {
        let tree = script(&space, &format!("{at}/w"), body);
        if found != "none" {
            space.write(&format!("{}/settings.txt", &at[..1]), found);
        }
        build(&tree);
        assert_eq!(told(&tree), found, "{at}");
    }
}

/// cargo hands the wrapper's name to scripts as it was configured.
#[test]
fn a_wrapper_named_without_its_place() {
    let space = Space::new();
    let tree = script(&space, "w", "tell(\"x\".into());");
    let path = format!("PATH={}:{}", kache().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let named = || tree.cargo("build").under(&["env", "RUSTC_WRAPPER=kache", &path]);
    named().run().ok();
    tree.clean();
    let out = named().run();
    out.ok().all_hit();
    out.check(run_of(&out).is_hit(), "the script's run goes through kache");
}

/// What is too long to keep is not kept in part.
#[test]
fn a_script_that_prints_more_than_is_stored() {
    let space = Space::new();
    let body = "for _ in 0..(40 << 10) { println!(\"{}\", \"x\".repeat(1023)); }\n\
                println!(\"cargo:rustc-env=TOLD=end\"); tell(\"x\".into());";
    let tree = script(&space, "w", body);
    tree.write("src/main.rs", "fn main() { println!(\"{}\", env!(\"TOLD\")); }\n");
    for _ in 0..2 {
        assert!(!build(&tree));
        assert_eq!(told(&tree), "end");
    }
}

/// Guards: what a program reads that can't be observed is no known input, so a run with such a program is not stored.
#[test]
fn a_program_that_can_not_be_observed() {
    let space = Space::new();
    let body = "let out = std::process::Command::new(\"./teller\").output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
    let tree = script(&space, "w", body);
    static_teller(&tree);
    for word in ["one", "one", "two"] {
        tree.write("data", word);
        tree.clean();
        let out = tree.cargo("build").run();
        let run = run_of(out.ok());
        out.check(run.outcome() == "miss" && !run.stored() && run.reason() == "blind", "it runs and is not stored");
        assert_eq!(told(&tree), word);
    }
}

/// Guards: the same of a program that a procedural macro starts.
#[test]
fn a_program_of_a_macro_that_can_not_be_observed() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> &'static str { mac::tell!() }\n");
    let_part_use_a_macro(&tree);
    tree.write(
        "mac/src/lib.rs",
        "#[proc_macro] pub fn tell(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
         let out = std::process::Command::new(\"./teller\").output().unwrap();\n\
         format!(\"{:?}\", String::from_utf8(out.stdout).unwrap()).parse().unwrap() }\n",
    );
    static_teller(&tree);
    for word in ["one", "one", "two"] {
        tree.write("data", word);
        tree.clean();
        let out = tree.cargo("build").run();
        let part = out.ok().event("part");
        out.check(part.outcome() == "miss" && !part.stored() && part.reason() == "blind", "it runs and is not stored");
        assert_eq!(told(&tree), word);
    }
}

#[test]
fn the_clock() {
    let space = Space::new();
    let body = "tell(format!(\"{:?}\", std::time::SystemTime::now()));";
    let tree = script(&space, "w", body);
    assert!(!build(&tree));
    assert!(!build(&tree), "a script that reads the clock is run each time");
}

#[test]
fn the_network() {
    let space = Space::new();
    let body = "let _ = std::net::TcpStream::connect(\"127.0.0.1:9\"); tell(\"x\".into());";
    let tree = script(&space, "w", body);
    for _ in 0..2 {
        tree.clean();
        let out = tree.cargo("build").run();
        out.ok();
        let run = run_of(&out);
        out.check(
            !run.is_hit() && !run.stored() && !run.reason().is_empty(),
            "a run that talks to the network is not stored, with a reason",
        );
    }
}

#[test]
fn a_script_that_changes_what_it_reads() {
    let space = Space::new();
    let body = "let n: u32 = std::fs::read_to_string(\"count\").unwrap().parse().unwrap();\n\
                std::fs::write(\"count\", (n + 1).to_string()).unwrap(); tell(n.to_string());";
    let tree = script(&space, "w", body);
    tree.write("count", "1");
    for n in 1..4 {
        assert!(!build(&tree), "a run that changes its own inputs is not stored");
        assert_eq!(told(&tree), n.to_string());
    }
}

#[test]
fn a_script_that_writes_outside_of_its_directory() {
    // The file would be missing after a restore.
    let space = Space::new();
    let tree = script(&space, "w", "std::fs::write(\"generated.txt\", \"x\").unwrap(); tell(\"x\".into());");
    for _ in 0..2 {
        build(&tree);
        assert_eq!(tree.read("generated.txt"), "x");
        tree.remove("generated.txt");
    }
}

/// Guards: below a newer make the jobserver is a pipe with a name, which rustc and build scripts open by it.
#[test]
fn a_jobserver_with_a_name() {
    let space = Space::new();
    let body = "assert!(std::process::Command::new(\"sh\").arg(\"-c\").arg(\"exec 7<>${CARGO_MAKEFLAGS##*fifo:}; head -c 1 <&7 >/dev/null; printf + >&7\")\
                .status().unwrap().success()); tell(\"x\".into());";
    let tree = script(&space, "w", body);
    let make = "rm -f ../f; mkfifo ../f; exec 9<>../f; printf ++++ >&9; exec \"$0\" \"$@\"";
    let flags = format!("-j5 --jobserver-auth=fifo:{}", space.site("f").display());
    for hits in [false, true] {
        tree.clean();
        let run = tree.cargo("build").under(&["sh", "-c", make]).env("MAKEFLAGS", &flags).without("CARGO_BUILD_JOBS");
        let out = run.run();
        out.ok().check(out.actions().all(|e| e.stored() || e.is_hit()), "all of it is stored");
        out.check(run_of(&out).is_hit() == hits && out.actions().all(|e| e.is_hit() == hits), "and found");
        assert_eq!(told(&tree), "x");
    }
}

#[test]
fn leftovers_of_an_earlier_run() {
    // What lies in OUT_DIR from before must not be taken for this run's work.
    let space = Space::new();
    let body = "let n = std::fs::read_to_string(\"data\").unwrap(); std::fs::write(format!(\"{out}/{n}\"), \"\").unwrap();\n\
                let mut names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| n != \"told\").collect();\n\
                names.sort(); tell(names.join(\" \"));";
    let tree = script(&space, "w", body);
    tree.write("data", "one");
    build(&tree);
    assert_eq!(told(&tree), "one");
    tree.write("data", "two");
    tree.cargo("build").run().ok();
    assert_eq!(told(&tree), "one two", "as without kache");
    build(&tree);
    assert_eq!(told(&tree), "two", "an empty directory has no leftovers");
}

#[test]
fn stdout_names_this_checkout() {
    let space = Space::new();
    let body = "std::fs::write(format!(\"{out}/libx.a\"), \"!<arch>\\n\").unwrap(); tell(\"x\".into());\n\
                println!(\"cargo::rustc-link-search=native={out}\"); println!(\"cargo::rerun-if-changed={}/build.rs\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap());";
    let trees = ["a", "b"].map(|at| script(&space, at, body));
    build(&trees[0]);
    build(&trees[1]);
    let found = files_with(&trees[1].path.join("target"), trees[0].path.to_str().unwrap());
    assert!(found.is_empty(), "{found:?}");
    for tree in &trees {
        tree.assert_fresh("build");
    }
}

#[test]
fn the_real_program_does_not_need_the_store() {
    let space = Space::new();
    let tree = script(&space, "w", "tell(std::fs::read_to_string(\"data\").unwrap());");
    tree.write("data", "one");
    build(&tree);
    build(&tree);
    remove(&space.cache());
    tree.write("data", "two");
    tree.cargo("build").run().ok();
    assert_eq!(told(&tree), "two");
}

#[test]
fn what_a_script_knows_of_itself() {
    let space = Space::new();
    let body = "let me = std::env::current_exe().unwrap(); let arg = std::env::args().next().unwrap();\n\
                tell(format!(\"{} {}\", me.parent().unwrap().display(), std::path::Path::new(&arg).file_name().unwrap().display()));";
    let tree = script(&space, "w", body);
    tree.cargo("build").plain().run().ok();
    let plain = told(&tree);
    for _ in 0..2 {
        build(&tree);
        assert_eq!(told(&tree), plain);
    }
}

#[test]
fn links_variable_reaches_dependents() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.write(
        "part/Cargo.toml",
        &manifest("part", "links = \"thing\"\n").replace("edition = \"2024\"\n\nlinks", "edition = \"2024\"\nlinks"),
    );
    tree.write("part/build.rs", "fn main() { println!(\"cargo::metadata=word=one\"); }\n");
    tree.write(
        "build.rs",
        "fn main() { println!(\"cargo::rustc-env=WORD={}\", std::env::var(\"DEP_THING_WORD\").unwrap()); }\n",
    );
    tree.write("src/main.rs", "fn main() { println!(\"{}\", env!(\"WORD\")); }\n");
    for word in ["one", "two", "one"] {
        tree.write("part/build.rs", &format!("fn main() {{ println!(\"cargo::metadata=word={word}\"); }}\n"));
        tree.clean();
        tree.cargo("build").run().ok();
        assert_eq!(told(&tree), word);
    }
}

/// Compiles C the way the `cc` crate does: objects and an archive in `OUT_DIR`, named for the linker on stdout.
const COMPILES_C: &str = "let run = |program: &str, args: &[&str]| {\n\
     let done = std::process::Command::new(program).args(args).status().unwrap(); assert!(done.success()); };\n\
     let object = format!(\"{out}/value.o\"); let archive = format!(\"{out}/libvalue.a\");\n\
     run(\"cc\", &[\"-O0\", \"-ffunction-sections\", \"-I\", \"c/include\", \"-o\", &object, \"-c\", \"c/value.c\"]);\n\
     run(\"ar\", &[\"cqD\", &archive, &object]);\n\
     println!(\"cargo::rustc-link-search=native={out}\"); println!(\"cargo::rustc-link-lib=static=value\");\n\
     println!(\"cargo::rerun-if-changed=c\"); tell(\"c\".into());";

fn vendored_c<'s>(space: &'s Space, at: &str) -> Tree<'s> {
    let tree = script(space, at, COMPILES_C);
    tree.write("c/value.c", "#include \"value.h\"\nint value(void) { return VALUE; }\n");
    tree.write("c/include/value.h", "#define VALUE 1\n");
    tree.write(
        "src/main.rs",
        "unsafe extern \"C\" { fn value() -> i32; }\nfn main() { println!(\"{}\", unsafe { value() }); }\n",
    );
    tree
}

#[test]
fn vendored_c_is_seen() {
    let space = Space::new();
    let tree = vendored_c(&space, "w");
    reruns(&tree, || tree.write("c/include/value.h", "#define VALUE 2\n"));
}

/// Guards: code for the processor at hand is for this one alone, whoever asks the compiler for it.
#[test]
fn code_for_this_processor() {
    let space = Space::new();
    let tree = vendored_c(&space, "w");
    let key = |tree: &Tree<'_>| {
        tree.clean();
        let out = tree.cargo("build").run();
        out.ok().check(run_of(&out).stored(), "its run is stored");
        run_of(&out).field("key").and_then(|k| k.as_str()).unwrap().to_owned()
    };
    let shown = |key: &str| space.cli(&format!("show {key}")).run();
    let any = shown(&key(&tree));
    any.ok().check(!any.stdout.contains("the processor"), "most scripts do not ask");
    tree.edit("build.rs", "\"-O0\",", "\"-O0\", \"-march=native\",");
    says(&shown(&key(&tree)), &["the processor"]);
}

#[test]
fn header_that_would_now_be_found_first() {
    let space = Space::new();
    let tree = vendored_c(&space, "w");
    reruns(&tree, || tree.write("c/value.h", "#define VALUE 3\n"));
}

#[test]
fn vendored_c_is_shared() {
    let space = Space::new();
    let trees = ["a", "second/checkout"].map(|at| vendored_c(&space, at));
    trees[0].cargo("build").run().ok();
    trees[1].cargo("build").run().ok().all_hit();
    for tree in &trees {
        assert_eq!(told(tree), "1");
        tree.assert_fresh("build");
    }
    let found = files_with(&trees[1].path.join("target"), trees[0].path.to_str().unwrap());
    assert!(found.is_empty(), "{found:?}");
}

/// Guards: pkg-config's search for a package is followed, through directories that hold it and such that may hold it.
#[test]
fn a_package_found_by_pkg_config() {
    if !on_path("pkg-config") {
        return skip("a_package_found_by_pkg_config", "pkg-config is not installed");
    }
    let package = |flag: &str| format!("Name: thing\nDescription: a thing\nVersion: 1\nCflags: -D{flag}\n");
    for exists in [true, false] {
        let space = Space::new();
        let body = "let out = std::process::Command::new(\"pkg-config\").args([\"--cflags\", \"thing\"]).output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
        let tree = script(&space, "w", body);
        let [first, second] = ["first", "second"].map(|dir| space.site(dir));
        let path = format!("{}:{}", first.display(), second.display());
        tree.write(".cargo/config.toml", &format!("[env]\nPKG_CONFIG_PATH = {path:?}\n"));
        write_file(&second.join("thing.pc"), &package("SECOND"));
        if exists {
            fs::create_dir(&first).unwrap();
        }
        reruns(&tree, || write_file(&second.join("thing.pc"), &package("EDITED")));
        assert_eq!(told(&tree).trim(), "-DSECOND");
        remove(&space.cache());
        reruns(&tree, || write_file(&first.join("thing.pc"), &package("FIRST")));
    }
}

#[test]
fn a_configure_script() {
    let space = Space::new();
    let body = "let done = std::process::Command::new(\"sh\").arg(std::env::current_dir().unwrap().join(\"configure\")).current_dir(&out).status().unwrap(); assert!(done.success());\n\
                tell(std::fs::read_to_string(format!(\"{out}/config.h\")).unwrap());";
    let tree = script(&space, "w", body);
    tree.write(
        "configure",
        "#!/bin/sh\nset -e\necho 'int main(void){return 0;}' > conftest.c\n${CC:-cc} -o conftest conftest.c\n./conftest\n\
         rm -f conftest conftest.c\nif [ -e \"$(dirname \"$0\")/extra\" ]; then echo '#define EXTRA 1'; else echo '#undef EXTRA'; fi > config.h\n",
    );
    reruns(&tree, || tree.write("extra", ""));
}

#[test]
fn a_compiler_behind_a_link() {
    // CC names a program whose identity is behind a symbolic link, as with update-alternatives.
    let space = Space::new();
    let body = "let out = std::process::Command::new(std::env::var(\"TELLER\").unwrap()).output().unwrap(); tell(String::from_utf8(out.stdout).unwrap());";
    let tree = script(&space, "w", body);
    write_script(&space.site("bin/one"), "#!/bin/sh\necho one\n");
    write_script(&space.site("bin/two"), "#!/bin/sh\necho two\n");
    let link = space.site("bin/teller");
    let run = |to: &str| {
        remove(&link);
        symlink(to, &link).unwrap();
        tree.clean();
        let out = tree.cargo("build").env("TELLER", &link).run();
        out.ok();
        (run_of(&out).is_hit(), told(&tree))
    };
    assert_eq!(run("one"), (false, "one".into()));
    assert_eq!(run("two"), (false, "two".into()));
    assert_eq!(run("one"), (true, "one".into()));
}

#[test]
fn switched_off_by_setting() {
    let space = Space::new();
    let tree = script(&space, "w", "tell(\"x\".into());");
    for _ in 0..2 {
        tree.clean();
        let out = tree.cargo("build").env("KACHE_BUILD_SCRIPTS", "0").run();
        out.ok();
        out.check(out.actions().all(|e| e.action() != "build-script" || !e.is_hit()), "no run is restored");
        assert_eq!(told(&tree), "x");
    }
}

/// Guards: cargo leaves `PWD` as the user's shell had it. Compilers look what it leads to, which lies nowhere as seen from
/// the checkout.
#[test]
fn another_working_directory_of_the_user() {
    let space = Space::new();
    fs::create_dir(space.site("elsewhere")).unwrap();
    let body = "std::fs::write(format!(\"{out}/x.c\"), \"int x;\\n\").unwrap();\n \
        let cc = std::process::Command::new(\"cc\").args([\"-g\", \"-c\", \"x.c\"])\n \
        .arg(format!(\"-fdebug-prefix-map={out}=.\")).current_dir(&out).status().unwrap();\n \
        assert!(cc.success());\n tell(\"compiled\".into());";
    for (at, hit) in [("w", false), ("far/away/w", true)] {
        let tree = script(&space, at, body);
        let out = tree.cargo("build").env("PWD", space.site("elsewhere")).run();
        out.ok();
        out.check(run_of(&out).is_hit() == hit, "only the first checkout runs the script");
        let object = |tree: &Tree<'_>| tree.snapshot().only(|path| path.ends_with("x.o"));
        let restored = object(&tree);
        assert!(restored.has("x.o"));
        tree.clean();
        tree.cargo("build").plain().env("PWD", space.site("elsewhere")).run().ok();
        restored.same_bytes(&object(&tree));
    }
}

/// Guards: where `PWD` names the package by a link, or a directory of it, a script's shells there tell that name.
#[test]
fn a_link_to_the_package() {
    for (at, names) in [(".", ["w", "link", "w"]), ("native", ["native", "native-link", "native"])] {
        let space = Space::new();
        let body = format!(
            "let here = std::process::Command::new(\"sh\").args([\"-c\", \"pwd\"]).current_dir({at:?}).output();\n \
             tell(String::from_utf8(here.unwrap().stdout).unwrap().trim().rsplit('/').next().unwrap().into());"
        );
        let tree = script(&space, "w", &body);
        tree.write("native/.keep", "");
        symlink("w", space.site("link")).unwrap();
        symlink("w/native", space.site("native-link")).unwrap();
        for name in names {
            let by = |mode| {
                tree.clean();
                tree.cargo("build").mode(mode).env("PWD", space.site(name)).run().ok();
                told(&tree)
            };
            assert_eq!(by(Mode::Observed), by(Mode::Plain));
            assert_eq!(by(Mode::Observed), name);
        }
    }
}
