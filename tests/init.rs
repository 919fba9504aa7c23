//! Setting up and taking back: `kache init`, `kache uninit`, and the doctor's look at it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;

const CONFIG: &str = "cargo-home/config.toml";

/// `kache init ARGS` of a user of bash with these compilers on `PATH`.
fn cli<'s>(space: &'s Space, args: &str) -> Run<'s> {
    let bin = space.path("bin");
    for name in ["cc", "g++-12", "ar", "notcc"] {
        write_script(&bin.join(name), "#!/bin/sh\n");
    }
    write_file(&bin.join("clang"), "not a program\n");
    space.cli(args).env("SHELL", "/bin/bash").env("PATH", &bin)
}

/// Everything in the two homes: directories, links with their targets, files with their bytes.
fn homes(space: &Space) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
        for entry in fs::read_dir(dir).expect("directory").flatten() {
            let path = entry.path();
            let kind = entry.file_type().expect("kind");
            if kind.is_dir() {
                found.insert(path.clone(), None);
                walk(&path, found);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).expect("link");
                found.insert(path, Some(target.to_string_lossy().into_owned().into_bytes()));
            } else {
                let bytes = fs::read(&path).expect("file");
                found.insert(path, Some(bytes));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&space.path("home"), &mut found);
    walk(&space.path("cargo-home"), &mut found);
    found
}

fn config(space: &Space) -> String {
    fs::read_to_string(space.path(CONFIG)).expect("cargo's configuration")
}

fn wrapper_line() -> String {
    format!("rustc-wrapper = \"{}\"", kache().display())
}

/// Guards: an empty home is set up whole, a second time finds nothing to do, and the way back leaves nothing.
#[test]
fn empty_home() {
    let space = Space::new();
    let before = homes(&space);
    let out = cli(&space, "init --check").run();
    exits(&out, 1);
    says(&out, &["build.rustc-wrapper", ".bashrc", "cc g++-12", "shims"]);
    assert_eq!(homes(&space), before, "--check only shows");
    // Nobody to ask.
    let out = cli(&space, "init").run();
    exits(&out, 2);
    says(&out, &["kache init -y"]);
    assert_eq!(homes(&space), before, "without an answer nothing is done");

    says(cli(&space, "init -y --no-service").run().ok(), &["Done", "kache uninit"]);
    assert_eq!(config(&space), format!("[build]\n{}\n", wrapper_line()));
    let shims = space.path("home/.local/share/kache/shims");
    let mut names: Vec<_> = fs::read_dir(&shims).expect("shims").flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["cc", "g++-12"]);
    assert_eq!(fs::read_link(shims.join("cc")).expect("link"), kache());
    let start = fs::read_to_string(space.path("home/.bashrc")).expect("start-up file");
    assert!(start.contains(shims.to_str().expect("UTF-8")), "{start}");
    let completions = space.path("home/.local/share/bash-completion/completions/kache");
    assert!(fs::read_to_string(completions).expect("completions").contains("uninit"));
    let page = space.path("home/.local/share/kache/man/man1/kache-init.1");
    assert!(fs::read_to_string(&page).expect("manual page").contains("uninit"));
    if on_path("man") {
        let path = format!("{}:/usr/bin:/bin", shims.display());
        let found = space.command("man", &space.path("")).args("-w kache-init").env("PATH", path).run();
        assert_eq!(found.ok().stdout.trim(), page.to_str().expect("UTF-8"));
    } else {
        skip("init::empty_home (man)", "man is not installed");
    }

    let after = homes(&space);
    for again in ["init -y", "init", "init --check"] {
        says(cli(&space, again).run().ok(), &["nothing to do"]);
        assert_eq!(homes(&space), after);
    }
    exits(&cli(&space, "uninit").run(), 2);
    assert_eq!(homes(&space), after, "without an answer nothing is taken back");
    cli(&space, "uninit -y").run().ok();
    assert_eq!(homes(&space), before);
    says(cli(&space, "uninit -y").run().ok(), &["nothing to do"]);
}

