//! What a person or another program sees of a C compile is as without kache: bytes, messages, modes, files of all kinds,
//! and failures. And it is found again elsewhere.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::*;

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";

#[test]
fn hit_starts_no_compiler() {
    let test = "hit_starts_no_compiler";
    if !on_path("strace") {
        return skip(test, "no strace");
    }
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    for compilers in compilers(test) {
        let line = "$CC -c x.c -o x.o; $CC x.o -o x";
        tree.shell(compilers, line).run().ok();
        let trace = space.path("trace");
        let strace = ["strace", "-f", "-e", "trace=execve", "-o", trace.to_str().unwrap()];
        tree.shell(compilers, line).under(&strace).run().all_hit();
        let started = fs::read_to_string(&trace).unwrap();
        let started: Vec<&str> = started.lines().filter(|l| l.contains("execve(") && l.contains(" = 0")).collect();
        assert!(started.len() == 3, "a shell and two times kache, and nothing else: {started:#?}");
    }
}

#[test]
fn warnings_and_colours() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int f(int a) { int unused; return a = a; }\n");
    for compilers in compilers("warnings_and_colours") {
        for (line, word) in [
            ("$CC -Wall -Wextra -c x.c -o out/x.o", "unused"),
            ("$CC -Wall -fdiagnostics-color=always -c x.c -o out/x.o", "\x1b["),
            ("cd out; $CC -Wall -c ../x.c -o y.o", "../x.c"),
        ] {
            let again = as_plain(&tree, compilers, line).again;
            again.check(again.stderr.contains(word), word);
        }
    }
}

/// Guards: the message of another checkout names that checkout.
#[test]
fn warnings_of_another_checkout() {
    let space = Space::new();
    for compilers in compilers("warnings_of_another_checkout") {
        for at in ["first", "second/place"] {
            let tree = space.tree(at);
            tree.write(".git/HEAD", "");
            tree.write("x.c", "int f(int a) { int unused; return a = a; }\n");
            let script = "$CC -Wall -c $PWD/x.c -o out/x.o";
            let first = as_plain(&tree, compilers, script).first;
            first.check(first.stderr.contains(tree.path.join("x.c").to_str().unwrap()), "the path is absolute");
            first.check(at == "first" || first.actions().all(Event::is_hit), "found in the second");
        }
    }
}

#[test]
fn failure() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int f(void) { return missing; }\n");
    for compilers in compilers("failure") {
        for line in ["x.c", "no-such.c", "--no-such-flag x.c", "x.c -o out/no/such/directory/x.o"] {
            as_plain(&tree, compilers, &format!("$CC -c {line} && echo fine >&2; false"));
            tree.shell(compilers, &format!("$CC -c {line}")).plain().run().fails();
        }
    }
}

#[test]
fn compiler_that_does_not_exist() {
    let space = Space::new();
    let tree = space.tree("w");
    let out = tree.shell(("no-such-gcc", "no-such-g++"), "$CC -c x.c").run();
    out.check(out.status.code() == Some(127), "the shell's code for it");
    out.check(out.stderr.contains("no-such-gcc"), "the name is told");
}

/// Guards: dependency files are those of this run, wherever and for whatever they were written before.
#[test]
fn dependency_files() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "#include \"h.h\"\n#include <stddef.h>\n"), ("h.h", "int h;\n")]);
    for compilers in compilers("dependency_files") {
        for line in [
            "$CC -MD -c x.c -o out/x.o",
            "$CC -MMD -c x.c -o out/y.o",
            "$CC -MD -MF out/other.dep -c x.c -o out/x.o",
            "$CC -MD -MF out/x.d -MT 'a name' -MP -c x.c -o out/x.o",
            "$CC -MD -MQ 'a $name' -c $PWD/x.c -o out/x.o",
            "$CC -M x.c -o out/x.d",
            "$CC -MM x.c",
            "$CC -Wp,-MD,out/x.d -c x.c -o out/x.o",
            "cd out; $CC -MMD -c ../x.c",
            "cd out; $CC -MD -c $OLDPWD/x.c -o $PWD/x.o",
        ] {
            as_plain(&tree, compilers, line);
        }
    }
    clang_as_plain("dependency_files", &tree, "$CC -MJ out/x.json -c x.c -o out/x.o");
}

