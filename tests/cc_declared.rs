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

/// Guards: what the preprocessor says is taken up to a bound; over it nothing is stored, and the reason says so.
#[test]
fn much_preprocessed() {
    let space = Space::new();
    let tree = tree(&space);
    for (doublings, again) in [(8, "hit"), (16, "miss")] {
        let mut text = format!("#define S0 \"{}\"\n", "s".repeat(1100));
        for n in 0..doublings {
            text += &format!("#define S{} S{n} S{n}\n", n + 1);
        }
        tree.write("x.c", &format!("{text}unsigned f(void) {{ return sizeof(S{doublings}); }}\n"));
        compile(&tree, GNU, LINE, "miss");
        let detail = compile(&tree, GNU, LINE, again);
        assert_eq!(detail.contains("more than 67108864 bytes"), again == "miss", "{detail}");
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

/// The compiler's program, copied to `bin` below the tree, and a line that compiles with it.
fn own_compiler(tree: &Tree<'_>, compiler: &str) -> String {
    let found =
        tree.space.command("sh", &tree.path).arg("-c").arg(format!("readlink -f $(command -v {compiler})")).run();
    fs::create_dir_all(tree.path.join("bin")).unwrap();
    fs::copy(found.stdout.trim(), tree.path.join("bin").join(compiler)).unwrap();
    tree.write("x.c", "int f(void) { return 1; }\n");
    "PATH=$PWD/bin:$PATH $CC -c x.c -o x.o".into()
}

/// Guards: a compiler is its program, the libraries that does its work, and what it starts.
#[test]
fn compiler_replaced() {
    let space = Space::new();
    for compilers in compilers("compiler_replaced") {
        let tree = tree(&space);
        let line = &own_compiler(&tree, compilers.0);
        // gcc finds its parts from where it lies.
        std::os::unix::fs::symlink("/usr/lib", tree.path.join("lib")).unwrap();
        let change = |file: &str| {
            use std::io::Write;
            fs::File::options().append(true).open(tree.path.join(file)).unwrap().write_all(b"\0").unwrap();
        };
        compile(&tree, compilers, line, "miss");
        compile(&tree, compilers, line, "hit");
        change(&format!("bin/{}", compilers.0));
        compile(&tree, compilers, line, "miss");
        compile(&tree, compilers, line, "hit");
        // The same line with a library of its own; and one that is found first now.
        fs::create_dir_all(tree.path.join("own")).unwrap();
        fs::create_dir_all(tree.path.join("first-own")).unwrap();
        let libc = space
            .command("sh", &tree.path)
            .arg("-c")
            .arg(format!("ldd bin/{} | sed -n 's/.* => \\(.*libc.so.6\\) .*/\\1/p'", compilers.0));
        let libc = libc.run().stdout;
        fs::copy(libc.trim(), tree.path.join("own/libc.so.6")).unwrap();
        let line = &format!("export LD_LIBRARY_PATH=$PWD/first-own:$PWD/own; {line}");
        compile(&tree, compilers, line, "miss");
        compile(&tree, compilers, line, "hit");
        change("own/libc.so.6");
        compile(&tree, compilers, line, "miss");
        compile(&tree, compilers, line, "hit");
        fs::copy(libc.trim(), tree.path.join("first-own/libc.so.6")).unwrap();
        compile(&tree, compilers, line, "miss");
        remove(&tree.path);
    }
}

/// Guards: what a driver that is a script starts, and what a file of clang's adds, is not known.
#[test]
fn compilers_of_unknown_parts() {
    let space = Space::new();
    let tree = tree(&space);
    write_script(&tree.path.join("bin/gcc"), "#!/bin/sh\nexec /usr/bin/gcc $MORE \"$@\"\n");
    for more in ["", "-DW=1"] {
        let line = format!("export MORE={more}; PATH=$PWD/bin:$PATH $CC -I later -c x.c -o x.o");
        for _ in 0..2 {
            compile(&tree, GNU, &line, "miss");
        }
    }
    if !on_path("clang") {
        return skip("compilers_of_unknown_parts", "no clang");
    }
    let line = &own_compiler(&tree, "clang");
    tree.write("x.c", "int f(void) { return V; }\n");
    let compile_with = |text: &str| {
        tree.write("bin/flags", text);
        tree.write("bin/clang.cfg", "@flags\n");
        for _ in 0..2 {
            compile(&tree, LLVM, line, "miss");
        }
    };
    compile_with("-DV=1\n");
    compile_with("-DV=2\n");
    tree.remove("bin/clang.cfg");
    let line = &line.replace("-c x.c", "-DV=3 -c x.c");
    compile(&tree, LLVM, line, "miss");
    compile(&tree, LLVM, line, "hit");
    tree.write("bin/clang.cfg", "-DW -O1\n");
    compile(&tree, LLVM, line, "miss");
}

/// Guards: a precompiled header that appears, beside a header or where it is looked for before that.
#[test]
fn precompiled_header_that_appears() {
    let space = Space::new();
    let tree = tree(&space);
    tree.write("other/h.h", "#define V 2\n");
    for place in ["later/h.h.gch", "first/h.h.gch"] {
        compile(&tree, GNU, LINE, if place.starts_with("later") { "miss" } else { "hit" });
        tree.shell(GNU, &format!("$CC -O2 -Wall -x c-header other/h.h -o {place}")).plain().run().ok();
        compile(&tree, GNU, LINE, "miss");
        compile(&tree, GNU, LINE, "miss");
        tree.remove(place);
        compile(&tree, GNU, LINE, "hit");
    }
    if !on_path("clang") {
        return skip("precompiled_header_that_appears", "no clang");
    }
    let line = "$CC -include later/h.h -I later -c x.c -o x.o";
    compile(&tree, LLVM, line, "miss");
    compile(&tree, LLVM, line, "hit");
    tree.shell(LLVM, "$CC -x c-header -DW later/h.h -o later/h.h.pch").plain().run().ok();
    compile(&tree, LLVM, line, "miss");
    tree.remove("later/h.h.pch");
    compile(&tree, LLVM, line, "hit");
}

#[test]
fn clocks() {
    let space = Space::new();
    let tree = tree(&space);
    let pasted = |name: &str| format!("#define P(a, b) a##b\n#define V P({name})[0]\n");
    for compilers in compilers("clocks") {
        for text in [
            "#define V sizeof __DATE__\n".to_owned(),
            pasted("__DA, TE__"),
            pasted("__TI, ME__"),
            pasted("__TIME, STAMP__"),
        ] {
            tree.write("later/h.h", &text);
            for _ in 0..2 {
                compile(&tree, compilers, LINE, "miss");
            }
        }
    }
}

/// Guards: what an assembler reads by itself is in no dependency file.
#[test]
fn files_of_the_assembler() {
    let space = Space::new();
    let tree = tree(&space);
    for compilers in compilers("files_of_the_assembler") {
        for word in ["include", "incbin"] {
            tree.write("x.c", &format!("asm(\".{word} \\\"x.s\\\"\");\n"));
            for text in [".globl x\nx:\n", ".globl y\ny:\n"] {
                tree.write("x.s", text);
                compile(&tree, compilers, LINE, "miss");
            }
        }
    }
}

/// Guards: what the table refuses passes through, and its flag is told.
#[test]
fn refused() {
    let space = Space::new();
    let tree = tree(&space);
    tree.files(&[("my.specs", "*cc1:\n+ -DW=1\n"), ("my.cfg", "-DW=1\n")]);
    for flag in [
        "-fstack-usage",
        "-fprofile-use",
        "-save-temps",
        "-MMD",
        "-Wa,-a=x.lst",
        "-gsplit-dwarf",
        "-fno-such-flag-at-all -finvented",
        "-fplugin=./p.so",
        "-specs=my.specs",
        "-B./tools",
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
    if on_path("clang") {
        let line = "$CC -I later -fno-integrated-as -c x.c -o x.o";
        assert_eq!(compile(&tree, LLVM, line, "passthrough"), "-fno-integrated-as");
        let detail = compile(&tree, LLVM, "$CC -I later --config ./my.cfg -c x.c -o x.o", "passthrough");
        assert!("--config ./my.cfg".starts_with(&detail) && !detail.is_empty(), "{detail:?}");
    }
    for name in ["DEPENDENCIES_OUTPUT", "COMPILER_PATH", "GCC_EXEC_PREFIX"] {
        let detail = compile(&tree, GNU, &format!("{name}=y $CC -I later -c x.c -o x.o; rm -f y"), "passthrough");
        assert_eq!(detail, name);
    }
    // A project's own word for it.
    space.write("w/.kache.toml", "[cc]\nextra_allowlist_flags = [\"-fsplit-*\"]\n");
    compile(&tree, GNU, "$CC -I later -fsplit-loops -c x.c -o x.o", "miss");
    compile(&tree, GNU, "$CC -I later -fsplit-loops -c x.c -o x.o", "hit");
}