/// Guards: the shell and its completions are left alone where that was asked for.
#[test]
fn no_shell() {
    let space = Space::new();
    cli(&space, "init -y --no-shell").run().ok();
    let files: Vec<_> = homes(&space).into_keys().collect();
    let for_people = [".bashrc", "completion", "/man1/"];
    assert!(!files.iter().any(|f| for_people.iter().any(|p| f.to_string_lossy().contains(p))), "{files:?}");
    assert!(files.iter().any(|f| f.ends_with("shims/cc")), "{files:?}");
    let out = cli(&space, "init --check").env("SHELL", "/bin/odd").run();
    says(out.ok(), &["none of bash, zsh, fish"]);
}

/// Guards: what a package of the system brought is not written a second time.
#[test]
fn installed_by_a_package() {
    let space = Space::new();
    let prefix = space.path("usr");
    for program in [kache(), kache_cli()] {
        let place = prefix.join("bin").join(program.file_name().expect("name"));
        write_file(&place, "");
        fs::copy(program, &place).expect("copy");
    }
    for packaged in ["man/man1/kache.1.gz", "bash-completion/completions/kache"] {
        write_file(&prefix.join("share").join(packaged), "");
    }
    let cli = prefix.join("bin/kache");
    let before = homes(&space);
    space.command(&cli, &space.path("")).args("init -y").env("SHELL", "/bin/bash").run().ok();
    let files: Vec<_> = homes(&space).into_keys().collect();
    assert!(config(&space).contains(cli.to_str().expect("UTF-8")));
    assert!(files.iter().any(|f| f.ends_with(".bashrc")), "{files:?}");
    assert!(!files.iter().any(|f| f.ends_with("kache.1") || f.ends_with("completions/kache")), "{files:?}");
    space.command(&cli, &space.path("")).args("uninit -y").run().ok();
    assert_eq!(homes(&space), before);
}

/// Guards: what else stands in the files stays, line by line, and everything comes back byte for byte.
#[test]
fn comments_stay() {
    let space = Space::new();
    let mine = "# mine\n[build] # here\njobs = 2 # two\n\n[net]\nretry = 3";
    write_file(&space.path(CONFIG), mine);
    write_file(&space.path("home/.bashrc"), "alias a=b # no newline");
    write_file(&space.path("home/.zshrc"), "# not my shell\n");
    let before = homes(&space);
    cli(&space, "init -y").run().ok();
    let with = config(&space);
    assert_eq!(with.replace(&(wrapper_line() + "\n"), ""), mine);
    assert!(fs::read_to_string(space.path("home/.bashrc")).expect("file").starts_with("alias a=b # no newline\n"));
    cli(&space, "uninit -y").run().ok();
    assert_eq!(homes(&space), before);
}

/// Guards: what was changed by hand after `init` survives `uninit`, and so it does a second `init` in between.
#[test]
fn later_edits_survive() {
    let space = Space::new();
    write_file(&space.path(CONFIG), "[net]\nretry = 3\n");
    cli(&space, "init -y").run().ok();
    let edited = config(&space).replace("retry = 3", "retry = 9") + "# late\n";
    fs::write(space.path(CONFIG), edited.replace(&*kache().to_string_lossy(), "/gone/kache")).expect("edit");
    let start = space.path("home/.bashrc");
    fs::write(&start, fs::read_to_string(&start).expect("file") + "alias late=1\n").expect("edit");
    fs::write(space.path("home/.local/share/bash-completion/completions/kache"), "# my own\n").expect("edit");

    says(cli(&space, "init -y").run().ok(), &["in place of \"/gone/kache\"", "left alone"]);
    assert_eq!(config(&space), edited);
    says(cli(&space, "uninit -y").run().ok(), &["changed since"]);
    assert_eq!(config(&space), "[net]\nretry = 9\n# late\n");
    assert_eq!(fs::read_to_string(&start).expect("file"), "alias late=1\n");
    let own = space.path("home/.local/share/bash-completion/completions/kache");
    assert_eq!(fs::read_to_string(own).expect("file"), "# my own\n");
    assert!(!space.path("home/.local/share/kache").exists());
}

