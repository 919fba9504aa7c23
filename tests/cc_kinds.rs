//! Whatever a C or C++ driver can be asked to make is found again, byte for byte.

use std::fs;

use crate::common::*;

const MAIN: &str = "int n(void);\nint main(void) { return n() - 1; }\n";
const N: &str = "int n(void) { return 1; }\n";

fn tree<'a>(space: &'a Space) -> Tree<'a> {
    let tree = space.tree("w");
    tree.files(&[("main.c", MAIN), ("n.c", N), ("s.s", ".globl s\ns:\n"), ("S.S", "#define T t\n.globl T\nT:\n")]);
    tree
}

#[test]
fn links() {
    let space = Space::new();
    let tree = tree(&space);
    for compilers in compilers("links") {
        as_plain(&tree, compilers, "$CC main.c n.c -o out/x && out/x");
        as_plain(&tree, compilers, "$CC -c main.c n.c && $CC main.o n.o -o out/x && out/x; rm *.o");
        as_plain(&tree, compilers, "cd out; $CC -c ../main.c ../n.c");
        as_plain(
            &tree,
            compilers,
            "$CC -shared -fPIC n.c -o out/libn.so; $CC main.c -Lout -ln -Wl,-rpath,$PWD/out -o out/x && out/x",
        );
        as_plain(&tree, compilers, "$CC -r -nostdlib main.c n.c -o out/both.o");
        as_plain(&tree, compilers, "$CC main.c n.c -static -o out/x && out/x");
        as_plain(
            &tree,
            compilers,
            "$CC -c main.c -o out/m.o; $CC -c n.c -o out/n.o; $CC out/m.o out/n.o -Wl,-Map=out/x.map -o out/x",
        );
        as_plain(&tree, compilers, "cd out; $CC ../main.c ../n.c && ./a.out");
        as_plain(&tree, compilers, "$CC -Wl,--build-id -g -fdebug-prefix-map=$PWD=. main.c n.c -o out/x && out/x");
    }
}

#[test]
fn archives_by_the_driver() {
    let test = "archives_by_the_driver";
    let space = Space::new();
    let tree = tree(&space);
    // gcc has no such flag.
    let script = "$CC -c n.c -o out/n.o; $CC --emit-static-lib out/n.o -o out/libn.a";
    tree.write("out/no", "");
    if !on_path("clang") || !tree.shell(LLVM, script).plain().run().status.success() {
        return skip(test, "no clang with --emit-static-lib");
    }
    as_plain(&tree, LLVM, script);
    let script = "for s in main n; do $CC -c $s.c -o out/$s.o; done; $CC --emit-static-lib out/n.o -o out/libn.a; \
                  $CC out/main.o -Lout -ln -o out/x; out/x";
    as_plain(&tree, LLVM, script);
}

#[test]
fn assembler() {
    let space = Space::new();
    let tree = tree(&space);
    for compilers in compilers("assembler") {
        as_plain(&tree, compilers, "$CC -c s.s -o out/s.o; $CC -c S.S -o out/S.o; $CC -x assembler -c s.s -o out/x.o");
        as_plain(&tree, compilers, "$CC -S n.c -o out/n.s; $CC -c out/n.s -o out/n.o");
    }
}

#[test]
fn preprocessing() {
    let space = Space::new();
    let tree = tree(&space);
    tree.write("i.c", "#include <stdio.h>\n#define A B\nA\n");
    for compilers in compilers("preprocessing") {
        as_plain(&tree, compilers, "$CC -E i.c -o out/i.i; $CC -E -P -dD i.c > out/j.i; $CC -E $PWD/i.c -o out/k.i");
        as_plain(&tree, compilers, "$CC -E n.c -o out/n.i; $CC -c out/n.i -o out/n.o");
        as_plain(&tree, compilers, "$CC -fsyntax-only n.c");
    }
}

#[test]
fn languages() {
    let space = Space::new();
    let tree = tree(&space);
    tree.files(&[("x.txt", N), ("x.cc", "#include <string>\nstd::string f() { return \"x\"; }\n")]);
    for compilers in compilers("languages") {
        as_plain(&tree, compilers, "$CC -x c -c x.txt -o out/x.o");
        as_plain(&tree, compilers, "$CXX -c x.cc -o out/x.o; $CXX -std=c++20 -O2 -x c++ -c x.txt -o out/y.o");
        as_plain(&tree, compilers, "$CXX x.cc n.c -shared -fPIC -o out/libx.so");
    }
}

