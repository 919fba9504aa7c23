//! Stale is impossible in C and C++: whatever a compile or a link depends on, a change of it gives what the plain compiler
//! gives in the same place and state; and the way back is a hit.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::common::*;

/// One thing that may change under a build.
struct Case<'a> {
    tree: &'a Tree<'a>,
    script: &'a str,
    env: Vec<(&'static str, String)>,
    only: Option<Compilers>,
}

/// A case whose build is this script, which writes below `out/`.
fn case<'a>(tree: &'a Tree<'a>, script: &'a str) -> Case<'a> {
    Case { tree, script, env: Vec::new(), only: None }
}

impl Case<'_> {
    fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    fn only(mut self, compilers: Compilers) -> Self {
        self.only = Some(compilers);
        self
    }

    fn build(&self, compilers: Compilers, env: &[(&'static str, String)], mode: Mode) -> (Outcome, Snapshot) {
        self.tree.remove("out");
        fs::create_dir(self.tree.path.join("out")).unwrap();
        let mut run = self.tree.shell(compilers, &format!("set -e; {}", self.script)).mode(mode);
        for (name, value) in env {
            run = run.env(name, value);
        }
        let outcome = run.run();
        (outcome, Snapshot::of(&self.tree.path.join("out")))
    }

    /// Build, again, change, build, compare with the plain compiler in the changed state; then back again.
    #[track_caller]
    fn changes(self, test: &str, change: impl Fn(&Tree<'_>, &mut Vec<(&'static str, String)>)) {
        let space = self.tree.space;
        for compilers in compilers(test).into_iter().filter(|c| self.only.is_none_or(|only| only == *c)) {
            space.save("before");
            let (first, files) = self.build(compilers, &self.env, Mode::Observed);
            first.ok();
            let (again, same) = self.build(compilers, &self.env, Mode::Observed);
            again.all_hit().same_as(&first);
            same.same_bytes(&files);

            let mut env = self.env.clone();
            change(self.tree, &mut env);
            let (second, changed) = self.build(compilers, &env, Mode::Observed);
            let (plain, expected) = self.build(compilers, &env, Mode::Plain);
            second.same_as(&plain);
            changed.same_bytes(&expected);
            let shows = changed != files || second.stderr != first.stderr || !plain.status.success();
            first.check(shows, "the change of this test must be one that shows");

            space.put_back("before");
            let (back, restored) = self.build(compilers, &self.env, Mode::Observed);
            back.all_hit().same_as(&first);
            restored.same_bytes(&files);
        }
    }
}

/// Makes something without kache, whose objects are only inputs here.
fn plain(tree: &Tree<'_>, script: &str) {
    let done = Command::new("sh").arg("-ec").arg(script).current_dir(&tree.path).status().unwrap();
    assert!(done.success(), "{script}");
}

const COMPILE: &str = "$CC -c x.c -o out/x.o";

#[test]
fn header() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "#include \"h.h\"\nint f(void) { return V; }\n"), ("h.h", "#define V 1\n")]);
    case(&tree, COMPILE).changes("header", |t, _| t.write("h.h", "#define V 2\n"));
}

#[test]
fn header_with_the_same_size_and_time() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "#include \"h.h\"\nint f(void) { return V; }\n"), ("h.h", "#define V 1\n")]);
    case(&tree, COMPILE).changes("header_with_the_same_size_and_time", |t, _| {
        let time = fs::metadata(t.path.join("h.h")).unwrap().modified().unwrap();
        t.write("h.h", "#define V 2\n");
        fs::File::options().write(true).open(t.path.join("h.h")).unwrap().set_modified(time).unwrap();
    });
}

#[test]
fn header_that_shadows_a_later_one() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("x.c", "#include <h.h>\nint f(void) { return V; }\n"),
        ("later/h.h", "#define V 1\n"),
        ("first/no", ""),
    ]);
    case(&tree, "$CC -I first -I later -c x.c -o out/x.o")
        .changes("header_that_shadows_a_later_one", |t, _| t.write("first/h.h", "#define V 2\n"));
}

/// Guards: a directory may be on `PATH` and hold headers, too.
#[test]
fn header_in_a_directory_of_programs() {
    let space = Space::new();
    let tree = space.tree("w");
    let source = "#include <h.h>\n#if __has_include(<opt>)\nint opt;\n#endif\nint f(void) { return V; }\n";
    tree.files(&[("x.c", source), ("later/h.h", "#define V 1\n"), ("first/no", "")]);
    let path = format!("{}:{}", tree.path.join("first").display(), std::env::var("PATH").unwrap());
    for (file, text) in [("first/h.h", "#define V 2\n"), ("first/opt", "")] {
        case(&tree, "$CC -I first -I later -c x.c -o out/x.o")
            .env("PATH", &path)
            .changes("header_in_a_directory_of_programs", |t, _| t.write(file, text));
    }
}

#[test]
fn directory_of_headers_that_appears() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "#include <h.h>\nint f(void) { return V; }\n"), ("later/h.h", "#define V 1\n")]);
    case(&tree, "$CC -I first -I later -c x.c -o out/x.o")
        .changes("directory_of_headers_that_appears", |t, _| t.write("first/h.h", "#define V 2\n"));
}

#[test]
fn header_that_goes_away() {
    let space = Space::new();
    let tree = space.tree("w");
    let source = "#include <h.h>\nint f(void) { return V; }\n";
    tree.files(&[("x.c", source), ("first/h.h", "#define V 1\n"), ("later/h.h", "#define V 2\n")]);
    case(&tree, "$CC -I first -I later -c x.c -o out/x.o")
        .changes("header_that_goes_away", |t, _| t.remove("first/h.h"));
}

#[test]
fn has_include_flips() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "#if __has_include(\"opt.h\")\nint f(void) { return 1; }\n#endif\nint g;\n");
    case(&tree, COMPILE).changes("has_include_flips", |t, _| t.write("opt.h", ""));
}