#[test]
fn dependencies_by_variable() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "#include \"h.h\"\n"), ("h.h", "int h;\n")]);
    for line in [
        "DEPENDENCIES_OUTPUT=out/x.d $CC -c x.c -o out/x.o",
        "SUNPRO_DEPENDENCIES='out/x.d name' $CC -c x.c -o out/x.o",
    ] {
        // What is there is written on, so nothing is stored.
        let told = [Mode::Plain, Mode::Observed, Mode::Observed].map(|mode| {
            remove(&tree.path.join("out"));
            tree.write("out/x.d", "before:\n");
            tree.shell(GNU, line).mode(mode).run().ok();
            tree.read("out/x.d")
        });
        assert!(told[0].starts_with("before:") && told.iter().all(|t| *t == told[0]), "{told:?}");
        let fresh = [Mode::Plain, Mode::Observed, Mode::Observed].map(|mode| {
            remove(&tree.path.join("out"));
            fs::create_dir(tree.path.join("out")).unwrap();
            tree.shell(GNU, line).mode(mode).run().ok();
            tree.read("out/x.d")
        });
        assert!(fresh.iter().all(|t| *t == fresh[0]), "{fresh:?}");
    }
}

/// Guards: a second checkout at another path is served, with its own paths.
#[test]
fn second_checkout() {
    let space = Space::new();
    for compilers in compilers("second_checkout") {
        for at in ["first", "a/longer/second"] {
            let tree = space.tree(at);
            tree.files(&[
                (".git/HEAD", ""),
                ("src/x.c", "#include \"h.h\"\nint f(void) { return V; }\n"),
                ("inc/h.h", "#define V 1\n"),
                ("src/main.c", "int f(void);\nint main(void) { return f(); }\n"),
            ]);
            let script = "cd out; for s in x main; do $CC $MAPS -g -MD -I $OLDPWD/inc -c $OLDPWD/src/$s.c -o $s.o; done; \
                          $CC x.o main.o -o x; for d in x main; do tr -s ' \\\\\\n' '\\n\\n\\n' < $d.d > t; mv t $d.d; done";
            // (Lines of dependency files are broken where the longer or shorter names of the first made the compiler do it.)
            let first = as_plain(&tree, compilers, script).first;
            first.ok().check(first.count("hit") == if at == "first" { 0 } else { 3 }, "all of it in the second");
            let depfile = tree.read("out/x.d");
            assert!(depfile.contains(tree.path.join("inc/h.h").to_str().unwrap()), "{depfile}");
            let status = tree.execute("out/x").status.code();
            assert_eq!(status, Some(1));
        }
    }
}

/// Guards: with the same maps the plain compiler gives the same bytes, debug information included.
#[test]
fn debug_information() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        (".git/HEAD", ""),
        ("src/x.c", "#include \"h.h\"\nint f(void) { return V; }\n"),
        ("src/h.h", "#define V 1\n"),
    ]);
    for compilers in compilers("debug_information") {
        as_plain(&tree, compilers, "$CC -g -fdebug-prefix-map=$PWD=/mapped -c $PWD/src/x.c -o out/x.o");
        as_plain(&tree, compilers, "$CC -g -fdebug-prefix-map=${PWD%/*}=/mapped -c $PWD/src/x.c -o out/x.o");
        remove(&tree.path.join("out"));
        fs::create_dir(tree.path.join("out")).unwrap();
        let mapped = format!("$CC -g -fdebug-prefix-map={}=. -c src/x.c -o out/plain.o", tree.path.display());
        tree.shell(compilers, &mapped).plain().run().ok();
        tree.shell(compilers, "$CC -g -c src/x.c -o out/ours.o").run().ok();
        let [plain, ours] = ["plain", "ours"].map(|n| fs::read(tree.path.join(format!("out/{n}.o"))).unwrap());
        assert!(plain == ours, "the same maps, the same bytes");
    }
}

