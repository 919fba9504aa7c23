//! `kache run`: any deterministic command is an action; whatever is not, runs as it would without kache and is not stored.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::common::*;

const GENERATOR: &str = "#!/bin/sh\nset -e\necho generating >&2\nmkdir -p gen\n\
    { echo \"/* made from in.txt */\"; cat in.txt; [ -e opt.txt ] && cat opt.txt; echo \"$FLAVOUR\"; } > gen/out.h || true\n\
    cp /bin/true gen/tool\necho done\n";

fn generator<'a>(space: &'a Space, at: &str) -> Tree<'a> {
    let tree = space.tree(at);
    tree.files(&[(".git/HEAD", ""), ("in.txt", "one\n")]);
    write_script(&tree.path.join("generate"), GENERATOR);
    tree
}

fn run<'a>(tree: &Tree<'a>, line: &str) -> Run<'a> {
    tree.shell(GNU, &format!("{} run {line}", kache().display()))
}

/// The command by itself, then under kache: the same streams, end and files.
#[track_caller]
fn command(tree: &Tree<'_>, command: &str, outcome: &str) -> (String, String) {
    let dir = tree.path.join("gen");
    let plain = Made::by(tree.shell(GNU, command).plain(), &dir);
    let ours = Made::by(run(tree, &format!("-- {command}")), &dir);
    let out = ours.same_as(&plain);
    out.check(out.actions().count() == 1 && out.actions().all(|e| e.outcome() == outcome), outcome);
    (ours.outcome.stdout, ours.outcome.stderr)
}

#[test]
fn outputs_and_streams_are_restored() {
    let space = Space::new();
    let tree = generator(&space, "w");
    command(&tree, "./generate", "miss");
    let said = command(&tree, "./generate", "hit");
    assert_eq!(said, ("done\n".into(), "generating\n".into()));
    let mode = fs::metadata(tree.path.join("gen/tool")).unwrap().permissions().mode();
    assert!(mode & 0o111 != 0, "a program stays one");
    // It looked whether its files are there, and now they are: another question, and then an answered one.
    for outcome in ["miss", "hit"] {
        let again = run(&tree, "-- ./generate").run();
        again.ok().check(again.outcome("generate") == outcome, outcome);
    }
}

#[test]
fn whatever_it_reads_is_an_input() {
    let space = Space::new();
    let tree = generator(&space, "w");
    command(&tree, "./generate", "miss");
    tree.write("in.txt", "two\n");
    command(&tree, "./generate", "miss");
    tree.write("opt.txt", "new\n");
    command(&tree, "./generate", "miss");
    command(&tree, "env FLAVOUR=sweet ./generate", "miss");
    write_script(&tree.path.join("generate"), &GENERATOR.replace("made from", "built from"));
    command(&tree, "./generate", "miss");
    tree.remove("opt.txt");
    tree.write("in.txt", "one\n");
    write_script(&tree.path.join("generate"), GENERATOR);
    command(&tree, "./generate", "hit");
}

/// Guards: where `PWD` names the directory by a link, a shell tells that name; a command that asks for none has one answer.
#[test]
fn behind_a_link_to_its_directory() {
    let space = Space::new();
    let tree = generator(&space, "w");
    symlink("w", space.site("link")).unwrap();
    for (line, hits) in [("sh -c pwd", [false, false, true]), ("nm --version", [false, true, true])] {
        for (at, hit) in ["w", "link", "w"].into_iter().zip(hits) {
            let there = |run: Run<'_>| run.cwd(&space.site(at)).env("PWD", space.site(at)).run();
            let plain = there(tree.shell(GNU, line).plain());
            let ours = there(run(&tree, &format!("-- {line}")));
            ours.same_as(&plain)
                .check(ours.count("hit") == usize::from(hit), "one answer for each name that is asked for");
        }
    }
}