#[test]
fn objective_c() {
    let test = "objective_c";
    let space = Space::new();
    let tree = tree(&space);
    let program = "#import <objc/Object.h>\n#import \"a.h\"\n@implementation A\n+ (int)one { return 1; }\n@end\n\
                   int main(void) { return [A one] - 1; }\n";
    tree.files(&[("a.h", "@interface A : Object\n+ (int)one;\n@end\n"), ("x.m", program), ("x.mm", program)]);
    for (cc, cxx) in compilers(test) {
        for (cc, source) in [(cc, "x.m"), (cxx, "x.mm")] {
            // gcc's front ends and its runtime, which clang uses too, are packages of their own.
            let plain = tree.shell((cc, cc), &format!("$CC {source} -lobjc -o x")).plain().run();
            if !plain.status.success() {
                skip(test, &format!("{cc} makes no program of {source} here"));
                continue;
            }
            let script = format!("$CC -MMD -c {source} -o out/x.o; $CC out/x.o -lobjc -o out/x && out/x");
            as_plain(&tree, (cc, cc), &script);
            as_plain(&tree, (cc, cc), &format!("$CC -O2 {source} -lobjc -o out/x && out/x"));
            tree.edit("a.h", "(int)one;", "(int)one; // changed");
            as_plain(&tree, (cc, cc), &script);
        }
    }
}

#[test]
fn saved_temporaries() {
    let space = Space::new();
    let tree = tree(&space);
    for compilers in compilers("saved_temporaries") {
        as_plain(&tree, compilers, "$CC -save-temps=obj -c n.c -o out/n.o");
        as_plain(&tree, compilers, "cd out; $CC -save-temps -c ../n.c");
    }
}

#[test]
fn split_debug_information() {
    let space = Space::new();
    let tree = tree(&space);
    for compilers in compilers("split_debug_information") {
        let script = "cd out; $CC -g -gsplit-dwarf -fdebug-prefix-map=${PWD%/out}=. -c ../n.c -o n.o; test -s n.dwo";
        as_plain(&tree, compilers, script);
    }
}

/// Guards: coverage notes stand beside the object of this place, and a run writes its counts there.
#[test]
fn coverage() {
    let space = Space::new();
    for compilers in compilers("coverage") {
        if compilers == LLVM && !clang_profiles() {
            skip("coverage", "no libclang_rt.profile");
            continue;
        }
        for at in ["first", "second/place"] {
            let tree = space.tree(at);
            tree.files(&[(".git/HEAD", ""), ("main.c", MAIN), ("n.c", N)]);
            // Without a seed gcc stamps its notes by the clock.
            let script = "cd out; for s in n main; do $CC --coverage -frandom-seed=1 -c ../$s.c || exit 1; done; \
                          $CC --coverage main.o n.o -o x";
            as_plain(&tree, compilers, script);
            assert!(Snapshot::of(&tree.path.join("out")).has("n.gcno"), "there are notes");
            tree.shell(compilers, "cd out; ./x && test -s n.gcda").plain().run().ok();
            let elsewhere = files_with(&tree.path.join("out"), "/first/");
            assert!(at == "first" || elsewhere.is_empty(), "{elsewhere:?} name the other checkout");
        }
    }
}

#[test]
fn profiles() {
    let space = Space::new();
    let tree = tree(&space);
    let script = "$CC -O2 -fprofile-generate=/nowhere -frandom-seed=1 -c n.c -o out/n.o";
    as_plain(&tree, GNU, script);
    let merged = "$CC -O2 -fprofile-instr-generate -c n.c -o out/n.o";
    clang_as_plain("profiles", &tree, merged);
}