/// Guards: a debugger started in a checkout finds that checkout's sources in what was restored there.
#[test]
fn debugger_finds_the_sources() {
    let test = "debugger_finds_the_sources";
    if !on_path("gdb") {
        return skip(test, "no gdb");
    }
    let space = Space::new();
    for compilers in compilers(test) {
        for at in ["first", "second/place"] {
            let tree = space.tree(at);
            tree.files(&[(".git/HEAD", ""), ("src/x.c", HELLO)]);
            let script = "$CC $MAPS -g -c $PWD/src/x.c -o out/x.o; $CC out/x.o -o out/x";
            let first = as_plain(&tree, compilers, script).first;
            first.check(at == "first" || first.actions().all(Event::is_hit), "found in the second");
            let run = ["-q", "-nx", "-batch", "-ex", "list main", "-ex", "info source", "out/x"];
            let mut gdb = space.command("gdb", &tree.path);
            for arg in run {
                gdb = gdb.arg(arg);
            }
            let said = gdb.run();
            said.ok().check(said.stdout.contains("puts(\"hello\")"), "the source is shown");
            let here = tree.path.join("src/x.c");
            said.check(said.stdout.contains(&format!("Located in {}", here.display())), "it is this checkout's");
        }
    }
}

#[test]
fn modes_of_outputs() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    for compilers in compilers("modes_of_outputs") {
        for umask in ["022", "077", "002"] {
            as_plain(&tree, compilers, &format!("umask {umask}; $CC -c x.c -o out/x.o; $CC out/x.o -o out/x"));
        }
    }
}

/// Guards: what stands at the place of an output is treated as the compiler treats it.
#[test]
fn awkward_outputs() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    for compilers in compilers("awkward_outputs") {
        tree.shell(compilers, "$CC -c x.c -o x.o").run().ok();
        // A device stays one.
        as_plain(&tree, compilers, "$CC -c x.c -o /dev/null && test -c /dev/null");
        as_plain(&tree, compilers, "$CC -E x.c -o /dev/stdout");
        as_plain(&tree, compilers, "$CC -c -x assembler /dev/null -o /dev/null && $CC -E -x c /dev/null -o /dev/null");
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        // A link to elsewhere is written through or replaced, a pipe gets the bytes, a file that may not be written, or has
        // a second name, is replaced or written into: as the compiler does it, each time.
        for (before, after) in [
            ("echo old > out/y; ln -s y out/x.o", ":"),
            ("mkfifo out/x.o; cat out/x.o > out/copy &", "wait; rm out/x.o"),
            ("echo old > out/x.o; chmod 444 out/x.o", ":"),
            ("echo old > out/x.o; ln out/x.o out/y.o", ":"),
        ] {
            let script = format!("{before}\n $CC -S x.c -o out/x.o; {after}; stat -c '%n %F %h' out/*");
            let build = |mode| Made::by(tree.shell(compilers, &script).mode(mode), &tree.path.join("out"));
            let plain = build(Mode::Plain);
            plain.outcome.ok();
            for _ in 0..2 {
                build(Mode::Observed).same_as(&plain);
            }
        }
        as_plain(&tree, compilers, "mkdir out/x.o; $CC -c x.c -o out/x.o");
    }
}

/// Guards: writing into a restored object does not reach the store.
#[test]
fn restored_objects_are_the_users() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    tree.shell(GNU, "$CC -c x.c -o x.o; cp x.o kept; $CC x.o -o x").run().ok();
    let script = "rm -f x.o x; $CC -c x.c -o x.o; cmp x.o kept; $CC x.o -o x; ./x; strip x; echo more >> x.o; objcopy --strip-all x.o || true";
    for _ in 0..2 {
        tree.shell(GNU, script).run().ok();
    }
    let again = tree.shell(GNU, "rm -f x.o x; $CC -c x.c -o x.o; cmp x.o kept").run();
    again.ok().all_hit();
}

#[test]
fn standard_input_and_output() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", HELLO), ("y.c", "int y;\n"), ("h.h", "")]);
    for compilers in compilers("standard_input_and_output") {
        as_plain(&tree, compilers, "$CC -x c -c - -o out/x.o < x.c; cat y.c | $CC -x c -c - -o out/y.o");
        as_plain(&tree, compilers, "$CC -S x.c -o -");
        as_plain(&tree, compilers, "$CC -E x.c");
        as_plain(&tree, compilers, "echo '#include \"h.h\"' | $CC -E -x c -");
        as_plain(&tree, compilers, "$CC -dM -E -x c /dev/null");
    }
}