/// Guards: what lies behind a link that the command made is an input, and so is what it would write there.
#[test]
fn behind_a_link_it_made() {
    let space = Space::new();
    let tree = generator(&space, "w");
    tree.write("src/x.txt", "one\n");
    std::os::unix::fs::symlink(".", tree.path.join("alias")).unwrap();
    let told = |line: &str, hit: bool, text: &str| {
        tree.remove("b");
        let out = run(&tree, line).run();
        out.ok().check(out.count("hit") == usize::from(hit), "found again only as long as nothing changed");
        assert_eq!(tree.read("gen.txt"), text);
    };
    // The second makes and reads it by different names.
    for line in [
        "-- sh -c 'mkdir b; ln -s ../src b/l; cat b/l/x.txt >gen.txt; rm b/l'",
        "--out alias --out . -- sh -c 'mkdir alias/b; ln -s ../src b/l; cat alias/b/l/x.txt >gen.txt; rm b/l'",
    ] {
        tree.write("src/x.txt", "one\n");
        told(line, false, "one\n");
        told(line, true, "one\n");
        tree.write("src/x.txt", "two\n");
        told(line, false, "two\n");
    }
    // By one name at two places: the link is another one in between.
    tree.write("aside/x.txt", "");
    let size =
        |l: &str| format!("ln -sfn ../{l} b/l; env test -s b/l/x.txt && echo full >gen.txt || echo empty >gen.txt");
    let line = format!("-- sh -c 'mkdir b; {}; {}; rm b/l'", size("aside"), size("src"));
    told(&line, false, "full\n");
    told(&line, true, "full\n");
    tree.write("src/x.txt", "");
    told(&line, false, "empty\n");
    tree.remove("b");
    fs::create_dir(space.site("other")).unwrap();
    let out = run(&tree, "-- sh -c 'mkdir b; ln -s ../../other b/l; echo x >b/l/new.txt; rm b/l'").run();
    out.ok().check(out.event("sh").reason() == "wrote-elsewhere", "outside of the project");
}

/// Guards: what changes between being looked at and being recorded. (Under its other name, the change is not the action's
/// own; what it changes is not what another run would find.)
#[test]
fn what_changed_during_the_run() {
    for (what, command) in [
        ("a directory that was looked at and listed", "test -d d && ls d >o && echo >e/d/new"),
        ("a link", "readlink link >o && ln -sfn d e/link"),
        ("a file", "test -f in.txt && cat in.txt >o && echo more >>e/in.txt"),
        ("what was missing", "cat no >o 2>/dev/null || echo >e/no"),
    ] {
        let space = Space::new();
        let [ours, plain] = ["ours", "plain"].map(|at| {
            let tree = space.tree(at);
            tree.files(&[(".git/HEAD", ""), ("in.txt", "one\n"), ("d/old", "")]);
            symlink(".", tree.path.join("e")).unwrap();
            symlink("in.txt", tree.path.join("link")).unwrap();
            tree
        });
        for round in 0..3 {
            let expected = plain.shell(GNU, command).plain().run();
            let out = run(&ours, &format!("-- sh -c '{command}'")).run();
            out.same_as(&expected).check(ours.read("o") == plain.read("o"), what);
            out.check(round > 0 || out.events.iter().all(|e| e.field("stored") == Some(&false.into())), what);
        }
    }
}

#[test]
fn program_that_comes_first_on_the_path() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let path = format!("{0}/first:{0}/later:{1}", tree.path.display(), std::env::var("PATH").unwrap());
    let tool = |dir: &str, word: &str| {
        write_script(&tree.path.join(dir).join("tool"), &format!("#!/bin/sh\necho {word} > out.txt\n"));
    };
    tool("later", "later");
    fs::create_dir(tree.path.join("first")).unwrap();
    let line = || run(&tree, "-- tool").env("PATH", &path).run();
    line().ok();
    line().all_hit();
    assert_eq!(tree.read("out.txt"), "later\n");
    tool("first", "first");
    line().ok();
    assert_eq!(tree.read("out.txt"), "first\n");
}

/// Guards: what somebody else has made meanwhile is treated as the command would treat it.
#[test]
fn a_file_that_was_not_there() {
    let space = Space::new();
    let tree = generator(&space, "w");
    for command in [
        "test -f gen.txt || echo new >gen.txt",
        "set -C; echo new >gen.txt",
        "mkdir d && echo new >d/gen.txt",
        "mkdir -p d; test -f d/gen.txt || echo new >d/gen.txt",
    ] {
        let file = if command.contains("d/") { "d/gen.txt" } else { "gen.txt" };
        let clean = || ["gen.txt", "d"].map(|name| tree.remove(name));
        let line = format!("-- sh -c '{command}'");
        for hits in [0, 1] {
            clean();
            let out = run(&tree, &line).run();
            out.ok().check(out.count("hit") == hits, command);
            assert_eq!(tree.read(file), "new\n", "{command}");
        }
        clean();
        tree.write(file, "mine\n");
        let plain = tree.shell(GNU, &format!("sh -c '{command}'")).plain().run();
        assert_eq!(tree.read(file), "mine\n", "{command}");
        let out = run(&tree, &line).run();
        out.check(out.status.code() == plain.status.code(), "it ends as without kache");
        assert_eq!(tree.read(file), "mine\n", "{command}");
        clean();
        run(&tree, &line).run().all_hit();
    }
}

