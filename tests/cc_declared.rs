//! Without observation: C compiles by their dependency files and a table of flags; whatever the table does not allow passes
//! through, and its flag is named.

use std::fs;

use crate::common::*;

/// A compile without observation: bytes and streams as the plain compiler's, and this outcome.
#[track_caller]
fn compile(tree: &Tree<'_>, compilers: Compilers, line: &str, outcome: &str) -> String {
    let object = tree.path.join("x.o");
    let run = |mode| {
        remove(&object);
        let out = tree.shell(compilers, line).mode(mode).run();
        (out, fs::read(&object).ok())
    };
    let (plain, expected) = run(Mode::Plain);
    let (ours, object) = run(Mode::Declared);
    ours.same_as(&plain).check(object == expected, "the object is the plain compiler's");
    ours.check(ours.events.len() == 1 && ours.events[0].outcome() == outcome, outcome);
    let left = files_below(&tree.space.path("tmp"));
    ours.check(left.is_empty(), "nothing is left in the temporary directory");
    ours.events[0].field("detail").and_then(|d| d.as_str()).unwrap_or_default().to_owned()
}

const LINE: &str = "$CC -O2 -Wall -I first -I later -c x.c -o x.o";

fn tree<'a>(space: &'a Space) -> Tree<'a> {
    let tree = space.tree("w");
    tree.files(&[
        ("x.c", "#include <h.h>\n#include <stdio.h>\nint f(void) { return V; }\n"),
        ("later/h.h", "#define V 1\n"),
        ("first/no", ""),
    ]);
    tree
}

#[test]
fn headers() {
    let space = Space::new();
    for compilers in compilers("headers") {
        let tree = tree(&space);
        remove(&space.cache());
        compile(&tree, compilers, LINE, "miss");
        compile(&tree, compilers, LINE, "hit");
        tree.write("later/h.h", "#define V 2\n");
        compile(&tree, compilers, LINE, "miss");
        tree.write("later/h.h", "#define V 1\n");
        compile(&tree, compilers, LINE, "hit");
        // One that is found first now, and one that shadows a header of the system.
        tree.write("first/h.h", "#define V 3\n");
        compile(&tree, compilers, LINE, "miss");
        tree.remove("first/h.h");
        compile(&tree, compilers, LINE, "hit");
        tree.write("first/bits/types.h", "#define W 1\n#include_next <bits/types.h>\n");
        compile(&tree, compilers, LINE, "miss");
        tree.remove("first/bits");
        compile(&tree, compilers, LINE, "hit");
    }
}

/// Guards: a search list asked for in another language than the driver takes the source for.
#[test]
fn header_before_the_libraries_own() {
    let space = Space::new();
    for compilers in compilers("header_before_the_libraries_own") {
        for driver in ["$CXX", "$CC -x c++"] {
            let tree = space.tree("cxx");
            remove(&space.cache());
            tree.files(&[("x.c", "#include <vector>\nint f() { return 1; }\n"), ("inc/no", "")]);
            let line = &format!("{driver} -Iinc -c x.c -o x.o");
            compile(&tree, compilers, line, "miss");
            compile(&tree, compilers, line, "hit");
            tree.write("inc/vector", "#include_next <vector>\n#define f g\n");
            compile(&tree, compilers, line, "miss");
            tree.remove("inc/vector");
            compile(&tree, compilers, line, "hit");
        }
    }
}

#[test]
fn directory_that_appears() {
    let space = Space::new();
    let tree = tree(&space);
    let line = "$CC -I new -I later -c x.c -o x.o";
    compile(&tree, GNU, line, "miss");
    tree.write("new/h.h", "#define V 7\n");
    compile(&tree, GNU, line, "miss");
    tree.remove("new");
    compile(&tree, GNU, line, "hit");
}