/// Guards: what somebody put back by hand, and `init` changed again, comes back byte for byte all the same.
#[test]
fn put_back_by_hand() {
    let space = Space::new();
    let start = space.path("home/.bashrc");
    write_file(&start, "alias a=b # no newline");
    let before = homes(&space);
    cli(&space, "init -y").run().ok();
    write_file(&start, "alias a=b # no newline");
    cli(&space, "init -y").run().ok();
    cli(&space, "uninit -y").run().ok();
    assert_eq!(homes(&space), before);
}

/// Guards: another wrapper is named and left alone, wherever it is set.
#[test]
fn foreign_wrapper() {
    let space = Space::new();
    let theirs = "[build]\nrustc-wrapper = \"/opt/other\"\n";
    write_file(&space.path(CONFIG), theirs);
    let out = cli(&space, "init -y").env("RUSTC_WRAPPER", "buildcache").run();
    says(out.ok(), &["\"/opt/other\"", "left alone", "RUSTC_WRAPPER is \"buildcache\""]);
    assert_eq!(config(&space), theirs);
    cli(&space, "uninit -y").run().ok();
    assert_eq!(config(&space), theirs);
    // A link of somebody else in our directory, and a file there.
    let shims = space.path("home/.local/share/kache/shims");
    fs::create_dir_all(&shims).expect("directory");
    std::os::unix::fs::symlink("/opt/ccache", shims.join("cc")).expect("link");
    fs::write(shims.join("g++-12"), "mine").expect("file");
    cli(&space, "init -y").run().ok();
    cli(&space, "uninit -y").run().ok();
    assert_eq!(fs::read_link(shims.join("cc")).expect("link"), Path::new("/opt/ccache"));
    assert_eq!(fs::read_to_string(shims.join("g++-12")).expect("file"), "mine");
}

/// Guards: sccache is replaced, and comes back, even after edits by hand.
#[test]
fn sccache_is_replaced_and_comes_back() {
    let space = Space::new();
    let theirs = "[build]\nrustc-wrapper = \"/usr/bin/sccache\" # fast\n";
    write_file(&space.path(CONFIG), theirs);
    says(cli(&space, "init -y").run().ok(), &["in place of \"/usr/bin/sccache\""]);
    assert_eq!(config(&space), format!("[build]\n{} # fast\n", wrapper_line()));
    cli(&space, "uninit -y").run().ok();
    assert_eq!(config(&space), theirs);

    cli(&space, "init -y").run().ok();
    fs::write(space.path(CONFIG), config(&space) + "jobs = 2\n").expect("edit");
    cli(&space, "uninit -y").run().ok();
    assert_eq!(config(&space), format!("{theirs}jobs = 2\n"));
}

/// Guards: who set sccache by a variable is told the file and the line, and is offered the size; kache by a variable is fine.
#[test]
fn sccache_by_a_variable() {
    let space = Space::new();
    let bashrc = space.path("home/.bashrc");
    let theirs = "alias a=b\nexport RUSTC_WRAPPER=sccache\n";
    write_file(&bashrc, theirs);
    let at = format!("and wins over cargo's configuration: remove that from {}:2", bashrc.display());
    let note = format!("the variable RUSTC_WRAPPER is \"sccache\" {at}");
    let offer = "kache config set cache.max_size 20G";
    let with = |args: &str| cli(&space, args).env("RUSTC_WRAPPER", "sccache").env("SCCACHE_CACHE_SIZE", "20G").run();
    says(&with("init --check --no-shell"), &[&note, offer]);
    let checked: serde_json::Value = serde_json::from_str(&with("init --check --json").stdout).expect("JSON");
    assert!(
        checked["ok"] == false && checked["notes"].as_array().expect("notes").iter().any(|n| n == note.as_str()),
        "{checked}"
    );
    // A shell that was started before knows the file only.
    let out = cli(&space, "init -y").run();
    says(out.ok(), &[&format!("the variable RUSTC_WRAPPER is set for new shells {at}")]);
    out.check(!out.stdout.contains("max_size"), "there is no size to offer");
    assert!(fs::read_to_string(&bashrc).expect("file").starts_with(theirs), "what is theirs stays");
    cli(&space, offer.strip_prefix("kache ").expect("a command")).run().ok();
    let out = with("init --check --no-shell");
    out.check(!out.stdout.contains("max_size"), "a size that was given needs no offer");
    for ours in ["export RUSTC_WRAPPER=\"$(command -v kache)\"\n", "unset RUSTC_WRAPPER\n"] {
        write_file(&bashrc, ours);
        let out = cli(&space, "init --check --no-shell").run();
        out.check(!out.stdout.contains("wins over"), "nothing stands in the way");
    }
}