/// Guards: of a command that a person gives, no variable is noise that only a build tool sets for its own use.
#[test]
fn variables_of_the_terminal_and_of_builds() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let names = ["CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "NUM_JOBS", "TERM", "COLUMNS", "RUSTC_WRAPPER", "MAKEFLAGS"];
    for name in names {
        let line = format!("-- sh -c 'echo ${name} >gen.txt'");
        for (value, outcome) in [("a", "miss"), ("a", "hit"), ("b", "miss"), ("b", "hit")] {
            let out = run(&tree, &line).env(name, value).run();
            out.ok().check(out.outcome("sh") == outcome, &format!("{name}: {outcome}"));
            assert_eq!(tree.read("gen.txt"), format!("{value}\n"));
        }
    }
    // But which terminal it is, and the jobserver, are.
    let line = "-- sh -c 'echo x >gen.txt'";
    let of_make = |jobs: &str| run(&tree, line).env("MAKEFLAGS", format!(" -j4 --jobserver-auth={jobs}"));
    of_make("3,4").env("SHLVL", "1").env("TMUX_PANE", "1").run().ok();
    of_make("5,6").env("SHLVL", "2").env("TMUX_PANE", "2").run().all_hit();
}

/// Guards: which libraries a program would load is a question, not only those it has loaded.
#[test]
fn libraries_that_are_found_first() {
    if !on_path("gcc") {
        return skip("libraries_that_are_found_first", "no gcc");
    }
    let space = Space::new();
    let tree = generator(&space, "w");
    tree.write("g.c", "#include <stdio.h>\nvoid tell(void); int main(void) { tell(); return 0; }\n");
    for version in ["v1", "v2", "none"] {
        let text = format!("#include <stdio.h>\nvoid tell(void) {{ puts(\"{version}\"); }}\n");
        tree.write(&format!("{version}/g.c"), &text);
        tree.shell(GNU, &format!("gcc -shared -fPIC {version}/g.c -o {version}/libg.so")).plain().run().ok();
    }
    let home = tree.path.join("none");
    tree.shell(GNU, &format!("gcc g.c -o gen -Lnone -lg -Wl,-rpath,{}", home.display())).plain().run().ok();
    let line = "-- sh -c './gen >gen.txt'";
    let cases = [
        ("LD_LIBRARY_PATH", "v1", "v1"),
        ("LD_LIBRARY_PATH", "v2", "v2"),
        ("LD_LIBRARY_PATH", "", "none"),
        ("LD_PRELOAD", "v1/libg.so", "v1"),
        ("LD_PRELOAD", "v2/libg.so", "v2"),
    ];
    for hit in [false, true] {
        for (name, value, expected) in cases {
            let value = if value.is_empty() { value.into() } else { tree.path.join(value).into_os_string() };
            let out = run(&tree, line).env(name, value).run();
            out.ok().check(out.event("sh").is_hit() == hit, &format!("{name}: {expected}"));
            assert_eq!(tree.read("gen.txt"), format!("{expected}\n"), "{name}");
        }
    }
}

/// Guards: what comes by a descriptor that was open already has no name to look at again.
#[test]
fn inherited_descriptors() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let program = kache().display();
    for text in ["a", "b"] {
        for line in [
            format!("echo {text} >f; {program} run -- sh -c 'cat <&3 >gen.txt' 3<f"),
            format!("echo {text} | (exec 9<&0; {program} run -- sh -c 'cat /dev/fd/9 >gen.txt')"),
        ] {
            let out = tree.shell(GNU, &line).run();
            out.ok().check(out.event("sh").reason() == "special-input", "it is none that can be looked up");
            assert_eq!(tree.read("gen.txt"), format!("{text}\n"));
        }
    }
    // make's own are none of these.
    let line = format!("exec 8<in.txt 9<in.txt; {program} run -- sh -c 'echo x >gen.txt'");
    let below_make = || tree.shell(GNU, &line).env("MAKEFLAGS", " -j2 --jobserver-auth=8,9").run();
    below_make().ok();
    below_make().all_hit();
}