#[test]
fn header_that_becomes_a_link() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("x.c", "#include \"h.h\"\nint f(void) { return V; }\n"),
        ("h.h", "#define V 1\n"),
        ("other.h", "#define V 2\n"),
    ]);
    case(&tree, COMPILE).changes("header_that_becomes_a_link", |t, _| {
        t.remove("h.h");
        symlink("other.h", t.path.join("h.h")).unwrap();
    });
}

#[test]
fn incbin() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "__asm__(\".data\\n.incbin \\\"data.bin\\\"\");\n"), ("data.bin", "one")]);
    case(&tree, COMPILE).changes("incbin", |t, _| t.write("data.bin", "two"));
}

#[test]
fn forced_includes() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int f(void) { return V + W; }\n"), ("v.h", "#define V 1\n"), ("w.h", "#define W 1\n")]);
    let script = "$CC -include v.h -imacros w.h -c x.c -o out/x.o";
    case(&tree, script).changes("forced_includes", |t, _| t.write("v.h", "#define V 2\n"));
    case(&tree, script).changes("forced_includes", |t, _| t.write("w.h", "#define W 2\n"));
}

#[test]
fn assembler_source_and_what_it_includes() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("x.S", "#include \"v.h\"\n.data\n.long V\n.include \"w.s\"\n"),
        ("v.h", "#define V 1\n"),
        ("w.s", ".long 1\n"),
    ]);
    let script = "$CC -c x.S -o out/x.o";
    case(&tree, script).changes("assembler_source", |t, _| t.write("v.h", "#define V 2\n"));
    case(&tree, script).changes("assembler_source", |t, _| t.write("w.s", ".long 2\n"));
}

#[test]
fn search_path_in_a_variable() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("x.c", "#include <h.h>\nint f(void) { return V; }\n"),
        ("one/h.h", "#define V 1\n"),
        ("two/h.h", "#define V 2\n"),
    ]);
    for (name, compile) in
        [("CPATH", COMPILE), ("C_INCLUDE_PATH", COMPILE), ("CPLUS_INCLUDE_PATH", "$CXX -x c++ -c x.c -o out/x.o")]
    {
        case(&tree, compile).env(name, "one").changes("search_path_in_a_variable", |_, env| env[0].1 = "two".into());
        case(&tree, compile)
            .env(name, "one")
            .changes("search_path_in_a_variable", |t, _| t.write("one/h.h", "#define V 3\n"));
    }
}

#[test]
fn response_file() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int f(void) { return V; }\n"), ("args", "-DV=1 '-DW=a b' @more"), ("more", "-c\n")]);
    let script = "$CC @args x.c -o out/x.o";
    case(&tree, script).changes("response_file", |t, _| t.write("args", "-DV=2 @more"));
    case(&tree, script).changes("response_file", |t, _| t.write("more", "-c -DU -O1 -DV=3"));
}

#[test]
fn specs() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int f(void) { return V; }\n"), ("my.specs", "*cc1:\n+ -DV=1\n")]);
    case(&tree, "$CC -specs=my.specs -c x.c -o out/x.o")
        .only(GNU)
        .changes("specs", |t, _| t.write("my.specs", "*cc1:\n+ -DV=2\n"));
}

#[test]
fn configuration_file() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int f(void) { return V; }\n"), ("my.cfg", "-DV=1\n")]);
    case(&tree, "$CC --config ./my.cfg -c x.c -o out/x.o")
        .only(LLVM)
        .changes("configuration_file", |t, _| t.write("my.cfg", "-DV=2\n"));
}

#[test]
fn assembler_selected_by_a_directory() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int f(void) { return 1; }\n");
    let wrapper = |more: &str| format!("#!/bin/sh\nexec /usr/bin/as {more} \"$@\"\n");
    write_script(&tree.path.join("tools/as"), &wrapper(""));
    let change = |t: &Tree<'_>, _: &mut Vec<_>| write_script(&t.path.join("tools/as"), &wrapper("--defsym new=1"));
    case(&tree, "$CC -B tools/ -c x.c -o out/x.o").only(GNU).changes("assembler_selected_by_a_directory", change);
    case(&tree, COMPILE).only(GNU).env("COMPILER_PATH", "tools").changes("assembler_selected_by_a_directory", change);
}

#[test]
fn assembler_that_appears() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int f(void) { return 1; }\n"), ("tools/no", "")]);
    case(&tree, "$CC -B tools/ -c x.c -o out/x.o").only(GNU).changes("assembler_that_appears", |t, _| {
        write_script(&t.path.join("tools/as"), "#!/bin/sh\nexec /usr/bin/as --defsym new=1 \"$@\"\n");
    });
}

/// Guards: the compiler's parts are told by content, not by the driver's name and version.
#[test]
fn parts_of_the_compiler() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "#ifndef V\n#define V 0\n#endif\nint main(void) { return V; }\n");
    let front = |v: u32| format!("#!/bin/sh\nexec $(/usr/bin/gcc -print-prog-name=cc1) -DV={v} \"$@\"\n");
    write_script(&tree.path.join("tools/cc1"), &front(1));
    case(&tree, "$CC -B tools/ -c x.c -o out/x.o")
        .only(GNU)
        .changes("parts_of_the_compiler", |t, _| write_script(&t.path.join("tools/cc1"), &front(2)));
    let linker = |v: u32| format!("#!/bin/sh\nexec /usr/bin/ld --defsym=extra={v} \"$@\"\n");
    tree.remove("tools");
    write_script(&tree.path.join("tools/ld"), &linker(1));
    case(&tree, "$CC -B tools/ x.c -o out/x")
        .changes("parts_of_the_compiler", |t, _| write_script(&t.path.join("tools/ld"), &linker(2)));
}