#[test]
fn queries() {
    let space = Space::new();
    let tree = space.tree("w");
    for compilers in compilers("queries") {
        for query in
            ["--version", "-v", "-dumpmachine", "-print-search-dirs", "-print-prog-name=ld", "-print-file-name=crt1.o"]
        {
            let run = || tree.shell(compilers, &format!("$CC {query}"));
            let plain = run().plain().run();
            run().run().same_as(&plain);
            let again = run().run();
            again
                .same_as(&plain)
                .check(again.events.iter().all(Event::is_hit), "a question is answered from the cache");
        }
    }
}

#[test]
fn names_of_all_kinds() {
    let space = Space::new();
    let tree = space.tree("a dir with 'quotes' \"and\" ünïcode");
    for name in [
        "a b.c",
        "q'uo\"te.c",
        "süß.c",
        "new\nline.c",
        "dollar$.c",
        "back\\slash.c",
        "-dash.c",
        "at@.c",
        "semi;colon.c",
    ] {
        tree.write(name, "#include \"h h.h\"\nint f(void) { return V; }\n");
        tree.write("h h.h", "#define V 1\n");
        for compilers in compilers("names_of_all_kinds") {
            let quoted = format!("./{}", name).replace('\'', "'\\''");
            as_plain(&tree, compilers, &format!("$CC -Wall -MD -c '{quoted}' -o out/x.o"));
            as_plain(
                &tree,
                compilers,
                &format!("$CC -g -fdebug-prefix-map=\"$PWD\"=. -c \"$PWD\"/'{quoted}' -o 'out/{}.o'", &quoted[2..]),
            );
        }
    }
}

#[test]
fn long_command_lines() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    for compilers in compilers("long_command_lines") {
        let many: String = (0..10_000).map(|i| format!(" -DNAME_{i}={i}")).collect();
        tree.write("args", &many);
        as_plain(&tree, compilers, "$CC $(cat args) -c x.c -o out/x.o");
        as_plain(&tree, compilers, "$CC @args -c x.c -o out/x.o");
    }
}

#[test]
fn twenty_at_once() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    tree.shell(GNU, "$CC -O2 -c x.c -o plain.o").plain().run().ok();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                  (mkdir -p d$i; $CC -O2 -c x.c -o d$i/x.o || echo failed) & done; wait; \
                  for i in d*; do cmp plain.o $i/x.o; done";
    let out = tree.shell(GNU, script).run();
    out.ok().check(out.stdout.is_empty() && out.stderr.is_empty(), "all succeed, with the plain bytes");
    out.check(out.count("miss") == 20, "each is an action of its own");
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do $CC -O2 -c x.c -o same.o & done; wait; cmp plain.o same.o";
    let out = tree.shell(GNU, script).run();
    out.ok().check(out.stderr.is_empty(), "and into one place");
    out.check(out.events.len() == 20 && out.count("miss") == 1, "which one compiles");
    out.check(out.count("hit") + out.count("dup") == 19, "and the others take");
}