#[test]
fn precompiled_headers() {
    let space = Space::new();
    let tree = tree(&space);
    tree.files(&[("h.h", "#define V 1\n"), ("x.c", "int f(void) { return V; }\n")]);
    let clang =
        "$CC -x c-header -Xclang -fno-pch-timestamp h.h -o out/h.h.pch; $CC -include-pch out/h.h.pch -c x.c -o out/x.o";
    clang_as_plain("precompiled_headers", &tree, clang);
    // gcc's own bytes differ from run to run: only what is made with it is compared.
    let run = |mode| {
        tree.remove("h.h.gch");
        tree.remove("x.o");
        let out = tree.shell(GNU, "$CC -x c-header h.h && $CC -H -Winvalid-pch -include h.h -c x.c").mode(mode).run();
        (out, fs::read(tree.path.join("x.o")).unwrap())
    };
    let (plain, object) = run(Mode::Plain);
    for hits in [false, true] {
        let (out, ours) = run(Mode::Observed);
        out.same_as(&plain).check(out.actions().all(|e| e.is_hit() == hits), "found the second time");
        assert!(ours == object);
    }
}

#[test]
fn modules() {
    let space = Space::new();
    let tree = tree(&space);
    tree.files(&[
        ("m.cc", "export module m;\nexport int one() { return 1; }\n"),
        ("use.cc", "import m;\nint main() { return one() - 1; }\n"),
    ]);
    let gnu = "cd out; export SOURCE_DATE_EPOCH=1000000000; $CXX -std=c++20 -fmodules-ts -c ../m.cc -o m.o; $CXX -std=c++20 -fmodules-ts -c ../use.cc -o use.o; \
               $CXX m.o use.o -o x; ./x";
    as_plain(&tree, GNU, gnu);
    let llvm = "cd out; $CXX -std=c++20 -x c++-module --precompile ../m.cc -o m.pcm; $CXX -std=c++20 -c m.pcm -o m.o; \
                $CXX -std=c++20 -fmodule-file=m.pcm -c ../use.cc -o use.o; $CXX m.o use.o -o x; ./x";
    clang_as_plain("modules", &tree, llvm);
}

#[test]
fn link_time_optimization() {
    let space = Space::new();
    let tree = tree(&space);
    let gnu = "for s in main n; do $CC -O2 -flto -frandom-seed=1 -c $s.c -o out/$s.o; done; $CC -O2 -flto out/*.o -o out/x; out/x";
    as_plain(&tree, GNU, gnu);
    as_plain(
        &tree,
        GNU,
        "for s in main n; do $CC -O2 -flto -frandom-seed=1 -c $s.c -o out/$s.o; done; $CC -O2 -flto=2 out/*.o -o out/x; out/x",
    );
    if on_path("ld.lld") {
        let llvm = "for s in main n; do $CC -O2 -flto=thin -c $s.c -o out/$s.o; done; $CC -O2 -flto=thin -fuse-ld=lld out/*.o -o out/x; out/x";
        clang_as_plain("link_time_optimization", &tree, llvm);
    } else {
        skip("link_time_optimization", "no lld");
    }
}

/// Guards: what a linker does with its old output is no reading of it, but for one that links a file into itself.
#[test]
fn links_over_older_outputs() {
    let test = "links_over_older_outputs";
    let space = Space::new();
    let tree = tree(&space);
    let linkers = ["bfd", "lld"].into_iter().filter(|linker| on_path(&format!("ld.{linker}")));
    for (linker, compilers) in linkers.flat_map(|linker| compilers(test).into_iter().map(move |c| (linker, c))) {
        let link = format!("$CC -fuse-ld={linker} main.c n.c -o x");
        let version = format!("{linker}{}", compilers.0);
        for (round, text) in ["old", "new", "new"].iter().enumerate() {
            tree.write("n.c", &format!("{N}const char *version = \"{text} {version}\";\n"));
            let out = tree.shell(compilers, &link).run();
            out.ok().check(out.event("x").stored(), "stored, whatever was there");
            out.check(out.event("x").is_hit() == (round == 2), "and found");
            assert!(files_with(&tree.path, &format!("{text} {version}")).contains(&tree.path.join("x")));
        }
        let itself = format!("$CC -c main.c n.c; $CC -fuse-ld={linker} -r -nostdlib main.o -Wl,n.o -o n.o");
        for _ in 0..2 {
            // (The other one refuses.)
            let out = tree.shell(compilers, &itself).run();
            out.check(out.status.success() || linker != "lld", "it links");
            out.check(out.actions().last().is_some_and(|e| !e.stored()), "it reads what it replaces");
        }
    }
}