#[test]
fn parts_by_a_prefix_in_a_variable() {
    let test = "parts_by_a_prefix_in_a_variable";
    if !on_path("gcc") {
        return skip(test, "no gcc");
    }
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int f(void) { return V; }\n");
    let [machine, version] = ["-dumpmachine", "-dumpversion"].map(|asked| {
        let told = Command::new("gcc").arg(asked).output().unwrap().stdout;
        String::from_utf8(told).unwrap().trim().to_owned()
    });
    let place = |dir: &str| tree.path.join(dir).join(&machine).join(&version).join("cc1");
    let front = |v: u32| {
        format!("#!/bin/sh\nexec $(env -u GCC_EXEC_PREFIX /usr/bin/gcc -print-prog-name=cc1) -DV={v} \"$@\"\n")
    };
    for (dir, v) in [("one", 1), ("two", 2)] {
        write_script(&place(dir), &front(v));
    }
    case(&tree, COMPILE).only(GNU).env("GCC_EXEC_PREFIX", "one/").changes(test, |_, env| env[0].1 = "two/".into());
    case(&tree, COMPILE)
        .only(GNU)
        .env("GCC_EXEC_PREFIX", "one/")
        .changes(test, |_, _| write_script(&place("one"), &front(3)));
}

#[test]
fn plugin() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int x;\n");
    let make = |t: &Tree<'_>, says: u32| {
        let source = "#include <stdio.h>\nint plugin_is_GPL_compatible;\n\
                      int plugin_init(void *a, void *b) { (void)a; (void)b; fputs(SAYS, stderr); return 0; }\n";
        t.write("p.c", source);
        plain(t, &format!("gcc -DSAYS='\"{says}\\n\"' -shared -fPIC p.c -o p.so; rm p.c"));
    };
    make(&tree, 1);
    case(&tree, "$CC -fplugin=./p.so -c x.c -o out/x.o").only(GNU).changes("plugin", |t, _| make(t, 2));
}

#[test]
fn driver_of_the_same_name_and_version() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "#ifdef V\nint v;\n#endif\nint f(void) { return 1; }\n");
    let driver = |more: &str| format!("#!/bin/sh\nexec /usr/bin/gcc {more} \"$@\"\n");
    write_script(&tree.path.join("bin/gcc"), &driver(""));
    let path = format!("{}:{}", tree.path.join("bin").display(), std::env::var("PATH").unwrap());
    case(&tree, COMPILE)
        .only(GNU)
        .env("PATH", path)
        .changes("driver_of_the_same_name_and_version", |t, _| write_script(&t.path.join("bin/gcc"), &driver("-DV")));
}

#[test]
fn driver_that_comes_first_on_the_path() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "#ifdef V\nint v;\n#endif\nint f(void) { return 1; }\n"), ("bin/no", "")]);
    let path = format!("{}:{}", tree.path.join("bin").display(), std::env::var("PATH").unwrap());
    case(&tree, COMPILE).only(GNU).env("PATH", path).changes("driver_that_comes_first_on_the_path", |t, _| {
        write_script(&t.path.join("bin/gcc"), "#!/bin/sh\nexec /usr/bin/gcc -DV \"$@\"\n");
    });
}

#[test]
fn linker_script() {
    let space = Space::new();
    let tree = space.tree("w");
    let section = |value: u32| format!("SECTIONS {{ .extra : {{ LONG({value}) }} }} INSERT AFTER .data;\n");
    tree.files(&[("x.c", "int main(void) { return 0; }\n"), ("extra.ld", &section(1))]);
    case(&tree, "$CC x.c -Wl,-T,extra.ld -o out/x").changes("linker_script", |t, _| t.write("extra.ld", &section(2)));
}

#[test]
fn version_script() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int one, two;\n"), ("v.map", "{ global: one; local: *; };\n")]);
    case(&tree, "$CC -shared -fPIC x.c -Wl,--version-script=v.map -o out/libx.so")
        .changes("version_script", |t, _| t.write("v.map", "{ global: two; local: *; };\n"));
}

const CALLS: &str = "int n(void);\nint main(void) { return n(); }\n";

#[test]
fn static_archive() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", CALLS), ("n.c", "int n(void) { return V; }\n")]);
    let archive =
        |t: &Tree<'_>, v: u32| plain(t, &format!("gcc -DV={v} -c n.c -o n.o; rm -f libn.a; ar rcD libn.a n.o; rm n.o"));
    archive(&tree, 1);
    case(&tree, "$CC x.c -L. -ln -o out/x").changes("static_archive", |t, _| archive(t, 2));
    case(&tree, "$CC -c x.c -o out/x.o; $CC out/x.o libn.a -o out/x").changes("static_archive", |t, _| archive(t, 2));
}

#[test]
fn shared_library() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", CALLS), ("n.c", "int n(void) { return 1; }\n")]);
    let library = |t: &Tree<'_>, name: &str| plain(t, &format!("gcc -shared -fPIC n.c -Wl,-soname,{name} -o libn.so"));
    library(&tree, "libn.so.1");
    case(&tree, "$CC x.c -L. -ln -o out/x").changes("shared_library", |t, _| library(t, "libn.so.2"));
}

#[test]
fn library_found_first() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", CALLS), ("n.c", "int n(void) { return V; }\n"), ("first/no", ""), ("later/no", "")]);
    let archive = |t: &Tree<'_>, dir: &str, v: u32| {
        plain(t, &format!("gcc -DV={v} -c n.c -o n.o; rm -f {dir}/libn.a; ar rcD {dir}/libn.a n.o; rm n.o"));
    };
    archive(&tree, "later", 1);
    case(&tree, "$CC x.c -L first -L later -ln -o out/x").changes("library_found_first", |t, _| archive(t, "first", 2));
    case(&tree, "$CC x.c -ln -o out/x")
        .env("LIBRARY_PATH", "first:later")
        .changes("library_found_first", |t, _| archive(t, "first", 2));
}