/// Guards: a file that can't be understood is named with what is wrong, and nothing at all is changed.
#[test]
fn damaged_files() {
    let space = Space::new();
    for broken in ["[build\njobs = 1\n", "build = 7\n", "[build]\nrustc-wrapper = 7\n"] {
        write_file(&space.path(CONFIG), broken);
        let before = homes(&space);
        let out = cli(&space, "init -y").run();
        exits(&out, 1);
        says(&out, &["config.toml", "left as it is"]);
        assert_eq!(homes(&space), before);
        says(cli(&space, "uninit -y").run().ok(), &["left alone"]);
        assert_eq!(homes(&space), before);
    }
    fs::write(space.path(CONFIG), b"\xff\xfe").expect("file");
    exits(&cli(&space, "init -y").run(), 1);
    remove(&space.path(CONFIG));
    // A block that somebody cut in two, and a record that is rubbish.
    let half = "# >>> kache >>>\nalias a=b\n";
    write_file(&space.path("home/.bashrc"), half);
    write_file(&space.path("home/.local/share/kache/setup.json"), "{\"version\":1,\"files\":[{\"path\":3}]}");
    says(cli(&space, "init -y").run().ok(), &["no closing"]);
    cli(&space, "uninit -y").run().ok();
    assert_eq!(fs::read_to_string(space.path("home/.bashrc")).expect("file"), half);
    assert!(!space.path(CONFIG).exists());
    let out = cli(&space, "init -y").without("HOME").run();
    exits(&out, 1);
    says(&out, &["HOME"]);
}

/// Guards: a configuration that is a link into somebody's collection of dot files stays one.
#[test]
fn links_stay_links() {
    let space = Space::new();
    write_file(&space.path("dots/cargo.toml"), "# dots\n");
    std::os::unix::fs::symlink("../dots/cargo.toml", space.path(CONFIG)).expect("link");
    cli(&space, "init -y").run().ok();
    assert!(space.path(CONFIG).is_symlink());
    assert_eq!(
        fs::read_to_string(space.path("dots/cargo.toml")).expect("file"),
        format!("# dots\n\n[build]\n{}\n", wrapper_line())
    );
    cli(&space, "uninit -y").run().ok();
    assert_eq!(fs::read_to_string(space.path("dots/cargo.toml")).expect("file"), "# dots\n");
}

/// Guards: a compiler that is gone loses its link, a new one gets one.
#[test]
fn links_follow_the_compilers() {
    let space = Space::new();
    cli(&space, "init -y").run().ok();
    let shims = space.path("home/.local/share/kache/shims");
    let bin = space.path("other-bin");
    write_script(&bin.join("clang++"), "#!/bin/sh\n");
    let path = format!("{}:{}", shims.display(), bin.display());
    cli(&space, "init -y").env("PATH", path).run().ok();
    let names: Vec<_> = fs::read_dir(&shims).expect("shims").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["clang++"]);
}