/// Guards: a directory of links named like compilers, first on PATH, needs no other set-up.
#[test]
fn links_named_like_compilers() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    let bin = tree.path.join("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["gcc", "cc", "clang", "x86_64-linux-gnu-gcc"] {
        symlink(kache(), bin.join(name)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for name in ["gcc", "cc", "clang", "x86_64-linux-gnu-gcc"].into_iter().filter(|name| on_path(name)) {
        let script = format!("{name} -c x.c -o x.o && {name} x.o -o x && ./x");
        let run = || tree.shell(GNU, &script).env("PATH", &path).run();
        run().ok();
        run().all_hit();
    }
}

#[test]
fn names_with_a_version() {
    let test = "names_with_a_version";
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    for (cc, cxx) in compilers(test) {
        let told = Command::new(cc).arg("-dumpversion").output().unwrap().stdout;
        let version = String::from_utf8(told).unwrap().trim().split('.').next().unwrap().to_owned();
        let [cc, cxx] = [cc, cxx].map(|name| format!("{name}-{version}"));
        if !(on_path(&cc) && on_path(&cxx)) {
            skip(test, &format!("no {cc} or {cxx}"));
            continue;
        }
        let script = format!("$CC {cc} -c x.c -o out/x.o; $CC {cxx} -x c++ -c x.c -o out/y.o");
        as_plain(&tree, ("", ""), &script);
    }
}

/// Guards: the setting, and not `PATH`, says which compiler `cc` and `c++` are.
#[test]
fn compiler_by_setting() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "#ifdef MARK\nint mark;\n#endif\n");
    for (variable, real, line) in
        [("KACHE_CC", "gcc", "$CC -c x.c -o x.o; nm x.o"), ("KACHE_CXX", "g++", "$CXX -x c++ -c x.c -o x.o; nm x.o")]
    {
        write_script(&tree.path.join("mine"), &format!("#!/bin/sh\nexec {real} -DMARK \"$@\"\n"));
        for hit in [false, true] {
            let out = tree.shell(("cc", "c++"), line).env(variable, tree.path.join("mine")).run();
            out.ok().check(out.stdout.contains("mark"), "the named one compiles");
            out.check(out.count("hit") == usize::from(hit), "found the second time");
        }
    }
}

#[test]
fn restored_files_have_the_time_of_the_restore() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    tree.shell(GNU, "$CC -c x.c -o x.o").run().ok();
    tree.remove("x.o");
    std::thread::sleep(std::time::Duration::from_millis(20));
    tree.write("later", "");
    tree.shell(GNU, "$CC -c x.c -o x.o").run().all_hit();
    let time = |name: &str| {
        let meta = fs::metadata(tree.path.join(name)).unwrap();
        (meta.mtime(), meta.mtime_nsec())
    };
    assert!(time("x.o") > time("later"), "make goes by it");
}

/// The beginning of a command line that runs the rest as somebody whom permissions stop; nothing where the tests run so.
fn unprivileged(test: &str) -> Option<&'static str> {
    if !is_root() {
        return Some("");
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        skip(test, "root may do everything, and there is no setpriv");
        return None;
    }
    Some("setpriv --reuid=65534 --regid=65534 --clear-groups")
}

/// Whoever it is may write in the tree and into the cache.
fn open_to_all(space: &Space, tree: &Tree<'_>) {
    fs::create_dir(space.cache()).unwrap();
    for dir in [space.path(""), space.site(""), tree.path.clone(), space.cache(), space.path("tmp")] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
}

/// Guards: a directory on `PATH` that may not be searched keeps nothing from being cached, until it may.
#[test]
fn closed_directory_on_the_path() {
    let test = "closed_directory_on_the_path";
    let Some(drop) = unprivileged(test) else { return };
    if !on_path("gcc") {
        return skip(test, "no gcc");
    }
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    write_script(&tree.path.join("closed/as"), "#!/bin/sh\nexec /usr/bin/as --defsym opened=1 \"$@\"\n");
    open_to_all(&space, &tree);
    let closed = |mode| fs::set_permissions(tree.path.join("closed"), fs::Permissions::from_mode(mode)).unwrap();
    let path = format!("{}:/usr/bin:/bin", tree.path.join("closed").display());
    let build = |mode: Mode| {
        let out =
            tree.shell(GNU, "$DROP sh -c '$CC -c x.c -o x.o'").env("DROP", drop).env("PATH", &path).mode(mode).run();
        out.ok();
        (out, fs::read(tree.path.join("x.o")).unwrap())
    };
    closed(0o000);
    let plain = build(Mode::Plain).1;
    assert!(build(Mode::Observed).1 == plain);
    let (again, object) = build(Mode::Observed);
    again.all_hit();
    assert!(object == plain);
    closed(0o755);
    let (ours, plain) = (build(Mode::Observed).1, build(Mode::Plain).1);
    assert!(ours == plain && ours != object, "what is found there now counts");
}