#[test]
fn start_up_object() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int main(void) { return 0; }\n"), ("extra.c", "int extra = 7;\n"), ("crt/no", "")]);
    let object = |t: &Tree<'_>| {
        plain(t, "gcc -c extra.c -o e.o; ld -r \"$(gcc -print-file-name=Scrt1.o)\" e.o -o crt/Scrt1.o; rm e.o");
    };
    case(&tree, "$CC x.c -B crt/ -o out/x").changes("start_up_object", |t, _| object(t));
    object(&tree);
    case(&tree, "$CC x.c -B crt/ -o out/x").changes("start_up_object", |t, _| {
        t.write("extra.c", "int extra = 8;\n");
        object(t);
    });
}

#[test]
fn precompiled_header() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int f(void) { return V; }\n"), ("h.h", "#define V 1\nstatic int h;\n")]);
    // The header's own bytes differ from run to run.
    let use_it = "rm -f h.h.gch; $CC -x c-header h.h -o h.h.gch; $CC -include h.h -c x.c -o out/x.o";
    case(&tree, use_it).only(GNU).changes("precompiled_header", |t, _| t.write("h.h", "#define V 2\nstatic int h;\n"));
    let use_it = "rm -f h.pch; $CC -x c-header -Xclang -fno-pch-timestamp h.h -o h.pch; \
                  $CC -include-pch h.pch -c x.c -o out/x.o";
    case(&tree, use_it)
        .only(LLVM)
        .changes("precompiled_header", |t, _| t.write("h.h", "#define V 22\nstatic int h;\n"));
}

/// Guards: a header made anew of the same source is another one.
#[test]
fn regenerated_precompiled_header() {
    let test = "regenerated_precompiled_header";
    if !on_path("gcc") {
        return skip(test, "no gcc");
    }
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "int f(void) { return V; }\n"), ("h.h", "#define V 1\nstatic int h;\n")]);
    let use_it = "$CC -H -Winvalid-pch -include h.h -c x.c -o out/x.o";
    let mut before = Vec::new();
    for outcome in ["miss", "miss"] {
        plain(&tree, "gcc -x c-header h.h -o h.h.gch");
        let made = fs::read(tree.path.join("h.h.gch")).unwrap();
        assert!(made != before, "its bytes differ from run to run");
        before = made;
        let first = as_plain(&tree, GNU, use_it).first;
        first.check(first.outcome("x.o") == outcome, outcome);
        first.check(first.stderr.starts_with("! ./h.h.gch"), "it is used");
    }
}

/// Guards: who imports a module is made anew when the module is.
#[test]
fn modules() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("m.cc", "export module m;\nexport inline int one() { return 1; }\n"),
        ("use.cc", "import m;\nint main() { return one(); }\n"),
    ]);
    let change = |t: &Tree<'_>, _: &mut Vec<_>| t.edit("m.cc", "return 1", "return 2");
    let script = "cd out; $CXX -O1 -std=c++20 -fmodules-ts -c ../m.cc -o m.o; $CXX -O1 -std=c++20 -fmodules-ts -c ../use.cc -o use.o";
    case(&tree, script).only(GNU).env("SOURCE_DATE_EPOCH", "1000000000").changes("modules", change);
    let script = "cd out; $CXX -std=c++20 -x c++-module --precompile ../m.cc -o m.pcm; \
                  $CXX -O1 -std=c++20 -fmodule-file=m.pcm -c ../use.cc -o use.o";
    case(&tree, script).only(LLVM).changes("modules", change);
    tree.files(&[
        ("module.modulemap", "module M { header \"m.h\" export * }\n"),
        ("m.h", "static inline int m(void) { return 1; }\n"),
        ("x.c", "#include \"m.h\"\nint f(void) { return m(); }\n"),
    ]);
    let script = "$CC -O1 -fmodules -fmodules-cache-path=made -I. -c x.c -o out/x.o";
    if on_path("clang") {
        // Who makes a module on the way writes the times of its headers down.
        fs::create_dir_all(tree.path.join("out")).unwrap();
        let made = tree.shell(LLVM, script).run();
        made.ok().check(made.event("x.o").reason() == "special-input", "is not stored");
    }
    case(&tree, script).only(LLVM).changes("modules", |t, _| t.edit("m.h", "return 1", "return 22"));
    tree.files(&[
        ("h.hpp", "inline int one() { return 1; }\n"),
        ("unit.cc", "import \"h.hpp\";\nint f() { return one(); }\n"),
    ]);
    let script = "cp h.hpp unit.cc out; cd out; $CXX -std=c++20 -fmodules-ts -x c++-header h.hpp; \
                  $CXX -O1 -std=c++20 -fmodules-ts -c unit.cc -o unit.o";
    case(&tree, script)
        .only(GNU)
        .env("SOURCE_DATE_EPOCH", "1000000000")
        .changes("modules", |t, _| t.edit("h.hpp", "return 1", "return 2"));
}

/// Guards: `#embed`, with compilers that know it.
#[test]
fn embed() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "const char x[] = {\n#embed \"data.bin\"\n};\n"), ("data.bin", "one")]);
    for compilers in compilers("embed") {
        if !tree.shell(compilers, "$CC -std=c2x -c x.c -o x.o").plain().run().status.success() {
            skip("embed", &format!("{} does not know #embed", compilers.0));
            continue;
        }
        case(&tree, "$CC -std=c2x -c x.c -o out/x.o")
            .only(compilers)
            .changes("embed", |t, _| t.write("data.bin", "two"));
    }
}

#[test]
fn object_of_a_link() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", CALLS), ("n.c", "int n(void) { return 1; }\n")]);
    case(&tree, "$CC -c x.c -o out/x.o; $CC -c n.c -o out/n.o; $CC out/x.o out/n.o -o out/x")
        .changes("object_of_a_link", |t, _| t.write("n.c", "int n(void) { return 2; }\n"));
}