/// Guards: on a terminal it asks once, and no is no.
#[test]
fn asks_on_a_terminal() {
    if !on_path("script") {
        return skip("asks_on_a_terminal", "no script(1)");
    }
    let space = Space::new();
    let before = homes(&space);
    let answer = |answer: &str| {
        let line = format!("echo {answer} | script -qec '{} init' /dev/null", kache_cli().display());
        let out = space.command("sh", &space.path("")).arg("-c").arg(line).env("SHELL", "/bin/sh").run();
        says(&out, &["Do this? [y/N]"]);
        assert_eq!(out.stdout.matches("[y/N]").count(), 1);
    };
    answer("n");
    assert_eq!(homes(&space), before);
    answer("y");
    assert!(config(&space).contains(&wrapper_line()));
}

/// Guards: what was set up works: cargo and a C build, without another word, are served by kache.
#[test]
fn builds_are_served() {
    let space = Space::new();
    let out = space.cli("init -y").env("SHELL", "/bin/bash").run();
    out.ok();
    let tree = space.tree("one");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    let build = || {
        let run = tree.cargo("build").plain().env("KACHE_CONFIG", space.path("user.toml"));
        run.env("KACHE_CACHE_DIR", space.cache()).run()
    };
    build().ok();
    tree.clean();
    build().ok().all_hit();

    if !on_path("bash") || !on_path("cc") {
        return skip("builds_are_served", "no bash or no cc");
    }
    tree.write("x.c", "int x;\n");
    let shell = |script: &str| {
        let run = space.command("bash", &tree.path).arg("-c").arg(script);
        run.env("KACHE_CACHE_DIR", space.cache()).env("KACHE_CONFIG", space.path("user.toml")).run()
    };
    shell("cc -c x.c -o plain.o").ok();
    // By name, and by the path that build systems write down.
    for cc in [". \"$HOME/.bashrc\" && cc", "\"$HOME/.local/share/kache/shims/cc\""] {
        let compile = || shell(&format!("{cc} -c x.c -o x.o"));
        compile().ok();
        tree.remove("x.o");
        compile().ok().all_hit();
        assert_eq!(
            fs::read(tree.path.join("x.o")).expect("object"),
            fs::read(tree.path.join("plain.o")).expect("object")
        );
    }
    // The same where somebody says which compiler is meant.
    let out = shell("KACHE_CC=$(command -v cc) \"$HOME/.local/share/kache/shims/cc\" -dumpmachine");
    assert_eq!(out.ok().stdout, shell("cc -dumpmachine").stdout);
}

/// Guards: a build tree that CMake configured through the links goes on building through them.
#[test]
fn cmake_through_the_links() {
    if !on_path("cmake") || !on_path("ninja") || !on_path("c++") {
        return skip("cmake_through_the_links", "no cmake, ninja or c++");
    }
    let space = Space::new();
    space.cli("init -y").env("SHELL", "/bin/bash").run().ok();
    let tree = space.tree("one");
    tree.files(&[
        ("CMakeLists.txt", "cmake_minimum_required(VERSION 3.10)\nproject(p C CXX)\nadd_executable(p a.c b.cc)\n"),
        ("a.c", "int f(void) { return 3; }\n"),
        ("b.cc", "#include <vector>\nextern \"C\" int f();\nint main() { return std::vector<int>(f()).size() - 3; }\n"),
    ]);
    let shims = space.path("home/.local/share/kache/shims");
    let path = format!("{}:{}", shims.display(), std::env::var("PATH").expect("PATH"));
    let build = || {
        tree.remove("b");
        let run = space.command("sh", &tree.path).arg("-c").arg("cmake -G Ninja -B b . && cmake --build b && b/p");
        let run = run.env("PATH", &path).env("KACHE_CACHE_DIR", space.cache());
        run.env("KACHE_CONFIG", space.path("user.toml")).run()
    };
    build().ok();
    let again = build();
    for name in ["a.c", "b.cc"] {
        again.ok().check(again.actions().any(|e| e.is_hit() && e.unit().contains(name)), "restored");
    }
}

// --- the doctor ----------------------------------------------------------------------------------------------------