/// Guards: what an action leaves running is not waited for, says later what it has to say where it would without kache, and
/// may read on: nothing is stored.
#[test]
fn what_is_left_running() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let waits = "{ read x <go; echo late; echo later >&2; : >told; } & echo now";
    // Whoever holds no stream is known by the trace, and a compiler in each mode by one of them.
    let silent = "{ read x <go; : >told; } >/dev/null 2>&1 & echo now";
    tree.write("x.rs", "pub fn x() {}\n");
    write_script(&space.path("t/bin/rustc"), &format!("#!/bin/sh\n{waits} >&2\nexec {} \"$@\"\n", rustc().display()));
    symlink(sysroot().join("lib"), space.path("t/lib")).unwrap();
    let compile = format!(
        "{}/bin/rustc --crate-name x --crate-type lib --edition 2021 --emit dep-info,metadata --out-dir gen x.rs",
        space.path("t").display()
    );
    let said = || (tree.read("out"), tree.read("err"));
    let ended = |line: &str, mode: Mode| {
        ["gen", "go", "told"].iter().for_each(|file| tree.remove(file));
        fs::create_dir(tree.path.join("gen")).unwrap();
        // It ends before what is left is told to go on.
        let out = tree.shell(GNU, &format!("mkfifo go; {line} >out 2>err")).mode(mode).run();
        out.ok();
        tree.shell(GNU, "echo >go").plain().run().ok();
        out
    };
    for (line, before, modes) in [
        (format!("sh -c '{waits}'"), " run -- ", &[Mode::Observed][..]),
        (format!("sh -c '{silent}'"), " run -- ", &[Mode::Observed]),
        (compile, " ", &[Mode::Observed, Mode::Declared]),
    ] {
        ended(&line, Mode::Plain).ok();
        until(|| tree.path.join("told").exists());
        let plain = said();
        for mode in modes.repeat(2) {
            let out = ended(&format!("{}{before}{line}", kache().display()), mode);
            out.check(out.events[0].reason() == "left-running" && !out.events[0].stored(), "it is named");
            until(|| tree.path.join("told").exists() && said() == plain);
        }
    }
}

#[test]
fn second_checkout() {
    let space = Space::new();
    let first = generator(&space, "first");
    command(&first, "./generate", "miss");
    let second = generator(&space, "a/longer/second");
    command(&second, "./generate", "hit");
}

#[test]
fn what_is_not_deterministic_is_not_stored() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let python = on_path("python3");
    if !python {
        skip("what_is_not_deterministic_is_not_stored", "no python3");
    }
    let cases = [
        ("date +%s > gen.txt", "clock"),
        ("python3 -c 'import time; open(\"gen.txt\", \"w\").write(str(time.time()))'", "clock"),
        ("python3 -c 'import socket; socket.socket().connect_ex((\"127.0.0.1\", 9))'", "network"),
        ("echo more >> in.txt", "changed-input"),
        ("rm in.txt", "wrote-elsewhere"),
        ("rm -f new.txt; echo more >> new.txt", "special-output"),
        ("echo x > ../outside.txt", "wrote-elsewhere"),
        ("exit 3", "tool-failed"),
        ("kill -9 $$", "tool-failed"),
    ];
    for (command, reason) in cases.into_iter().filter(|(command, _)| python || !command.starts_with("python3")) {
        for _ in 0..2 {
            tree.write("in.txt", "one\n");
            let plain = tree.shell(GNU, &format!("sh -c '{}'", command.replace('\'', "'\\''"))).plain().run();
            tree.write("in.txt", "one\n");
            let ours = run(&tree, &format!("-- sh -c '{}'", command.replace('\'', "'\\''"))).run();
            ours.check(ours.status.code() == plain.status.code(), "it ends as without kache");
            let event = ours.actions().next().expect("an event");
            ours.check(event.reason() == reason && !event.stored(), &format!("{command}: {reason}"));
        }
    }
    // The user knows better.
    let line = "--allow-clock -- sh -c 'date +%s > /dev/null; echo x > x.txt'";
    run(&tree, line).run().ok();
    run(&tree, line).run().all_hit();
}