#[test]
fn link_time_optimization() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", CALLS), ("n.c", "int n(void) { return 1; }\n")]);
    let change = |t: &Tree<'_>, _: &mut Vec<_>| t.write("n.c", "int n(void) { return 2; }\n");
    case(&tree, "$CC -O2 -flto -frandom-seed=1 -c x.c -o out/x.o; $CC -O2 -flto -frandom-seed=1 -c n.c -o out/n.o; $CC -O2 -flto out/x.o out/n.o -o out/x")
        .only(GNU)
        .changes("link_time_optimization", change);
    if !on_path("ld.lld") {
        return skip("link_time_optimization", "no lld");
    }
    case(
        &tree,
        "$CC -O2 -flto=thin -c x.c -o out/x.o; $CC -O2 -flto=thin -c n.c -o out/n.o; \
         $CC -O2 -flto=thin -fuse-ld=lld out/x.o out/n.o -o out/x",
    )
    .only(LLVM)
    .changes("link_time_optimization", change);
}

#[test]
fn profile() {
    let space = Space::new();
    let tree = space.tree("w");
    let source = "int f(int a) { return a > 1 ? 7 * a : a / 3; }\nint main(int c, char **v) { (void)v; int s = 0; \
                  for (int i = 0; i < 1000; i++) s += f(c > 1 ? i : -i); return s & 1; }\n";
    tree.write("x.c", source);
    let train = |t: &Tree<'_>, arguments: &str| {
        plain(
            t,
            &format!(
                "rm -f x.gcda; gcc -O2 -fprofile-generate -c x.c -o x.o; gcc -fprofile-generate x.o -o x; \
                           ./x {arguments} || true; rm x x.o"
            ),
        );
    };
    train(&tree, "");
    let script = "$CC -O2 -fprofile-use -c x.c -o x.o; cp x.o out";
    case(&tree, script).only(GNU).changes("profile", |t, _| train(t, "more"));
    case(&tree, script).only(GNU).changes("profile", |t, _| t.remove("x.gcda"));
    if !(clang_profiles() && on_path("llvm-profdata")) {
        return skip("profile", "no libclang_rt.profile or no llvm-profdata");
    }
    let train = |t: &Tree<'_>, arguments: &str| {
        plain(
            t,
            &format!(
                "clang -O2 -fprofile-instr-generate x.c -o x; LLVM_PROFILE_FILE=x.raw ./x {arguments} || true; \
                           llvm-profdata merge x.raw -o x.profdata; rm x x.raw"
            ),
        );
    };
    train(&tree, "");
    let script = "$CC -O2 -fprofile-instr-use=x.profdata -c x.c -o out/x.o";
    case(&tree, script).only(LLVM).changes("profile", |t, _| train(t, "more"));
}

#[test]
fn cxx_templates() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("x.cc", "#include <vector>\n#include \"t.hpp\"\nint f() { std::vector<int> v{T<2>::v}; return v[0]; }\n"),
        ("t.hpp", "template<int N> struct T { static constexpr int v = N; };\n"),
    ]);
    case(&tree, "$CXX -std=c++17 -g -c x.cc -o out/x.o -fdebug-prefix-map=$PWD=.").changes("cxx_templates", |t, _| {
        t.write("t.hpp", "template<int N> struct T { static constexpr int v = N + 1; };\n");
    });
}

/// `__FILE__` differs where equal files lie at two paths.
#[test]
fn equal_content_at_two_paths() {
    let space = Space::new();
    let tree = space.tree("w");
    let text = "const char *f(void) { return __FILE__; }\n";
    tree.files(&[("a/x.c", text), ("b/x.c", text)]);
    for compilers in compilers("equal_content_at_two_paths") {
        let all = "rm -rf out; mkdir out; for d in a b; do $CC -c $d/x.c -o out/$d.o; $CC -c $PWD/$d/x.c -o out/$d.abs.o; done; \
                   cd a; $CC -c x.c -o ../out/c.o; cd ../b; $CC -c x.c -o ../out/d.o";
        let out = tree.path.join("out");
        tree.shell(compilers, all).plain().run().ok();
        let plain = Snapshot::of(&out);
        for _ in 0..2 {
            tree.shell(compilers, all).run().ok();
            Snapshot::of(&out).same_bytes(&plain);
        }
        tree.shell(compilers, all).run().all_hit();
    }
}

const CLOCKS: &[(&str, &str)] = &[
    ("x.c", "#include \"h.h\"\nconst char *f(void) { return STAMP; }\n"),
    ("date/h.h", "#define STAMP __DATE__ \" \" __TIME__\n"),
    ("file/h.h", "#define STAMP __TIMESTAMP__\n"),
    ("pasted/h.h", "#define PASTE(a, b) a##b\n#define STAMP PASTE(__DA, TE__)\n"),
    ("none/h.h", "#define STAMP \"\"\n"),
];

/// Guards: a time in an object, put there by a macro of a header, is never restored, unless the build fixes it.
#[test]
fn times_in_objects() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(CLOCKS);
    for compilers in compilers("times_in_objects") {
        for (dir, reason) in [("date", "clock"), ("file", "clock"), ("pasted", "clock"), ("none", "")] {
            let out = tree.shell(compilers, &format!("$CC -I {dir} -c x.c -o x.o")).run();
            out.ok().check(out.event("x.o").reason() == reason && out.event("x.o").stored() == reason.is_empty(), dir);
        }
    }
}