/// What the doctor found about one thing: level and text.
fn found(out: &Outcome, about: &str) -> (String, String) {
    let report: serde_json::Value = serde_json::from_str(&out.stdout).unwrap_or_default();
    out.check(report["version"] == 1 && report["kache"].is_string(), "JSON with a version");
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    for f in &findings {
        let level = f["level"].as_str().unwrap_or_default();
        out.check(["ok", "note", "problem"].contains(&level), "a known level");
        out.check(f["text"].is_string() && f["about"].is_string(), "about something");
        out.check((level == "ok") == f["advice"].is_null(), "advice where something is to do");
    }
    let problems = findings.iter().any(|f| f["level"] == "problem");
    out.check(report["ok"] == !problems && out.status.success() != problems, "the end is that of the findings");
    match findings.iter().find(|f| f["about"] == about) {
        Some(f) => (f["level"].as_str().unwrap_or_default().into(), f["text"].as_str().unwrap_or_default().into()),
        None => panic!("nothing about {about}\n{}", out.world()),
    }
}

fn doctor<'s>(space: &'s Space, args: &str) -> Run<'s> {
    space.cli("doctor --json").args(args).env("RUSTC_WRAPPER", kache())
}

/// Guards: the doctor tries it: both compilers, in both modes, and leaves nothing behind.
#[test]
fn the_self_test_works_here() {
    let space = Space::new();
    let before = homes(&space);
    for observe in ["1", "0"] {
        let out = doctor(&space, "").env("KACHE_OBSERVE", observe).run();
        let (level, text) = found(&out, "self-test, Rust");
        out.check(level == "ok" && text.contains("restored to the byte"), "Rust works");
        out.check(text.contains("inputs observed") == (observe == "1"), "observed as asked");
        let (level, _) = found(&out, "self-test, C");
        out.check(level == if on_path("cc") { "ok" } else { "note" }, "C works");
    }
    assert_eq!(homes(&space), before);
    assert!(!space.cache().exists());
    let left: Vec<_> =
        files_below(&space.path("")).into_iter().filter(|f| f.to_string_lossy().contains("doctor")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Guards: a wrapper that serves wrong bytes, or stores nothing, is found by the self-test.
#[test]
fn the_self_test_can_fail() {
    let space = Space::new();
    let bin = space.path("install");
    fs::create_dir_all(&bin).expect("directory");
    fs::copy(kache_cli(), bin.join("kache-cli")).expect("copy");
    let version = space.command(kache(), &bin).arg("--version").run().stdout;
    let ask = |wrapper: &str| {
        write_script(&bin.join("kache"), &wrapper.replace("VERSION", version.trim()));
        let run = space.command(bin.join("kache-cli"), &space.path("")).args("doctor --json");
        let out = run.env("RUSTC_WRAPPER", bin.join("kache")).env("KACHE_CACHE_DIR", space.cache()).run();
        exits(&out, 1);
        found(&out, "self-test, Rust")
    };
    let start = "#!/bin/sh\ncase $1 in --version) echo VERSION; exit;; esac\n";
    let (level, text) = ask(&format!("{start}exec \"$@\"\n"));
    assert!(level == "problem" && text.contains("no event"), "{text}");
    let real = kache().display();
    let (level, text) = ask(&format!("{start}{real} \"$@\" && echo x >> out/part.o\n"));
    assert!(level == "problem" && text.contains("other bytes"), "{text}");
    // It restores the first result whatever changed.
    let stubborn = "if [ -e kept ]; then cp kept out/part.o; printf two > part.txt; printf one > part.txt; fi\n";
    let (level, text) = ask(&format!("{start}{stubborn}{real} \"$@\" && cp out/part.o kept\n"));
    assert!(level == "problem" && text.contains("did not see it"), "{text}");
    let (level, text) = ask(&format!("{start}exec {real} --no-such-thing\n"));
    assert!(level == "problem" && text.contains("fails through kache"), "{text}");

    // Two installations that differ.
    write_script(&bin.join("kache"), "#!/bin/sh\necho kache 0.0.1\n");
    let out = space.command(bin.join("kache-cli"), &space.path("")).args("doctor --json").run();
    let (level, text) = found(&out, "programs");
    assert!(level == "problem" && text.contains("0.0.1"), "{text}");
}

/// Guards: damage is only told by --verify, removed by --repair, and then gone.
#[test]
fn verify_tells_and_repair_removes() {
    let space = Space::new();
    let tree = space.tree("one");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    tree.cargo("build").run().ok();
    let kinds = ["blobs", "entries", "actions", "inputs"];
    let all = || kinds.map(|kind| files_below(&space.cache().join("v1").join(kind)));
    assert_eq!(found(&doctor(&space, "--verify").run(), "store").0, "ok");
    for files in all() {
        remove(&files[0]);
        fs::write(&files[0], "damage").expect("damage");
    }
    let damaged = all();
    let (level, text) = found(&doctor(&space, "--verify").run(), "store");
    assert!(level == "problem" && text.contains("4 damaged files"), "{text}");
    assert_eq!(all(), damaged, "--verify only tells");
    let (level, text) = found(&doctor(&space, "--repair").run(), "store");
    assert!(level == "note" && text.contains("4 damaged files"), "{text}");
    assert_eq!(found(&doctor(&space, "--verify").run(), "store").0, "ok");
    tree.clean();
    tree.cargo("build").run().ok();
    tree.assert_fresh("build");
}

/// Guards: --fix does what init does but for the shell, and what it can't do is a problem.
#[test]
fn fix_sets_up() {
    let space = Space::new();
    let out = cli(&space, "doctor --json --fix").run();
    assert_eq!(found(&out, "fix").0, "ok");
    assert_eq!(found(&out, "wiring").0, "ok");
    let (level, text) = found(&out, "compilers");
    assert!(level == "note" && text.contains("not on PATH"), "{text}");
    assert!(!space.path("home/.bashrc").exists());
    let shims = space.path("home/.local/share/kache/shims");
    let path = format!("{}:{}", shims.display(), space.path("bin").display());
    let out = cli(&space, "doctor --json").env("PATH", path).run();
    assert_eq!(found(&out, "compilers").0, "ok");
    cli(&space, "uninit -y").run().ok();

    write_file(&space.path(CONFIG), "[build\n");
    let out = cli(&space, "doctor --json --fix").run();
    assert_eq!(found(&out, "fix").0, "problem");
    let (level, text) = found(&out, "wiring");
    assert!(level == "problem" && text.contains("config.toml"), "{text}");
    assert_eq!(config(&space), "[build\n");
    remove(&space.path(CONFIG));

    // By its name alone cargo finds it, but build scripts don't.
    let path = kache().parent().expect("directory");
    let (level, text) =
        found(&cli(&space, "doctor --json").env("RUSTC_WRAPPER", "kache").env("PATH", path).run(), "wiring");
    assert!(level == "note" && text.contains("build scripts"), "{text}");
}

/// Guards: of sccache's directory only what is its own goes, only when asked, and not while it is in use.
#[test]
fn sccache_goes_only_when_asked() {
    let space = Space::new();
    let theirs = space.path("home/.cache/sccache");
    write_file(&theirs.join("a/b/c/abc"), "cached");
    write_file(&theirs.join("preprocessor/1/x"), "cached");
    write_file(&theirs.join("notes.txt"), "mine");
    write_file(&theirs.join("photos/1"), "mine");
    exits(&cli(&space, "doctor --purge-sccache").run(), 2);
    let used = cli(&space, "doctor --json --fix --purge-sccache").env("RUSTC_WRAPPER", "sccache").run();
    assert_eq!(found(&used, "sccache").0, "problem");
    found(&cli(&space, "doctor --json --fix").run(), "fix");
    assert!(theirs.join("a/b/c/abc").exists());
    assert_eq!(found(&cli(&space, "doctor --json --fix --purge-sccache").run(), "sccache").0, "ok");
    let left: Vec<_> = files_below(&theirs);
    assert_eq!(left, [theirs.join("notes.txt"), theirs.join("photos/1")]);
}