/// Guards: on another processor a compiler that makes code for the one at hand runs again, wherever it is started.
#[test]
fn another_processor() {
    let test = "another_processor";
    let space = Space::new();
    let tree = generator(&space, "w");
    let other = fs::read_to_string("/proc/cpuinfo").unwrap().replace("model", "model other");
    tree.write("cpuinfo", &other);
    let mounted = ["unshare", "-m", "sh", "-c", "mount --bind cpuinfo /proc/cpuinfo && exec \"$0\" \"$@\""];
    if !tree.shell(GNU, "true").under(&mounted).plain().run().status.success() {
        return skip(test, "cannot mount over /proc/cpuinfo");
    }
    tree.write("x.c", "int x;\n");
    for (command, counts) in [("gcc -march=native -c x.c", true), ("gcc -c x.c", false)] {
        for line in [format!("-- {command}"), format!("-- sh -c '{command}'")] {
            for (before, hit) in [(&[][..], false), (&[], true), (&mounted, !counts), (&mounted, true), (&[], true)] {
                let out = run(&tree, &line).under(before).run();
                out.ok().check(out.actions().next().unwrap().is_hit() == hit, &format!("{line}: {hit}"));
            }
        }
    }
}

/// Guards: what tells the machine's name runs again on another one, and nothing else does.
#[test]
fn another_machine() {
    let test = "another_machine";
    let space = Space::new();
    let tree = generator(&space, "w");
    let other = ["unshare", "-u", "sh", "-c", "echo other >/proc/sys/kernel/hostname && exec \"$0\" \"$@\""];
    if !tree.shell(GNU, "true").under(&other).plain().run().status.success() {
        return skip(test, "cannot rename the machine");
    }
    let python = "python3 -c \"import socket; print(socket.gethostname())\" >gen.txt";
    let cases =
        [("uname -n >gen.txt", true), (python, true), ("echo x >gen.txt", false), ("bash -c : >gen.txt", false)];
    for (command, counts) in cases {
        if !on_path(command.split(' ').next().unwrap()) && command.starts_with(['p', 'b']) {
            skip(test, command);
            continue;
        }
        let line = format!("-- sh -c '{command}'");
        for (before, hit) in [(&[][..], false), (&[], true), (&other, !counts), (&other, true), (&[], true)] {
            let out = run(&tree, &line).under(before).run();
            out.ok().check(out.event("sh").is_hit() == hit, &format!("{line}: {hit}"));
            let told = tree.read("gen.txt");
            tree.shell(GNU, &format!("sh -c '{command}'")).under(before).plain().run().ok();
            assert_eq!(told, tree.read("gen.txt"), "{command}");
        }
    }
}

/// Guards: thousands of small files are stored and found, and do not all stand in one record.
#[test]
fn very_many_small_files() {
    let space = Space::new();
    let tree = generator(&space, "w");
    write_file(&tree.path.join("small"), &"x".repeat(15_000));
    let line = "-- sh -c 'mkdir d; x=$(cat small); for i in $(seq 620); do echo $i $x >d/$i; done'";
    for outcome in ["miss", "hit"] {
        tree.remove("d");
        let out = run(&tree, line).run();
        out.ok().check(out.outcome("sh") == outcome, outcome);
    }
    let entries = files_below(&space.cache().join("v1/entries"));
    assert!(entries.iter().all(|entry| fs::metadata(entry).unwrap().len() < 1 << 20), "no record holds them all");
}

/// Guards: a pipe that a command makes for itself, as make does for its jobserver, is its own.
#[test]
fn pipe_of_its_own() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let script =
        "mkfifo $TMPDIR/f; exec 7<>$TMPDIR/f; printf + >&7; head -c 1 <&7 >/dev/null; rm $TMPDIR/f; echo x >gen.txt";
    for outcome in ["miss", "hit"] {
        let out = run(&tree, &format!("-- sh -c '{script}'")).run();
        out.ok().check(out.outcome("sh") == outcome, outcome);
    }
    let stays = run(&tree, "-- mkfifo stays").run();
    stays.ok().check(stays.event("mkfifo").reason() == "special-output", "one that stays can't be stored");
}