/// Guards: a linker puts the time into a program for Windows, which is not restored then.
#[test]
fn times_in_programs_for_windows() {
    let test = "times_in_programs_for_windows";
    if !(on_path("clang") && on_path("lld-link")) {
        return skip(test, "no clang or no lld-link");
    }
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int n(void) { return 1; }\n");
    tree.shell(LLVM, "$CC --target=x86_64-pc-windows-msvc -c x.c -o x.obj").plain().run().ok();
    let link = "/entry:n /subsystem:console /nodefaultlib x.obj /out:x.exe";
    let driver = "$CC --target=x86_64-pc-windows-msvc -fuse-ld=lld -nostdlib -Wl,/entry:n,/subsystem:console";
    let run = format!("{} run -- lld-link", kache().display());
    for (timed, fixed) in [
        (format!("{run} {link}"), format!("{run} /Brepro {link}")),
        (format!("{driver} x.obj -o x.exe"), format!("{driver},/Brepro x.obj -o x.exe")),
    ] {
        let out = tree.shell(LLVM, &timed).run();
        out.ok().check(out.actions().all(|e| e.reason() == "clock" && !e.stored()), "it holds the time");
        tree.shell(LLVM, &fixed).run().ok();
        let made = fs::read(tree.path.join("x.exe")).unwrap();
        tree.shell(LLVM, &fixed).run().all_hit();
        assert!(made == fs::read(tree.path.join("x.exe")).unwrap());
    }
}

/// Guards: with the build's own epoch a unit is cached, by that epoch.
#[test]
fn source_date_epoch() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(CLOCKS);
    for epoch in ["1000000000", "1000100000"] {
        let run = || tree.shell(GNU, "$CC -I date -c x.c -o x.o").env("SOURCE_DATE_EPOCH", epoch);
        run().plain().run().ok();
        let plain = fs::read(tree.path.join("x.o")).unwrap();
        for outcome in ["miss", "hit"] {
            let out = run().run();
            out.ok().check(out.outcome("x.o") == outcome, outcome);
            assert!(fs::read(tree.path.join("x.o")).unwrap() == plain, "{epoch} {outcome}");
        }
    }
    // The project's pin is the compiler's too.
    let run = || tree.shell(GNU, "$CC -I date -c x.c -o x.o").env("KACHE_SOURCE_DATE_EPOCH", "pin");
    run().run().ok();
    assert!(memchr::memmem::find(&fs::read(tree.path.join("x.o")).unwrap(), b"Sep  9 2001").is_some());
    run().run().all_hit();
    tree.shell(GNU, "$CC -I date -c x.c -o y.o").env("SOURCE_DATE_EPOCH", "1000000000").plain().run().ok();
    assert!(fs::read(tree.path.join("x.o")).unwrap() == fs::read(tree.path.join("y.o")).unwrap());
}

/// Guards: a directory that is swapped while the compiler runs does not give its files to the result of the other.
#[test]
fn directory_swapped_during_the_compile() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("x.c", "#include \"inc/h.h\"\nint f(void) { return V; }\n"),
        ("inc/h.h", "#define V 1\n"),
        ("new/h.h", "#define V 2\n"),
    ]);
    let run = Waiting::new(&tree);
    let out = run.during(COMPILE, || {
        fs::rename(tree.path.join("inc"), tree.path.join("old")).unwrap();
        fs::rename(tree.path.join("new"), tree.path.join("inc")).unwrap();
    });
    out.ok().check(out.event("x.o").reason() == "changed-input", "the result must not be stored");
    run.same_as_plain(COMPILE, "the new header counts");
}

/// Guards: a header that is looked for in vain and is there when the compiler ends, also where a directory further up brought
/// it along, with times of before the start.
#[test]
fn header_that_appears_during_the_compile() {
    const LINE: &str = "$CC -I up/first -I second -c x.c -o out/x.o";
    for whole in [false, true] {
        let space = Space::new();
        let tree = space.tree("w");
        tree.files(&[
            ("x.c", "#include <h.h>\nint f(void) { return V; }\n"),
            ("up/first/other.h", ""),
            ("second/h.h", "#define V 1\n"),
            ("new/first/h.h", "#define V 2\n"),
        ]);
        let run = Waiting::new(&tree);
        let swap = |from: &str, to: &str| fs::rename(tree.path.join(from), tree.path.join(to)).unwrap();
        let out = run.during(LINE, || match whole {
            false => tree.write("up/first/h.h", "#define V 3\n"),
            true => {
                swap("up", "old");
                swap("new", "up");
            }
        });
        out.ok().check(whole || out.event("x.o").reason() == "changed-input", "the result must not be stored");
        run.same_as_plain(LINE, "the first header counts");
        match whole {
            false => fs::remove_file(tree.path.join("up/first/h.h")).unwrap(),
            true => {
                swap("up", "new");
                swap("old", "up");
            }
        }
        run.same_as_plain(LINE, "the second header counts again");
    }
}

/// A gcc that ends when it may.
struct Waiting<'a> {
    tree: &'a Tree<'a>,
    path: String,
}

impl<'a> Waiting<'a> {
    fn new(tree: &'a Tree<'a>) -> Self {
        // What it waits for is below /proc, which is no input.
        let waits = "#!/bin/sh\n/usr/bin/gcc \"$@\" || exit 1\nwhile [ -d /proc/$WAIT_FOR ]; do sleep 0.01; done\n";
        write_script(&tree.path.join("bin/gcc"), waits);
        fs::create_dir(tree.path.join("out")).unwrap();
        let path = format!("{}:{}", tree.path.join("bin").display(), std::env::var("PATH").unwrap());
        Waiting { tree, path }
    }

    fn run(&self, line: &str, gate: u32) -> Run<'a> {
        self.tree.shell(GNU, line).env("PATH", &self.path).env("WAIT_FOR", gate.to_string())
    }

    /// What comes of `line` when `change` happens between the compiler's end and that of its run.
    fn during(&self, line: &str, change: impl FnOnce()) -> Outcome {
        let mut gate = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut running = self.run(line, gate.id()).spawn();
        let object = self.tree.path.join("out/x.o");
        while running.is_running() && fs::metadata(&object).map_or(0, |m| m.len()) == 0 {
            std::thread::yield_now();
        }
        change();
        gate.kill().unwrap();
        gate.wait().unwrap();
        running.wait()
    }

    fn same_as_plain(&self, line: &str, why: &str) {
        let object = || fs::read(self.tree.path.join("out/x.o")).unwrap();
        self.run(line, 1 << 22).run().ok();
        let ours = object();
        self.run(line, 1 << 22).plain().run().ok();
        assert!(ours == object(), "{why}");
    }
}