/// Guards: where a result may not be written the compiler's own words and end are seen, though there is a result to restore;
/// and a file that may not be written is treated as the compiler treats it.
#[test]
fn unwritable_output() {
    let test = "unwritable_output";
    let Some(drop) = unprivileged(test) else { return };
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", HELLO);
    open_to_all(&space, &tree);
    for compilers in compilers(test) {
        let build = |line: &str, mode: Mode| {
            let script = format!("chmod 777 out; $DROP sh -c '{line}'; end=$?; chmod -R u+w out; exit $end");
            let run = tree.shell(compilers, &script).env("DROP", drop).env("PATH", "/usr/bin:/bin");
            Made::by(run.mode(mode), &tree.path.join("out"))
        };
        let line = "mkdir out/d; $CC -c x.c -o out/d/x.o";
        build(line, Mode::Observed).outcome.ok();
        build(line, Mode::Observed).outcome.all_hit();
        let locked = "mkdir out/d; chmod 555 out/d; $CC -c x.c -o out/d/x.o";
        let read_only = "mkdir out/d; echo old > out/d/x.o; chmod 444 out/d/x.o; $CC -c x.c -o out/d/x.o";
        for line in [locked, read_only] {
            let plain = build(line, Mode::Plain);
            plain.outcome.check(line == read_only || !plain.outcome.status.success(), "it can't be written");
            build(line, Mode::Observed).same_as(&plain);
        }
    }
}

/// Guards: a source may take its own path apart, so that a result depends on the place and does not contain it; or hold it
/// where no search finds it. Each checkout gets what the plain compiler gives there, and gets that again.
#[test]
fn own_path_taken_apart() {
    let space = Space::new();
    let long = "#define W2(x) L##x\n#define W(x) W2(x)\nconst void *f(void) { return W(__FILE__); }\n";
    let plain = "const char *f(void) { return __FILE__; }\n";
    let cases: &[(&str, &str, &str)] = &[
        ("size", "", "unsigned long f(void) { return sizeof(__FILE__); }\n"),
        ("length", "-O2", "unsigned long f(void) { return __builtin_strlen(__BASE_FILE__); }\n"),
        ("builtin", "-O2", "unsigned long f(void) { return __builtin_strlen(__builtin_FILE()); }\n"),
        ("wide", "", long),
        ("header", "-I $PWD/inc", "#include \"size.h\"\nunsigned long f(void) { return SIZE; }\n"),
        ("text", "", "#define T(x) #x\n#define S(x) T(x)\nunsigned long f(void) { return sizeof(S(__FILE__)); }\n"),
        ("inline", "-O2 -I $PWD/inc", "#include \"length.h\"\nunsigned long f(void) { return length(); }\n"),
        ("macro", "-DP=\\\"$PWD\\\"", "unsigned long f(void) { return sizeof(P); }\n"),
        ("macro-apart", "-D P=\\\"$PWD\\\"", "unsigned long f(void) { return sizeof(P); }\n"),
        ("packed", "-O2 -flto -frandom-seed=1", plain),
        ("bits", "-emit-llvm", plain),
        ("response", "@args", "unsigned long f(void) { return sizeof(P); }\n"),
        ("upper-map", "-g -fdebug-prefix-map=${PWD%/*}=up", "int f;\n"),
        ("literal", "", plain),
    ];
    for compilers in compilers("own_path_taken_apart") {
        for (name, flags, source) in cases {
            if *name == "bits" && compilers == GNU {
                continue;
            }
            for at in ["one", "a/longer/two"] {
                let tree = space.tree(&format!("{}-{name}/{at}", compilers.0));
                let args = format!("-DP=\\\"{}\\\"", tree.path.display());
                tree.files(&[(".git/HEAD", ""), ("x.c", source), ("args", &args)]);
                tree.write("inc/size.h", "#define SIZE sizeof(__FILE__)\n");
                let length =
                    "static inline unsigned long length(void) { return __builtin_strlen(__builtin_FILE()); }\n";
                tree.write("inc/length.h", length);
                as_plain(&tree, compilers, &format!("$CC {flags} -c $PWD/x.c -o out/x.o"));
            }
        }
    }
}