#[test]
fn has_include() {
    let space = Space::new();
    for compilers in compilers("has_include") {
        let tree = tree(&space);
        remove(&space.cache());
        tree.write("x.c", "#if __has_include(\"opt.h\")\nint f(void) { return 1; }\n#endif\nint g;\n");
        compile(&tree, compilers, LINE, "miss");
        compile(&tree, compilers, LINE, "hit");
        tree.write("first/opt.h", "");
        compile(&tree, compilers, LINE, "miss");
        tree.remove("first/opt.h");
        tree.write(
            "x.c",
            "#define NAME \"opt.h\"\n#if __has_include(NAME)\nint f(void) { return 1; }\n#endif\nint g;\n",
        );
        compile(&tree, compilers, LINE, "miss");
        compile(&tree, compilers, LINE, "miss");
    }
}

#[test]
fn dependency_file_of_the_user() {
    let space = Space::new();
    let tree = tree(&space);
    let line = "$CC -I later -MD -MF x.d -c x.c -o x.o && cat x.d";
    compile(&tree, GNU, line, "miss");
    tree.remove("x.d");
    compile(&tree, GNU, line, "hit");
}

#[test]
fn response_files_and_variables() {
    let space = Space::new();
    let tree = tree(&space);
    tree.write("args", "-DW=1 -I later");
    let line = "$CC @args -c x.c -o x.o";
    compile(&tree, GNU, line, "miss");
    compile(&tree, GNU, line, "hit");
    tree.write("args", "-DV=9 -I first");
    tree.write("first/h.h", "");
    compile(&tree, GNU, line, "miss");
    let line = "CPATH=later $CC -c x.c -o x.o";
    compile(&tree, GNU, line, "miss");
    compile(&tree, GNU, line, "hit");
    let line = "CPATH=first:later $CC -DV=4 -c x.c -o x.o";
    compile(&tree, GNU, line, "miss");
}

#[test]
fn compiler_replaced() {
    let space = Space::new();
    let tree = tree(&space);
    let driver = |more: &str| {
        write_script(&tree.path.join("bin/gcc"), &format!("#!/bin/sh\nexec /usr/bin/gcc {more} \"$@\"\n"));
    };
    let line = "PATH=$PWD/bin:$PATH $CC -I later -c x.c -o x.o";
    driver("");
    compile(&tree, GNU, line, "miss");
    compile(&tree, GNU, line, "hit");
    driver("-DW -O1");
    compile(&tree, GNU, line, "miss");
}

#[test]
fn clocks() {
    let space = Space::new();
    let tree = tree(&space);
    tree.write("later/h.h", "#define V sizeof __DATE__\n");
    for _ in 0..2 {
        compile(&tree, GNU, LINE, "miss");
    }
}

/// Guards: what the table refuses passes through, and its flag is told.
#[test]
fn refused() {
    let space = Space::new();
    let tree = tree(&space);
    for flag in [
        "-fstack-usage",
        "-fprofile-use",
        "-save-temps",
        "-MMD",
        "-Wa,-a=x.lst",
        "-gsplit-dwarf",
        "-fno-such-flag-at-all -finvented",
    ] {
        let detail = compile(&tree, GNU, &format!("$CC -I later {flag} -c x.c -o x.o"), "passthrough");
        assert!(flag.ends_with(&detail) && !detail.is_empty(), "{flag}: {detail:?}");
    }
    for line in [
        "$CC -I later x.c -shared -fPIC -o x.o",
        "cat x.c | $CC -I later -x c -c - -o x.o",
        "$CC -I later -c x.c && mv x.o y; mv y x.o",
    ] {
        compile(&tree, GNU, line, "passthrough");
    }
    for name in ["DEPENDENCIES_OUTPUT", "COMPILER_PATH"] {
        let detail = compile(&tree, GNU, &format!("{name}=y $CC -I later -c x.c -o x.o; rm -f y"), "passthrough");
        assert_eq!(detail, name);
    }
    // A project's own word for it.
    space.write("w/.kache.toml", "[cc]\nextra_allowlist_flags = [\"-fsplit-*\"]\n");
    compile(&tree, GNU, "$CC -I later -fsplit-loops -c x.c -o x.o", "miss");
    compile(&tree, GNU, "$CC -I later -fsplit-loops -c x.c -o x.o", "hit");
}