/// Guards: a program that can't be observed, itself or started by another, runs each time.
#[test]
fn what_can_not_be_observed_is_not_stored() {
    let space = Space::new();
    let tree = generator(&space, "w");
    static_teller(&tree);
    for command in ["./teller", "sh -c './teller; true'"] {
        for word in ["one", "one", "two"] {
            tree.write("data", word);
            let out = run(&tree, &format!("-- {command}")).run();
            out.ok().check(out.stdout == word, "it tells what is there now");
            let event = out.actions().next().expect("an event");
            out.check(event.outcome() == "miss" && !event.stored() && event.reason() == "blind", "it is not stored");
        }
    }
}

#[test]
fn named_outputs() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let line = "--out gen -- ./generate";
    run(&tree, line).run().ok();
    tree.remove("gen");
    run(&tree, line).run().all_hit();
    let elsewhere = run(&tree, "--out other -- ./generate").run();
    elsewhere.ok().check(elsewhere.event("generate").reason() == "wrote-elsewhere", "only there");
}

#[test]
fn standard_input() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let line = |text: &str| {
        let program = kache().display();
        tree.shell(GNU, &format!("printf '{text}' | {program} run --stdin -- tr a-z A-Z"))
    };
    for (text, outcome) in [("one", "miss"), ("one", "hit"), ("two", "miss"), ("one", "hit")] {
        let out = line(text).run();
        out.ok().check(out.stdout == text.to_uppercase(), "it reads it");
        out.check(out.outcome("tr") == outcome, outcome);
    }
    // Not asked for, it is empty: what is not an input must not be read.
    let out = tree.shell(GNU, &format!("echo some | {} run -- cat", kache().display())).run();
    out.ok().check(out.stdout.is_empty(), "nothing is read");
}

/// Guards: more than is kept in memory reaches the command whole, and is not stored.
#[test]
fn long_standard_input() {
    let space = Space::new();
    let tree = generator(&space, "w");
    let long = "head -c 70000000 /dev/zero | tr '\\0' x";
    let plain = tree.shell(GNU, &format!("{long} | md5sum")).plain().run();
    let ours = tree.shell(GNU, &format!("{long} | {} run --stdin -- md5sum", kache().display())).run();
    ours.same_as(&plain).check(ours.events[0].reason() == "stdin" && !ours.events[0].stored(), "too long to store");
    assert!(files_below(&space.path("tmp")).is_empty(), "nothing is left");
}

#[test]
fn mistakes() {
    let space = Space::new();
    let tree = generator(&space, "w");
    for line in ["", "sh", "--nothing -- sh", "--"] {
        let out = run(&tree, line).run();
        out.check(out.status.code() == Some(2) && out.stderr.contains("Usage"), line);
    }
    let help = run(&tree, "--help").run();
    help.ok().check(help.stdout.contains("Examples"), "help has examples");
    let none = run(&tree, "-- no-such-program").run();
    none.check(none.status.code() == Some(127) && none.stderr.contains("no-such-program"), "as a shell says it");
}

/// Guards: `kache shims` links every compiler there is, is repeatable, and touches nothing foreign.
#[test]
fn shims() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int main(void) { return 0; }\n");
    let line = format!("{} shims bin", kache().display());
    tree.shell(GNU, &line).run().ok();
    assert!(tree.path.join("bin/gcc").is_symlink());
    tree.shell(GNU, &line).run().ok();
    let path = format!("{}:{}", tree.path.join("bin").display(), std::env::var("PATH").unwrap());
    for hits in [0, 1] {
        let out = tree.shell(GNU, "gcc -c x.c -o x.o").env("PATH", &path).run();
        out.ok().check(out.count("hit") == hits, "through the link");
    }
    // With the directory on PATH, the real ones are still found.
    tree.shell(GNU, &line).env("PATH", &path).run().ok();
    assert!(tree.path.join("bin/gcc").is_symlink());
    tree.write("other/gcc", "mine");
    let refused = tree.shell(GNU, &format!("{} shims other", kache().display())).run();
    refused.fails().check(refused.stderr.contains("other/gcc"), "it is named");
    assert_eq!(tree.read("other/gcc"), "mine");
}