/// Guards: a header that only offers macros with `__FILE__` in them binds nothing, wherever it lies; and one that was made to
/// use it does from then on.
#[test]
fn own_path_that_nobody_asks_for() {
    let space = Space::new();
    let offers = "#define TELL(x) tell(__FILE__, x)\n#ifdef NEVER\n#define CHECK(x) TELL(#x)\n#else\n#define CHECK(x) (x)\n#endif\n";
    let line = "$CC -g -Iinc -I $PWD/inc -c $PWD/x.c -o out/x.o";
    for compilers in compilers("own_path_that_nobody_asks_for") {
        for (at, hits) in [("one", 0), ("two", 1), ("a/longer/three", 1)] {
            let tree = space.tree(at);
            tree.files(&[(".git/HEAD", ""), ("inc/check.h", offers)]);
            tree.write("x.c", "#include <check.h>\nunsigned long f(int x) { return CHECK(x); }\n");
            let out = tree.shell(compilers, &format!("mkdir -p out; {line}")).run();
            out.ok().check(out.count("hit") == hits, "compiled once, for all");
        }
        for at in ["one", "a/longer/three"] {
            let tree = space.tree(at);
            tree.write("inc/check.h", "#define CHECK(x) (sizeof(__FILE__) + x)\n");
            as_plain(&tree, compilers, &line.replace("-g ", ""));
        }
    }
}

/// Guards: where a result goes is nothing its source can ask for, so an absolute `-o` (the `cc` crate's) binds nothing.
#[test]
fn own_path_and_an_absolute_output() {
    let space = Space::new();
    let source = "unsigned long f(void) { return sizeof(__FILE__); }\n";
    let line = "$CC -MD -MF $PWD/out/x.d -MT $PWD/out/x.o -c x.c -o $PWD/out/x.o; $CC -o$PWD/out/y.o -c x.c";
    for compilers in compilers("own_path_and_an_absolute_output") {
        let made = ["one", "a/longer/two"].map(|at| {
            let tree = space.tree(at);
            tree.files(&[(".git/HEAD", ""), ("x.c", source)]);
            let build = |mode: Mode| {
                remove(&tree.path.join("out"));
                fs::create_dir(tree.path.join("out")).unwrap();
                let out = tree.shell(compilers, line).mode(mode).run();
                (out, Snapshot::of(&tree.path.join("out")))
            };
            let ((_, plain), (ours, files)) = (build(Mode::Plain), build(Mode::Observed));
            let object = |p: &Path| p.extension().is_some_and(|e| e == "o");
            files.only(object).same_bytes(&plain.only(object));
            ours
        });
        made[0].ok().check(made[0].count("miss") == 2, "compiled in the first");
        made[1].ok().all_hit();
    }
}

/// Guards: what is only shown is what would be run without kache.
#[test]
fn shown_commands() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[(".git/HEAD", ""), ("x.c", "int x;\n")]);
    for compilers in compilers("shown_commands") {
        // Names of scratch files differ from run to run.
        let shown = "$CC -g -c x.c -o x.o '-###' 2>&1 | sed 's:/tmp/[^ \"]*::g'";
        as_plain(&tree, compilers, shown);
        as_plain(&tree, compilers, "$CC -g -c x.c -o x.o -v 2>&1 | grep -c prefix-map; true");
    }
}

/// Guards: on a terminal it looks as it does without kache: colours from the first run, the next, and a plain pipe gets none.
#[test]
fn colours_of_a_terminal() {
    let test = "colours_of_a_terminal";
    if !on_path("script") {
        return skip(test, "no script");
    }
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int f(int a) { int unused; return a = a; }\n");
    for compilers in compilers(test) {
        let line = "script -qec \"$CC -Wall -c x.c -o x.o\" /dev/null";
        let seen = |mode| {
            let out = tree.shell(compilers, line).env("TERM", "xterm").mode(mode).run();
            out.ok();
            out.stdout
        };
        let plain = seen(Mode::Plain);
        assert!(plain.contains('\x1b') && plain.contains("unused"), "{plain:?}");
        for _ in 0..2 {
            assert_eq!(seen(Mode::Observed), plain);
        }
        let piped = tree.shell(compilers, "$CC -Wall -c x.c -o x.o").env("TERM", "xterm").run();
        piped.ok().check(!piped.stderr.contains('\x1b') && piped.stderr.contains("unused"), "no colours in a pipe");
    }
}
