//! Compilers that an observed program starts are given KACHE_MAP, and nothing else is.

use crate::harness::{Observed, World, skipped, tool};
use std::process::Command;

fn mapped(world: &World, script: &str) -> Observed {
    let mut command = world.command("sh");
    command.args(["-c", script]).env("KACHE_MAP", format!("{}=/mapped:/other=/second", world.cwd().display()));
    world.observe(command)
}

#[test]
fn debug_information_is_mapped() {
    for cc in ["gcc", "clang"] {
        if tool(cc).is_none() {
            skipped("debug_information_is_mapped", &format!("there is no {cc}"));
            continue;
        }
        let world = World::new();
        world.file("x.c", "int main(void) { return 0; }\n");
        let here = world.cwd().display().to_string();
        let holds = |file: &str, text: &str| {
            let bytes = std::fs::read(world.cwd().join(file)).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        let ran = mapped(
            &world,
            &format!(
                "{cc} -g -c x.c -o x.o && {cc} -g x.c -o x && {cc} -S -g x.c -o x.s && {cc} -Werror x.o -o linked"
            ),
        );
        ran.seen();
        assert_eq!(ran.stderr(), "", "{cc}");
        for file in ["x.o", "x", "x.s"] {
            assert!(holds(file, "/mapped") && !holds(file, &here), "{cc}: {file}");
        }
        // The user's own map wins with gcc, and is there with clang, which takes the first of equal ones.
        mapped(&world, &format!("{cc} -g -c x.c -o own.o -fdebug-prefix-map={here}=/own")).seen();
        assert!(holds("own.o", if cc == "gcc" { "/own" } else { "/mapped" }), "{cc}");
        // What asks the compiler something gets its plain answer.
        for query in
            ["--version", "-dumpmachine", "-print-search-dirs", "-print-file-name=crt1.o", "-E -dM -x c /dev/null"]
        {
            let ran = mapped(&world, &format!("{cc} {query}"));
            let plain =
                Command::new(cc).args(query.split(' ')).current_dir(world.cwd()).env("LC_ALL", "C").output().unwrap();
            assert_eq!(ran.stdout(), String::from_utf8_lossy(&plain.stdout), "{cc} {query}");
            assert_eq!(ran.output.status, plain.status);
        }
    }
}

#[test]
fn only_compilers_are_given_maps() {
    let world = World::new();
    let bin = world.cwd();
    let show = "#!/bin/sh\necho \"$(basename $0):$*\"\n";
    let drivers = [
        "cc",
        "gcc",
        "g++",
        "c++",
        "clang",
        "clang++",
        "gcc-12",
        "clang-14",
        "x86_64-linux-gnu-gcc",
        "arm-none-eabi-g++-9.3",
        "clang++-15",
    ];
    let others = [
        "clang-cl",
        "gcc-ar",
        "gcc-nm",
        "gcc-ranlib",
        "ld",
        "xcc",
        "rustcc",
        "cc1",
        "clang-format",
        "clang-tidy-14",
        "gcc-",
        "gccgo",
        "12",
        "-12",
    ];
    for name in drivers.iter().chain(&others) {
        world.script(name, show);
    }
    let map = format!("-fdebug-prefix-map={}=/mapped -fdebug-prefix-map=/other=/second", bin.display());
    for name in drivers {
        assert_eq!(mapped(&world, &format!("./{name} -c x.c")).stdout(), format!("{name}:{map} -c x.c\n"));
        assert_eq!(
            mapped(&world, &format!("PATH=.:$PATH; export PATH; env {name}")).stdout(),
            format!("{name}:{map}\n")
        );
        assert_eq!(mapped(&world, &format!("./{name} -cc1 x.c")).stdout(), format!("{name}:-cc1 x.c\n"));
    }
    for name in others {
        assert_eq!(
            mapped(&world, &format!("./{name} -c x.c")).stdout().replace(&format!("{name}:"), ""),
            "-c x.c\n",
            "{name}"
        );
    }
}
