//! `explain` of C and C++: the change behind a miss, by the place a compile has in its project, and the way from a header
//! to what was linked.

use serde_json::Value;

use crate::commands::faults_of;
use crate::common::*;

const BUILD: &str = "$CC -Iinc -c src/a.c -o out/a.o; $CC -Iinc -c src/b.c -o out/b.o; rm -f out/liball.a; \
                     ar rcs out/liball.a out/a.o out/b.o; $CC main.c out/liball.a -o out/prog && out/prog";

fn tree<'s>(space: &'s Space, at: &str) -> Tree<'s> {
    let tree = space.tree(at);
    tree.files(&[
        ("Makefile", ""),
        ("out/.keep", ""),
        ("inc/a.h", "#define A 1\n"),
        ("src/a.c", "#include <a.h>\nint a(void) { return A; }\n"),
        ("src/b.c", "int b(void) { return 0; }\n"),
        ("main.c", "int a(void), b(void);\nint main(void) { return a() * b(); }\n"),
    ]);
    tree
}

#[track_caller]
fn explained(space: &Space, at: &Tree, name: &str) -> Value {
    let out = space.cli("explain --json").arg(name).cwd(&at.path).run();
    let report: Value = serde_json::from_str(&out.ok().stdout).expect("JSON");
    assert_eq!(faults_of(&report, "explain-one"), Vec::<String>::new(), "{report}");
    report["explanation"].clone()
}

/// Guards: a header's change is named for the object and, through the archive, for what was linked; sources and objects are
/// understood by their paths; and what did not change is not blamed.
#[test]
fn from_a_header_to_the_program() {
    let space = Space::new();
    for compilers in compilers("from_a_header_to_the_program") {
        remove(&space.cache());
        let tree = tree(&space, "w");
        tree.shell(compilers, BUILD).run().ok();
        assert_eq!(explained(&space, &tree, "src/a.c")["cause"], "first");
        tree.write("inc/a.h", "#define A 2\n");
        let again = tree.shell(compilers, BUILD).run();
        assert_eq!(again.ok().count("hit"), 1, "{}", again.world());
        let header = "file <workspace>/inc/a.h";
        for name in ["src/a.c", "out/a.o", "./out/../src/a.c", "a.o", "out/a.o"] {
            let why = explained(&space, &tree, name);
            assert_eq!((&why["unit"], &why["change"]["what"]), (&"out/a.o".into(), &header.into()), "{name}: {why}");
            assert!(why["change"]["before"] != why["change"]["now"] && why["because_of"].is_null(), "{why}");
        }
        assert_eq!(explained(&space, &tree, "b.o")["cause"], "first", "only its first compile missed");
        let why = explained(&space, &tree, "prog");
        assert_eq!(why["change"]["what"], "file <workspace>/out/liball.a", "{why}");
        assert_eq!(
            (&why["because_of"]["unit"], &why["because_of"]["change"]["what"]),
            (&"out/a.o".into(), &header.into())
        );
        let out = space.cli("explain").run();
        says(out.ok(), &["Last build", "out/a.o", header, "1 dependent", "out/prog"]);
        out.check(!out.stdout.contains("b.o"), "what was restored is not explained");
        says(space.cli("explain --since 1h").run().ok(), &["never compiled", header]);

        let flag = tree.shell(compilers, "$CC -O1 -Iinc -c src/b.c -o out/b.o; $CC -c nothing.c -o out/c.o").run();
        flag.fails();
        let why = explained(&space, &tree, "out/b.o");
        assert_eq!((&why["change"]["what"], &why["change"]["now"]), (&"argument".into(), &"-O1".into()), "{why}");
        assert_eq!(explained(&space, &tree, "nothing.c")["reason"], "tool-failed");
        let out = space.cli("explain src/none.c").cwd(&tree.path).run();
        exits(&out, 1);
        says(&out, &["nothing called \"src/none.c\""]);
    }
}

/// Guards: one name in two projects is two things; in two checkouts of one project it is one. What configure scripts try is
/// counted by itself.
#[test]
fn names_are_not_enough() {
    let space = Space::new();
    for compilers in compilers("names_are_not_enough") {
        remove(&space.cache());
        let (one, two, other) = (tree(&space, "one"), tree(&space, "second"), space.tree("other"));
        let line = "$CC -Iinc -c src/a.c -o out/a.o";
        one.shell(compilers, line).run().ok();
        other.files(&[("Makefile", ""), ("out/.keep", ""), ("src/a.c", "int other;\n")]);
        other.shell(compilers, line).run().ok();
        assert_eq!(explained(&space, &other, "src/a.c")["cause"], "first");
        two.write("inc/a.h", "#define A 3\n");
        two.shell(compilers, line).run().ok();
        let why = explained(&space, &two, "src/a.c");
        assert_eq!(why["change"]["what"], "file <workspace>/inc/a.h", "{why}");
        assert_eq!(why["compared_dir"], one.path.display().to_string());

        let probes = "for n in 1 2 3; do echo \"int x$n;\" > conftest.c; $CC -c conftest.c; done; $CC -c src/a.c";
        other.shell(compilers, probes).run().ok();
        let out = space.cli("explain").run();
        says(out.ok(), &["3 probes of a configure script, 3 not restored"]);
        assert_eq!(explained(&space, &other, "conftest.o")["cause"], "first", "another content is another probe");
    }
}

/// Guards: what was passed through is explained by the flag, at its file.
#[test]
fn what_was_declined() {
    let space = Space::new();
    for compilers in compilers("what_was_declined") {
        remove(&space.cache());
        let tree = tree(&space, "w");
        tree.shell(compilers, "$CC -Iinc --coverage -c src/a.c -o out/a.o; $CC main.c -S").declared().run().ok();
        let why = explained(&space, &tree, "src/a.c");
        assert_eq!((&why["cause"], &why["reason"]), (&"declined".into(), &"unknown-flag".into()), "{why}");
        says(space.cli("explain out/a.o").cwd(&tree.path).run().ok(), &["out/a.o", "passthrough", "--coverage"]);
        says(space.cli("explain").run().ok(), &["--coverage"]);
    }
}
