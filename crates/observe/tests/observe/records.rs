//! What the records say.

use crate::harness::{World, find, listing, tool};
use kache_observe::{Kind, flag};
use std::os::unix::fs::symlink;

const CALLS: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static int visit(const char *p, const struct stat *s, int t, struct FTW *w) { return 0; }
int main(void) {
    char temp[] = "temp-XXXXXX", tempdir[] = "tempdir-XXXXXX", b[4096];
    struct stat s; struct dirent **names; glob_t g; struct statx sx;
    close(open("read", O_RDONLY)); close(open("read", O_RDONLY)); close(open("./sub//../read", O_RDONLY));
    close(open("made", O_CREAT | O_WRONLY | O_TRUNC, 0600)); close(open("made", O_CREAT | O_WRONLY | O_TRUNC, 0600));
    fclose(fopen("appended", "a+")); mkstemp(temp); mkdtemp(tempdir);
    int sub = open("sub", O_RDONLY | O_DIRECTORY); openat(sub, "inner", O_RDONLY); fdopendir(sub);
    stat("link", &s); lstat("link", &s); readlink("link", b, sizeof b); realpath("link", b); statx(AT_FDCWD, "stated", 0, STATX_MODE, &sx);
    mkdir("dir", 0700); rename("made", "moved"); link("moved", "hard"); symlink("text", "soft"); chmod("moved", 0644); unlink("hard"); rmdir("dir");
    scandir("scanned", &names, NULL, NULL); glob("globbed/*/x*", 0, NULL, &g); globfree(&g); nftw("walked", visit, 8, FTW_PHYS);
    char *roots[] = {"ftsed", NULL}; FTS *f = fts_open(roots, FTS_PHYSICAL, NULL); while (fts_read(f)); fts_close(f);
    syscall(SYS_openat, AT_FDCWD, "by-number", O_RDONLY);
    getenv("SET"); getenv("UNSET"); getenv("UNSET"); getenv("OUT_DIR"); getenv("OUT_DIR"); getenv("CARGO_X"); getenv("CARGO_X");
    struct addrinfo *r; getaddrinfo("no-such-host.invalid", "80", NULL, &r);
    return 0;
}
"#;

#[test]
fn calls_and_their_records() {
    let world = World::new();
    for file in
        ["read", "sub/inner", "stated", "scanned/x", "globbed/a/x1", "walked/deep/x", "ftsed/deep/x", "by-number"]
    {
        world.file(file, "");
    }
    symlink("read", world.cwd().join("link")).unwrap();
    let program = world.try_c("calls", CALLS, &["-w"]).unwrap();
    let mut command = world.command(program);
    command.env("SET", "1").env("OUT_DIR", "/o").env_remove("UNSET").env("CARGO_X", "1");
    let ran = world.observe(command);
    let at = |name: &str| world.cwd().join(name);
    let count =
        |kind: Kind, a: &str| ran.seen().records.iter().filter(|r| r.kind == kind && r.a == a.as_bytes()).count();
    let opens = |name: &str| -> Vec<u8> {
        let path = at(name).to_str().unwrap().as_bytes().to_vec();
        ran.seen().records.iter().filter(|r| r.kind == Kind::Open && r.a == path).map(|r| r.flags).collect()
    };

    let create = flag::WRITE | flag::CREATE | flag::TRUNCATE;
    assert_eq!(opens("read"), [flag::READ], "told once");
    assert_eq!(opens("sub/../read"), [flag::READ], ".. stays");
    assert_eq!(opens("made"), [create, create | flag::EXISTED], "writes each time, with what was there before");
    assert_eq!(opens("appended"), [flag::READ | flag::WRITE | flag::CREATE]);
    assert_eq!(opens("sub"), [flag::READ | flag::DIRECTORY]);
    for name in ["sub/inner", "by-number"] {
        assert_eq!(opens(name), [flag::READ], "{name}");
    }
    for (kind, name) in [
        (Kind::List, "sub"),
        (Kind::Stat, "link"),
        (Kind::Lstat, "link"),
        (Kind::Stat, "stated"),
        (Kind::Mkdir, "dir"),
        (Kind::Unlink, "dir"),
        (Kind::Unlink, "hard"),
        (Kind::Meta, "moved"),
        (Kind::List, "scanned"),
        (Kind::List, "globbed"),
        (Kind::List, "globbed/a"),
        (Kind::List, "walked"),
        (Kind::List, "walked/deep"),
        (Kind::Lstat, "walked/deep/x"),
        (Kind::List, "ftsed"),
        (Kind::List, "ftsed/deep"),
    ] {
        ran.must_have(kind, at(name));
    }
    for (kind, a, b) in [
        (Kind::Readlink, at("link"), "read".into()),
        (Kind::Resolve, at("link"), std::fs::canonicalize(at("read")).unwrap()),
        (Kind::Rename, at("made"), at("moved")),
        (Kind::Link, at("moved"), at("hard")),
        (Kind::Symlink, "text".into(), at("soft")),
    ] {
        let record = find(ran.seen(), kind, &a).unwrap_or_else(|| panic!("no {kind:?} {a:?}"));
        assert_eq!(String::from_utf8_lossy(record.b), b.to_str().unwrap(), "{kind:?}");
    }
    let temporary = |kind, prefix: &str| {
        let prefix = at(prefix).to_str().unwrap().as_bytes().to_vec();
        ran.seen().records.iter().any(|r| r.kind == kind && r.a.starts_with(&prefix) && !r.a.ends_with(b"XXXXXX"))
    };
    assert!(temporary(Kind::Open, "temp-") && temporary(Kind::Mkdir, "tempdir-"), "{}", listing(ran.seen()));
    assert_eq!(find(ran.seen(), Kind::Getenv, "SET").unwrap().flags, 0);
    assert_eq!(find(ran.seen(), Kind::Getenv, "UNSET").unwrap().flags, flag::UNSET);
    assert_eq!(
        (count(Kind::Getenv, "UNSET"), count(Kind::Getenv, "OUT_DIR"), count(Kind::Getenv, "CARGO_X")),
        (1, 1, 1)
    );
    assert_eq!(count(Kind::Net, "resolve no-such-host.invalid"), 1);
}

#[test]
fn programs_and_what_belongs_to_them() {
    let world = World::new();
    let secret = world.file("secret", "x");
    let ran = world.sh("(: < secret); env cat secret; true");
    let trace = ran.seen();
    let readers: Vec<&[u8]> = (0..trace.records.len())
        .filter(|&i| trace.records[i].kind == Kind::Open && trace.records[i].a == secret.to_str().unwrap().as_bytes())
        .map(|i| trace.program_of(i).exe.rsplit(|b| *b == b'/').next().unwrap())
        .collect();
    assert_eq!(readers.len(), 2, "{}", listing(trace));
    assert_eq!(
        readers[1],
        tool("cat")
            .map(|cat| std::fs::canonicalize(cat).unwrap())
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .as_bytes()
    );
    let names: Vec<&[u8]> = trace.programs.iter().map(|program| program.argv0).collect();
    assert_eq!(names, [b"sh".as_slice(), b"env", b"cat"]);
}

#[test]
fn interpreters_of_scripts_are_read() {
    let world = World::new();
    symlink("/bin/sh", world.cwd().join("interpreter")).unwrap();
    let script = world.script("script", &format!("#!{} -e\n:\n", world.cwd().join("interpreter").display()));
    let ran = world.sh("./script");
    ran.must_read(world.cwd().join("interpreter"));
    ran.must_have(Kind::Exec, script);
}