#[test]
fn serialized_diagnostics() {
    let space = Space::new();
    let tree = tree(&space);
    tree.write("w.c", "int f(void) { int unused; return 1; }\n");
    clang_as_plain("serialized_diagnostics", &tree, "$CC -Wall --serialize-diagnostics out/w.dia -c w.c -o out/w.o");
    as_plain(&tree, GNU, "$CC -Wall -fdiagnostics-format=json -c w.c -o out/w.o");
}

/// Guards: cl style, where no flag may be added that the dialect does not know.
#[test]
fn cl_style() {
    let space = Space::new();
    let tree = tree(&space);
    tree.files(&[("h.h", "#define V 1\n"), ("x.c", "#include \"h.h\"\nint f(void) { int unused; return V; }\n")]);
    let mut drivers = vec![(LLVM, "$CC --driver-mode=cl")];
    // clang is clang-cl where it is called so.
    let clang =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|d| d.join("clang")).find(|p| p.is_file());
    let Some(clang) = clang else { return skip("cl_style", "no clang") };
    std::os::unix::fs::symlink(fs::canonicalize(clang).unwrap(), tree.path.join("clang-cl")).unwrap();
    drivers.push((("./clang-cl", "./clang-cl"), "$CC"));
    for (compilers, driver) in drivers {
        for line in [
            "/c /Foout/x.obj x.c",
            "/c /FIh.h /DW=1 /I. /Fo:out/x.obj -- x.c",
            "/c /Z7 /W4 /showIncludes /Foout/x.obj x.c",
            "/c /Foout/ x.c -Xclang -Wall",
            "/c /Zi /Foout/x.obj $PWD/x.c",
            "/c /Foout/x.obj /Tc$PWD/x.c",
            "/c /Foout/x.obj /Tp x.c",
        ] {
            as_plain(&tree, compilers, &format!("{driver} --target=x86_64-pc-windows-msvc /Brepro {line}"));
        }
        let header = tree.read("h.h");
        tree.write("h.h", &header.replace("#define V ", "#define V 1"));
        as_plain(&tree, compilers, &format!("{driver} --target=x86_64-pc-windows-msvc /Brepro /c /Foout/x.obj x.c"));
    }
}

/// Guards: in cl style, a path that looks like a flag is the source it names, however short, and a flag is a flag, however
/// long. (Without its source, a call is taken for a question, and its answer found in any checkout.)
#[test]
fn cl_style_sources() {
    if !on_path(LLVM.0) {
        return skip("cl_style_sources", "no clang");
    }
    let space = Space::new();
    for (second, place) in [(false, "a"), (true, "longer/place")] {
        let tree = space.tree(place);
        tree.files(&[
            (".git/HEAD", ""),
            ("x.c", "#include \"h.h\"\nint f(void) { return V; }\n"),
            ("own.c", "int f(void) { return sizeof(__FILE__); }\n"),
            ("include/h.h", "#define V 1\n"),
        ]);
        let deep = "deep/".repeat(25);
        fs::create_dir_all(tree.path.join("out").join(&deep)).unwrap();
        for (line, source, shared) in [
            (format!("-I$PWD/include /Foout/{deep}x.obj x.c"), "x.c", true),
            ("/I $PWD/include /Foout/x.obj $PWD/x.c".into(), "x.c", true),
            ("/Foout/x.obj $PWD/own.c".into(), "own.c", false),
            ("/Foout/x.obj /Tc$PWD/own.c".into(), "own.c", false),
            ("/Foout/x.obj /Tp own.c".into(), "own.c", true),
        ] {
            let script = format!("$CC --driver-mode=cl --target=x86_64-pc-windows-msvc /Brepro /c {line}");
            let run = |mode| {
                let out = tree.shell(LLVM, &script).mode(mode).run();
                let object = files_below(&tree.path.join("out")).remove(0);
                let bytes = fs::read(&object).unwrap();
                remove(&object);
                (out, bytes)
            };
            let (plain, expected) = run(Mode::Plain);
            let (ours, object) = run(Mode::Observed);
            ours.same_as(&plain).check(object == expected, "the object is the plain compiler's");
            let [event] = &ours.events[..] else { panic!("one event\n{}", ours.world()) };
            let named = event.field("source").and_then(|s| s.as_str()).unwrap_or_default();
            ours.check(event.action() == "cc" && named == tree.path.join(source).to_str().unwrap(), "its source");
            ours.check(event.is_hit() == (second && shared), "found in the second checkout, where it is the same");
        }
    }
}