/// Guards: `-march=native` carries the processor.
#[test]
fn native_processor() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int f(void) { return 1; }\n");
    for compilers in compilers("native_processor") {
        let out = tree.shell(compilers, "$CC -march=native -c x.c -o x.o").run();
        let key = out.event("x.o").field("key").unwrap().as_str().unwrap().to_owned();
        let shown = space.cli(&format!("show {key}")).run();
        shown.ok().check(shown.stdout.contains("processor"), "the key has a field for it");
        tree.shell(compilers, "$CC -march=native -c x.c -o x.o").run().all_hit();
    }
}

/// Guards: clang refuses a precompiled header that is older than what it was made of; a restored one would always be.
#[test]
fn times_in_a_precompiled_header() {
    let test = "times_in_a_precompiled_header";
    if !on_path("clang") {
        return skip(test, "no clang");
    }
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("h.h", "static int h;\n"), ("x.c", "")]);
    for round in 0..2 {
        let header = fs::File::options().write(true).open(tree.path.join("h.h")).unwrap();
        header.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000 + round)).unwrap();
        tree.write("x.c", &format!("int f(void) {{ return h + {round}; }}\n"));
        let build = "$CC -x c-header h.h -o h.pch && $CC -include-pch h.pch -c x.c -o x.o";
        tree.shell(LLVM, build).run().ok();
        tree.shell(LLVM, "$CC -include-pch h.pch -c x.c -o x.o").plain().run().ok();
    }
}

/// Guards: of a header that did not change, a precompiled one that was made anew is another input.
#[test]
fn precompiled_header_made_anew() {
    let test = "precompiled_header_made_anew";
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("h.h", "static int h;\n"), ("x.c", "int f(void) { return h; }\n")]);
    for compilers in compilers(test) {
        let (make, include) = match compilers {
            LLVM => ("$CC -x c-header h.h -o h.pch", "$CC -include-pch h.pch"),
            _ => ("$CC -x c-header h.h -o h.h.gch", "$CC -include h.h -Winvalid-pch"),
        };
        for round in 0..2 {
            let header = fs::File::options().write(true).open(tree.path.join("h.h")).unwrap();
            header.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000 + round)).unwrap();
            tree.shell(compilers, &format!("{make} -DROUND={round}")).plain().run().ok();
            let line = format!("{include} -c x.c -o x.o");
            let plain = tree.shell(compilers, &line).plain().run();
            let object = || fs::read(tree.path.join("x.o")).unwrap();
            let expected = object();
            for hit in [false, true] {
                let ours = tree.shell(compilers, &line).run();
                ours.same_as(&plain).check(object() == expected, "the object is the plain compiler's");
                ours.check(ours.event("x.o").is_hit() == hit, "found only with that very file");
            }
        }
    }
}

/// Guards: what comes in by a stream is read once and has no name to look at again.
#[test]
fn streams() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int x;\n");
    for compilers in compilers("streams") {
        for build in [
            "$CC -x c -c /dev/stdin -o x.o < v.c",
            "$CC -include /dev/stdin -c x.c -o x.o < v.c",
            "$CC -x c -c /dev/fd/7 -o x.o 7< v.c",
            "$CC -imacros /dev/fd/7 -include v.c -c x.c -o x.o 7< v.c",
            "rm -f p; mkfifo p; cat v.c > p & $CC -x c -c p -o x.o; wait",
            "rm -f p; mkfifo p; cat v.c > p & $CC -include p -c x.c -o x.o; wait",
        ] {
            for value in ["int one;\n", "int two;\n"] {
                tree.write("v.c", value);
                let object = |mode| {
                    tree.remove("x.o");
                    tree.shell(compilers, build).mode(mode).run().ok();
                    fs::read(tree.path.join("x.o")).unwrap()
                };
                assert!(object(Mode::Observed) == object(Mode::Plain), "{} {build} {value}", compilers.0);
            }
        }
        // Arguments from a pipe are the compiler's to read. (gcc takes them from files only.)
        tree.write("args", "-c x.c -o x.o");
        let build = "rm -f x.o; cat args | $CC @/dev/stdin; echo $?; test -s x.o; echo $?";
        let plain = tree.shell(compilers, build).plain().run();
        let ours = tree.shell(compilers, build).run();
        ours.check(ours.stdout == plain.stdout, "as the compiler does it");
    }
}

/// Guards: a file that a run adds to holds what was there before.
#[test]
fn outputs_that_grow() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("x.c", "#include \"h.h\"\n"), ("h.h", "int h;\n")]);
    let lines = |compilers, build: &str, mode| {
        let build = format!("rm -rf o; mkdir o; for i in 1 2 3; do {build}; done");
        tree.shell(compilers, &build).mode(mode).run().ok();
        fs::read_to_string(tree.path.join("o/d")).unwrap()
    };
    let mut builds = vec![
        (GNU, "DEPENDENCIES_OUTPUT=o/d $CC -c x.c -o o/x.o"),
        (GNU, "SUNPRO_DEPENDENCIES='o/d name' $CC -c x.c -o o/x.o"),
        (GNU, "$CC -c x.c -o o/x.o -MMD -MF o/d"),
        (LLVM, "$CC -c x.c -o o/x.o -MJ o/d"),
        (LLVM, "$CC -c x.c -o o/x.o -MMD -MF o/d"),
    ];
    let here = compilers("outputs_that_grow");
    builds.retain(|(compilers, _)| here.contains(compilers));
    for (compilers, build) in builds {
        let plain = lines(compilers, build, Mode::Plain);
        for _ in 0..2 {
            assert_eq!(lines(compilers, build, Mode::Observed), plain, "{build}");
        }
    }
}