#[test]
fn make_with_a_jobserver() {
    let test = "make_with_a_jobserver";
    if !on_path("make") {
        return skip(test, "no make");
    }
    let space = Space::new();
    let tree = tree(&space);
    let makefile = "objects = a.o b.o c.o d.o main.o n.o\nout/x: $(objects)\n\t+$(CC) -O2 -flto=jobserver -frandom-seed=1 $^ -o $@\n\
                    %.o: %.c\n\t$(CC) -O2 -flto -frandom-seed=1 -MMD -c $< -o $@\n-include *.d\nclean:\n\trm -f *.o *.d\n";
    tree.write("Makefile", makefile);
    for name in ["a", "b", "c", "d"] {
        tree.write(&format!("{name}.c"), &format!("int {name}(void) {{ return 1; }}\n"));
    }
    as_plain(&tree, GNU, "make -s clean; make -s -j4 CC=\"$CC\"; out/x");
}

/// Guards: newer makes' jobserver is a pipe with a name, which a compiler's parts open by it to read and to write tokens.
#[test]
fn named_jobserver() {
    let space = Space::new();
    let tree = tree(&space);
    let takes_tokens = "#!/bin/sh\nexec 7<>${MAKEFLAGS##*fifo:}\nhead -c 1 <&7 >/dev/null\nprintf + >&7\nexec 7>&-\nexec /usr/bin/gcc \"$@\"\n";
    write_script(&tree.path.join("bin/gcc"), takes_tokens);
    let make = "export PATH=$PWD/bin:$PATH; rm -f f; mkfifo f; exec 9<>f; printf ++++ >&9; \
                export MAKEFLAGS=\"-j5 --jobserver-auth=fifo:$PWD/f\"; cd out";
    as_plain(&tree, GNU, &format!("{make}; $CC -c ../n.c"));
    // A file is none, whatever it is said to be.
    let file = make.replace("mkfifo f; exec 9<>f", "exec 9>f");
    let out = tree.shell(GNU, &format!("{file}; $CC -c ../n.c -o x.o")).run();
    out.ok().check(!out.event("x.o").stored(), "what is read and written is not stored");
}

#[test]
fn ninja_and_cmake() {
    let test = "ninja_and_cmake";
    if !(on_path("cmake") && on_path("ninja")) {
        return skip(test, "no cmake or no ninja");
    }
    let space = Space::new();
    for compilers in compilers(test) {
        for (at, hits) in [("first", false), ("second/place", true)] {
            let tree = tree(&space);
            let tree = Tree { space: tree.space, path: space.site(at).join(compilers.0) };
            tree.files(&[
                (".git/HEAD", ""),
                ("main.c", MAIN),
                ("n.c", N),
                ("CMakeLists.txt", "cmake_minimum_required(VERSION 3.13)\nproject(x C CXX)\nadd_library(n n.c p.cc)\nadd_executable(x main.c)\ntarget_link_libraries(x n)\n"),
                ("p.cc", "int p() { return 1; }\n"),
            ]);
            let script = "l=${CC% *}; cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=${CC##* } \
                          -DCMAKE_CXX_COMPILER=${CXX##* } -DCMAKE_C_COMPILER_LAUNCHER=$l -DCMAKE_CXX_COMPILER_LAUNCHER=$l \
                          > /dev/null && ninja -C build > log && build/x";
            let out = tree.shell(compilers, script).run();
            let found = ["main.c.o", "n.c.o", "p.cc.o"].iter().filter(|o| out.event(o).is_hit()).count();
            out.ok().check(found == if hits { 3 } else { 0 }, "all objects in the second place");
            let again = tree.shell(compilers, "ninja -C build").run();
            again.ok().check(again.stdout.contains("no work to do"), "nothing is left to do");
        }
    }
}

/// Guards: precompiled headers as CMake makes and uses them; a build of the same again finds all of it.
#[test]
fn precompiled_headers_of_cmake() {
    let test = "precompiled_headers_of_cmake";
    if !(on_path("cmake") && on_path("ninja")) {
        return skip(test, "no cmake or no ninja");
    }
    let space = Space::new();
    for compilers in compilers(test) {
        for at in ["first", "second/place"] {
            let tree = Tree { space: &space, path: space.site(at).join(compilers.0) };
            tree.files(&[
                (".git/HEAD", ""),
                ("main.cc", "int main() { return std::string(\"x\").size() - one(); }\n"),
                ("one.h", "#include <string>\ninline int one() { return 1; }\n"),
                ("CMakeLists.txt", "cmake_minimum_required(VERSION 3.16)\nproject(x CXX)\nadd_executable(x main.cc)\ntarget_precompile_headers(x PRIVATE one.h)\n"),
            ]);
            let script = "l=${CXX% *}; rm -rf build; cmake -S . -B build -G Ninja -DCMAKE_CXX_COMPILER=${CXX##* } \
                          -DCMAKE_CXX_COMPILER_LAUNCHER=$l > /dev/null && ninja -C build > log && build/x";
            tree.shell(compilers, script).run().ok();
            let again = tree.shell(compilers, script).run();
            again.ok().check(again.event("main.cc.o").is_hit(), "what uses the header is found");
            let header = again.actions().find(|e| e.name().starts_with("cmake_pch")).expect("a header is made");
            // (clang's holds times, unless it is told not to.)
            again.check(
                if compilers == GNU { header.is_hit() } else { header.reason() == "special-input" },
                "and so is it",
            );
            let nothing = tree.shell(compilers, "ninja -C build").run();
            nothing.ok().check(nothing.stdout.contains("no work to do"), "nothing is left to do");
            tree.edit("one.h", "return 1", "return 2");
            let changed = tree.shell(compilers, "ninja -C build > log; build/x").run();
            changed.check(changed.status.code() == Some(255), "a change is seen");
        }
    }
}

/// What libtool's configure asks of each compiler: `-v` shows what runs, and needs no map where nothing is mapped.
#[test]
fn shown_links() {
    let space = Space::new();
    for compilers in compilers("shown_links") {
        for (at, hits) in [("first", 0), ("second/place", 3)] {
            let tree = space.tree(at);
            tree.files(&[(".git/HEAD", ""), ("f.c", "int f(void) { return 1; }\n")]);
            let script =
                "$CC -fPIC -c f.c && $CC -shared f.o -v -o f.so && $CC -v -c f.c -o g.o && $CC -v -g -c f.c -o h.o";
            let out = tree.shell(compilers, script).run();
            out.ok().check(out.count("hit") == hits, "but for debug information, which names the place, all is found");
        }
    }
}

/// Guards: the objects of a checkout that `KACHE_BASE_DIR` covers carry no place, so `__FILE__` does not bind them.
#[test]
fn base_directory() {
    let space = Space::new();
    for compilers in compilers("base_directory") {
        let mut seen = Vec::new();
        for (at, hits) in [("first", 0), ("second/place", 1)] {
            let tree = space.tree(at);
            tree.files(&[(".git/HEAD", ""), ("f.c", "const char *f(void) { return __FILE__; }\n")]);
            let build = |maps: &str, mode: Mode| {
                let line = format!("$CC {maps} -g -c $PWD/f.c -o f.o");
                let out = tree.shell(compilers, &line).env("KACHE_BASE_DIR", space.site("")).mode(mode).run();
                out.ok();
                (out, fs::read(tree.path.join("f.o")).unwrap())
            };
            let maps = [space.site(""), tree.path.clone()]
                .map(|place| format!("-ffile-prefix-map={}=.", place.display().to_string().trim_end_matches('/')));
            let (_, plain) = build(&maps.join(" "), Mode::Plain);
            let (out, bytes) = build("", Mode::Observed);
            out.check(out.count("hit") == hits, "the second is found");
            assert!(bytes == plain, "the same maps, the same bytes");
            assert!(memchr::memmem::find(&bytes, space.site("").as_os_str().as_encoded_bytes()).is_none(), "no place");
            seen.push(bytes);
        }
        assert!(seen[0] == seen[1]);
    }
}