/// Guards: compilers take the working directory's name from `PWD`, where a link leads to it.
#[test]
fn name_of_the_working_directory() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("x.c", "int x;\n");
    symlink("w", space.site("link")).unwrap();
    let flags = "-g -fdebug-prefix-map=/nothing=/else";
    for (first, second) in [("w", "link"), ("link", "w")] {
        for compilers in compilers("name_of_the_working_directory") {
            for at in [first, second] {
                let here = space.site(at);
                // Without a seed gcc stamps its notes by the clock.
                let build = format!(
                    "cd {}; $CC --coverage -frandom-seed=1 -c x.c -o {first}.o; cp {first}.gcno n; rm {first}.gcno",
                    here.display()
                );
                let notes = |mode| {
                    tree.shell(compilers, &build).mode(mode).run().ok();
                    fs::read(tree.path.join("n")).unwrap()
                };
                assert!(notes(Mode::Observed) == notes(Mode::Plain), "{} {}", compilers.0, here.display());
                let name = |mode, out: &str| {
                    let build = format!("cd {}; $CC {flags} -c x.c -o {out}", here.display());
                    tree.shell(compilers, &build).mode(mode).run().ok();
                    let bytes = fs::read(tree.path.join(out)).unwrap();
                    let link = space.site("link");
                    memchr::memmem::find(&bytes, link.as_os_str().as_encoded_bytes()).is_some()
                };
                assert_eq!(name(Mode::Observed, "ours.o"), name(Mode::Plain, "plain.o"), "{first} {at}");
            }
        }
    }
}

/// Guards: the linker looks in `LD_LIBRARY_PATH` for what libraries need.
#[test]
fn libraries_of_libraries() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("x.c", "int a(void);\nint main(void) { return a(); }\n"),
        ("a.c", "int b(void);\nint a(void) { return b(); }\n"),
        ("b.c", "int b(void) { return 1; }\n"),
        ("one/no", ""),
        ("two/no", ""),
    ]);
    plain(&tree, "gcc -shared -fPIC b.c -o one/libb.so; gcc -shared -fPIC a.c -Lone -lb -o liba.so");
    case(&tree, "$CC x.c -L. -la -o out/x")
        .env("LD_LIBRARY_PATH", "one")
        .changes("libraries_of_libraries", |_, env| env[0].1 = "two".into());
}

/// Guards: which headers are one and the same is for the compiler to see: by inode, or by time and content.
#[test]
fn headers_included_once() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[
        ("x.c", "#include \"a/h.h\"\n#include \"b/h.h\"\n"),
        ("a/h.h", "#pragma once\nstruct { int n; };\n"),
        ("b/no", ""),
    ]);
    let (a, b) = (tree.path.join("a/h.h"), tree.path.join("b/h.h"));
    let at = |file: &std::path::Path, seconds: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
    };
    for compilers in compilers("headers_included_once") {
        for state in ["copy", "copy of one time", "link", "copy", "hard link", "copy"] {
            remove(&b);
            match state {
                "link" => symlink("../a/h.h", &b).unwrap(),
                "hard link" => fs::hard_link(&a, &b).unwrap(),
                _ => drop(fs::copy(&a, &b).unwrap()),
            }
            at(&a, 1_000_000_000);
            if state == "copy" {
                at(&b, 1_000_000_001);
            } else if state == "copy of one time" {
                at(&b, 1_000_000_000);
            }
            let text = |mode| tree.shell(compilers, "$CC -E -P x.c").mode(mode).run().stdout;
            assert_eq!(text(Mode::Observed), text(Mode::Plain), "{} {state}", compilers.0);
        }
    }
    // By one name or another, it is one header.
    tree.write("y.c", "#include \"a/h.h\"\n#include \"b/../a/h.h\"\n");
    for _ in 0..2 {
        tree.shell(GNU, "$CC -E y.c").run().ok();
    }
    tree.shell(GNU, "$CC -E y.c").run().all_hit();
}

/// Guards: times are those of the plain compiler, whatever fixes them or does not: its own file's for `__TIMESTAMP__`, the
/// build's for the others, with compilers that know it.
#[test]
fn fixed_times() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(CLOCKS);
    let now = ["date/h.h", "file/h.h"];
    for compilers in compilers("fixed_times") {
        for (dir, epoch) in [("date", "1000000000"), ("date", "1000100000"), ("file", "1000000000")] {
            for stamp in [1_100_000_000, 1_200_000_000] {
                // `__TIMESTAMP__` is the time of the file it stands in.
                for file in now.iter().chain(&["x.c"]) {
                    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(stamp);
                    fs::File::options().write(true).open(tree.path.join(file)).unwrap().set_modified(time).unwrap();
                }
                let run = |mode: Mode| {
                    let run = tree.shell(compilers, &format!("$CC -I {dir} -c x.c -o x.o")).mode(mode);
                    let out = run.env("SOURCE_DATE_EPOCH", epoch).run();
                    out.ok();
                    (fs::read(tree.path.join("x.o")).unwrap(), out)
                };
                let (ours, first) = run(Mode::Observed);
                let (plain, _) = run(Mode::Plain);
                let (again, second) = run(Mode::Observed);
                let moves = dir == "date" && first.event("x.o").reason() == "clock";
                // A compiler that knows no epoch puts the clock's second into it.
                first.check(moves || ours == plain, "as the plain compiler");
                second.check(moves || again == plain, "and again");
                second.check(!moves || second.count("hit") == 0, "the clock's time is never restored");
            }
        }
    }
    // The setting of a project does what the variable does.
    tree.write(".kache.toml", "[cc]\nsource_date_epoch = \"pin\"\n");
    let run = || tree.shell(GNU, "$CC -I date -c x.c -o x.o").run();
    run().ok();
    assert!(memchr::memmem::find(&fs::read(tree.path.join("x.o")).unwrap(), b"Sep  9 2001").is_some());
    run().all_hit();
}
