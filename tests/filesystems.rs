//! Filesystems: blocks are shared where the filesystem can, links where it cannot, and both checkouts stay fresh.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::*;

/// A fresh filesystem in a file, mounted for one test.
struct Disk {
    at: PathBuf,
    _dir: tempfile::TempDir,
}

impl Disk {
    /// `Err` says why there can't be one here.
    fn new(make: &[&str]) -> Result<Disk, String> {
        if !is_root() {
            return Err("only root can mount".into());
        }
        let dir = tempfile::Builder::new().prefix("disk-").tempdir_in(std::env::temp_dir()).unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("at"));
        fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
        fs::create_dir(&at).unwrap();
        let run = |line: &[&str], more: &[&Path]| match Command::new(line[0]).args(&line[1..]).args(more).output() {
            Ok(out) if out.status.success() => Ok(()),
            Ok(out) => Err(format!("{}: {}", line[0], String::from_utf8_lossy(&out.stderr).trim())),
            Err(e) => Err(format!("{}: {e}", line[0])),
        };
        run(make, &[&image])?;
        run(&["mount", "-o", "loop"], &[&image, &at])?;
        Ok(Disk { at, _dir: dir })
    }

    /// Bytes in use, as the filesystem counts them once everything is on disk.
    fn used(&self) -> u64 {
        assert!(Command::new("sync").arg("-f").arg(&self.at).status().unwrap().success());
        let out = Command::new("df").args(["-B1", "--output=used"]).arg(&self.at).output().unwrap();
        String::from_utf8_lossy(&out.stdout).lines().nth(1).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

/// Size of the first target directory and what the second checkout added to the disk: large enough that the files count
/// and not the filesystem's own notes about them.
fn two_checkouts(disk: &Disk) -> (u64, u64) {
    let space = Space::inside(&disk.at);
    let trees = ["a", "b"].map(|at| {
        let tree = space.tree(at);
        app_with_part(&tree, "pub fn tell() -> u32 { used::DATA.len() as u32 }\n");
        for (name, megabytes) in [("used", 16), ("unused", 24)] {
            tree.files(&[
                (&format!("{name}/Cargo.toml"), &manifest(name, "")),
                (&format!("{name}/src/lib.rs"), "pub static DATA: &[u8] = include_bytes!(\"data\");\n"),
                (&format!("{name}/src/data"), &"0123456789abcdef".repeat(megabytes << 16)),
            ]);
        }
        let both = "[dependencies]\nused = { path = \"../used\" }\nunused = { path = \"../unused\" }\n";
        tree.write("part/Cargo.toml", &manifest("part", both));
        tree
    });
    trees[0].cargo("build").run().ok();
    let before = disk.used();
    trees[1].cargo("build").run().ok().all_hit();
    let added = disk.used() - before;
    for tree in &trees {
        tree.assert_fresh("build");
        assert_eq!(tree.execute("target/debug/app").stdout, format!("{}\n", 16 << 20));
    }
    // A file that cargo links counts once.
    let target = files_below(&trees[0].path.join("target")).into_iter().map(|p| fs::metadata(p).unwrap());
    let blocks: BTreeMap<u64, u64> = target.map(|meta| (meta.ino(), meta.blocks() * 512)).collect();
    let size = blocks.values().sum();
    assert!(size > 50 << 20, "{size} bytes are too few to tell");
    let rlib = files_below(&trees[1].path.join("target/debug/deps"))
        .into_iter()
        .find(|p| p.extension().is_some_and(|e| e == "rlib"))
        .unwrap();
    let links = fs::metadata(rlib).unwrap().nlink();
    assert_eq!(links > 2, !disk.reflinks(), "rlibs are links only where blocks cannot be shared: {links}");
    eprintln!("{added} bytes added by a second checkout of {size}");
    (size, added)
}

impl Disk {
    fn reflinks(&self) -> bool {
        let (from, to) = (self.at.join("from"), self.at.join("to"));
        fs::write(&from, "x").unwrap();
        Command::new("cp").arg("--reflink=always").arg(&from).arg(&to).output().unwrap().status.success()
    }
}

/// What the doctor finds of a cache and of where builds are: level and text by subject.
fn doctor(space: &Space, cache: &Path, builds: &Path) -> impl Fn(&str) -> (String, String) + use<> {
    let out = space.cli("doctor --json").cache(cache).cwd(builds).env("RUSTC_WRAPPER", kache()).run();
    let told: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{}", out.world()));
    move |about| {
        let findings = told["findings"].as_array().expect("findings");
        let of = findings.iter().find(|f| f["about"] == about).unwrap_or_else(|| panic!("{about} in {told}"));
        let text = |field: &str| of[field].as_str().unwrap_or_default().to_owned();
        assert_eq!(of["level"] == "ok", of["advice"].is_null(), "what is not well has advice: {of}");
        (text("level"), text("text"))
    }
}

/// Of a cache and builds on one disk.
fn doctor_tells(disk: &Disk, way: &str) {
    let space = Space::inside(&disk.at);
    let found = doctor(&space, &space.cache(), &space.site(""));
    let (level, text) = found("file system");
    assert!(level == "ok" && text.starts_with(&format!("of the cache: {way};")), "{level}: {text}");
    let (level, text) = found("build tree");
    assert!(
        level == "ok" && text.contains(&format!(": {} from the cache", way.split(',').next().unwrap())),
        "{level}: {text}"
    );
}

/// Guards: a cache that is about to be full, or from which nothing can be loaded, is a problem before builds meet it.
#[test]
fn the_doctor_finds_a_bad_place() {
    let space = Space::new();
    let problems = |options: &str| -> Option<Vec<(String, String)>> {
        let _mount = Mount::new(&["-t", "tmpfs", "-o", options, "none"], &space.cache())?;
        let found = doctor(&space, &space.cache(), &space.site(""));
        Some(
            ["free space", "free inodes", "file system"]
                .map(found)
                .into_iter()
                .filter(|(l, _)| l == "problem")
                .collect(),
        )
    };
    for (options, words) in [
        ("size=2g,nr_inodes=100000", [].as_slice()),
        ("size=8m,nr_inodes=100000", &["only "]),
        ("size=2g,nr_inodes=500", &["only "]),
        ("size=8m,nr_inodes=500,noexec", &["only ", "only ", "nothing may be loaded from there"]),
    ] {
        let Some(found) = problems(options) else {
            return skip("the_doctor_finds_a_bad_place", "cannot mount a tmpfs");
        };
        let all = found.len() == words.len() && found.iter().zip(words).all(|((_, text), word)| text.contains(word));
        assert!(all, "{options}: {found:?}");
    }
}

#[test]
fn btrfs_shares_blocks() {
    match Disk::new(&["mkfs.btrfs", "-q"]) {
        Ok(disk) => {
            doctor_tells(&disk, "reflinks");
            let (size, added) = two_checkouts(&disk);
            assert!(added <= size / 50, "{added} bytes added by a copy of {size}");
        }
        Err(why) => skip("btrfs_shares_blocks", &why),
    }
}

#[test]
fn xfs_shares_blocks() {
    match Disk::new(&["mkfs.xfs", "-q", "-m", "reflink=1"]) {
        Ok(disk) => {
            doctor_tells(&disk, "reflinks");
            let (size, added) = two_checkouts(&disk);
            assert!(added <= size / 50, "{added} bytes added by a copy of {size}");
        }
        Err(why) => skip("xfs_shares_blocks", &why),
    }
}

#[test]
fn ext4_links_libraries() {
    match Disk::new(&["mkfs.ext4", "-q"]) {
        Ok(disk) => {
            doctor_tells(&disk, "hard links, no reflinks");
            let (size, added) = two_checkouts(&disk);
            assert!(added <= size / 2, "{added} bytes added by a copy of {size}");
        }
        Err(why) => skip("ext4_links_libraries", &why),
    }
}

#[test]
fn cache_on_another_filesystem() {
    match Disk::new(&["mkfs.ext4", "-q"]) {
        Ok(disk) => {
            let space = Space::new();
            let tree = space.tree("w");
            app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
            let (level, text) = doctor(&space, &disk.at.join("cache"), &tree.path)("build tree");
            assert!(level == "note" && text.contains("is on another file system than the cache"), "{level}: {text}");
            let build = || tree.cargo("build").cache(&disk.at.join("cache")).run();
            build().ok();
            tree.clean();
            build().ok().all_hit();
            assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
            let next = build();
            next.ok().check(next.actions().next().is_none(), "the next build has nothing to do");
        }
        Err(why) => skip("cache_on_another_filesystem", &why),
    }
}

#[test]
fn linked_libraries_stay_fresh_for_cargo() {
    // One inode, and so one mtime, in both checkouts: whatever one of them does, the other one has nothing to do.
    let space = Space::new();
    let trees = ["a", "b", "c"].map(|at| {
        let tree = space.tree(at);
        app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
        tree
    });
    for tree in &trees {
        tree.cargo("build").run().ok();
        for other in &trees {
            if other.path.join("target").exists() {
                other.assert_fresh("build");
            }
        }
    }
    trees[1].cargo("clean -p part").run().ok();
    trees[1].cargo("build").run().ok().all_hit();
    trees[2].edit("part/src/lib.rs", "{ 1 }", "{ 2 }");
    trees[2].cargo("build").run().ok();
    trees[2].edit("part/src/lib.rs", "{ 2 }", "{ 1 }");
    trees[2].cargo("build").run().ok().all_hit();
    for tree in &trees {
        tree.assert_fresh("build");
        assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
    }
}

fn part_telling(n: u32) -> String {
    format!("pub fn tell() -> u32 {{ {n} }}\n{}", interface())
}

/// `app` uses `outer`, which uses `part`.
fn chain<'s>(space: &'s Space, at: &str) -> Tree<'s> {
    let tree = space.tree(at);
    app_with_part(&tree, &part_telling(1));
    tree.edit("Cargo.toml", "part = { path = \"part\" }", "outer = { path = \"outer\" }");
    tree.edit("src/main.rs", "part::tell", "outer::tell");
    tree.files(&[
        ("outer/Cargo.toml", &manifest("outer", "[dependencies]\npart = { path = \"../part\" }\n")),
        ("outer/src/lib.rs", &format!("pub fn tell() -> u32 {{ part::tell() }}\n{}", interface())),
    ]);
    tree
}

/// Of the libraries and of their metadata, how many share their inode.
fn linked(tree: &Tree<'_>) -> [usize; 2] {
    let files = files_below(&tree.path.join("target/debug/deps"));
    ["rlib", "rmeta"].map(|kind| {
        let of_kind = files.iter().filter(|f| f.extension().is_some_and(|e| e == kind));
        of_kind.filter(|f| fs::metadata(f).unwrap().nlink() > 1).count()
    })
}

#[test]
fn sealed_metadata_stays_fresh_for_cargo() {
    // Where all its dependencies are sealed, a library's metadata is, too; beside one that was compiled here it must be
    // newer than that one.
    let space = Space::new();
    let [first, second] = ["a", "second/b"].map(|at| chain(&space, at));
    first.cargo("build").run().ok();
    second.cargo("build").run().ok().all_hit();
    let [libraries, metadata] = linked(&second);
    assert_eq!(libraries, metadata, "metadata is linked where libraries are");
    assert!(libraries == 2 || libraries == 0);
    for n in 2..4 {
        second.write("part/src/lib.rs", &part_telling(n));
        second.cargo("build").run().ok();
        assert_eq!(second.execute("target/debug/app").stdout, format!("{n}\n"));
        second.assert_fresh("build");
        first.assert_fresh("build");
    }
    // `part` is compiled here, to the same bytes; `outer` comes back from the store beside it.
    second.write("part/src/lib.rs", &part_telling(1));
    second.cargo("build -p part").cache(&space.path("other-cache")).run().ok();
    second.cargo("build").run().ok().all_hit();
    if libraries == 2 {
        assert_eq!(linked(&second)[1], 0, "neither what was compiled here nor what depends on it is sealed");
    }
    for tree in [&first, &second] {
        tree.assert_fresh("build");
        assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
    }
    second.cargo("clean -p part").run().ok();
    second.cargo("build").run().ok().all_hit();
    second.assert_fresh("build");
    second.cargo("clean -p outer").run().ok();
    second.cargo("build").run().ok().all_hit();
    for tree in [&first, &second] {
        tree.assert_fresh("build");
    }
}

/// Bytes for an executable that is worth a spare.
fn app_with_much(tree: &Tree<'_>) {
    app_with_part(
        tree,
        "pub fn tell() -> u8 { DATA[std::env::args().count()] }\nstatic DATA: &[u8] = include_bytes!(\"data\");\n",
    );
    tree.write("part/src/data", &"0123456789abcdef".repeat(10 << 16));
}

/// Guards: what must be copied and is large is copied ahead, for the next tree; the copy is whole, private and as new as
/// the build, or is not used.
#[test]
fn large_outputs_are_copied_ahead() {
    const NAME: &str = "large_outputs_are_copied_ahead";
    if !on_path("strace") {
        return skip(NAME, "strace is not installed");
    }
    let disk = match Disk::new(&["mkfs.ext4", "-q"]) {
        Ok(disk) => disk,
        Err(why) => return skip(NAME, &why),
    };
    let space = Space::inside(&disk.at);
    let [first, second] = ["a", "second/b"].map(|at| space.tree(at));
    [&first, &second].into_iter().for_each(app_with_much);
    let exe = |tree: &Tree<'_>| tree.path.join("target/debug/app");
    second.cargo("build").plain().run().ok();
    let (mode, said) = (fs::metadata(exe(&second)).unwrap().mode(), second.execute("target/debug/app").stdout);
    first.cargo("build").run().ok();
    let compiled = fs::read(exe(&first)).unwrap();
    let kept = space.cache().join("v1/spares/kept");
    let spares = || -> Vec<PathBuf> {
        files_below(&space.cache().join("v1/spares")).into_iter().filter(|spare| !spare.starts_with(&kept)).collect()
    };
    assert!(spares().is_empty(), "what is only stored gets none");

    // strace ends when all have ended that were started, detached or not.
    let strace = ["strace", "-f", "-qq", "-e", "trace=execve", "-o", "/dev/null"];
    let inode = |file: &Path| fs::metadata(file).unwrap().ino();
    // Restores the second tree and tells whether its executable was `spare` before.
    let restore = |set: &dyn Fn(Run<'_>) -> Run<'_>| {
        let before = spares().first().map(|spare| inode(spare));
        second.clean();
        remove(&kept);
        set(second.cargo("build").under(&strace)).run().ok().all_hit();
        assert!(fs::read(exe(&second)).unwrap() == compiled, "the compiler's bytes");
        assert_eq!(fs::metadata(exe(&second)).unwrap().mode(), mode);
        assert_eq!(second.execute("target/debug/app").stdout, said);
        [&first, &second].into_iter().for_each(|tree| tree.assert_fresh("build"));
        before == Some(inode(&exe(&second)))
    };
    let as_is: &dyn Fn(Run<'_>) -> Run<'_> = &|run| run;

    assert!(!restore(&|run| run.env("KACHE_MAX_SIZE", "100MiB")));
    assert!(spares().is_empty(), "a twentieth of the cache would not hold it");
    assert!(!restore(as_is), "the first is copied");
    for _ in 0..2 {
        assert_eq!(spares().len(), 1);
        assert!(restore(as_is), "the next one is the spare");
        fs::write(exe(&second), "overwritten").unwrap();
    }
    for switch in [("KACHE_SPARES", "0"), ("KACHE_VERIFY_RESTORES", "1")] {
        assert!(!restore(&|run| run.env(switch.0, switch.1)), "{switch:?}");
    }
    let seal = |spare: &Path| {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_007);
        fs::File::options().write(true).open(spare).unwrap().set_modified(at).unwrap();
    };
    let damages: [&dyn Fn(&Path); 4] = [
        &|spare| {
            fs::File::options().write(true).open(spare).unwrap().set_len(9 << 20).unwrap();
            seal(spare);
        },
        &|spare| {
            fs::File::options().write(true).open(spare).unwrap().set_modified(std::time::SystemTime::now()).unwrap()
        },
        &|spare| fs::hard_link(spare, space.path("linked")).unwrap(),
        &|spare| fs::rename(spare.parent().unwrap(), space.cache().join("v1/spares/another-boot")).unwrap(),
    ];
    for (n, damage) in damages.iter().enumerate() {
        damage(&spares()[0]);
        assert!(!restore(as_is), "damage {n} is not used");
    }
    assert!(spares().iter().any(|spare| spare.parent().unwrap().ends_with("another-boot")));
    space.cli("gc").run().ok();
    assert!(!space.cache().join("v1/spares/another-boot").exists(), "a spare of another boot goes");
    restore(as_is);
    assert!(restore(as_is));

    let mut bytes = fs::read(&spares()[0]).unwrap();
    bytes[4096] ^= 1;
    fs::write(&spares()[0], bytes).unwrap();
    exits(&space.cli("doctor --verify").run(), 1);
    assert_eq!(spares().len(), 1, "it is only told of");
    exits(&space.cli("doctor --repair").run(), 1);
    assert!(spares().is_empty(), "what is damaged is removed");

    assert!(!restore(as_is));
    for step in 0.. {
        assert!(step < 50, "no end of the steps");
        let app_anew = || {
            second.cargo("clean -p app").plain().run().ok();
            remove(&kept);
            second.cargo("build")
        };
        let killed = !app_anew().env("KACHE_KILL_AT", step.to_string()).run().status.success();
        app_anew().under(&strace).run().ok().all_hit();
        assert!(fs::read(exe(&second)).unwrap() == compiled, "the compiler's bytes");
        if !killed {
            assert!(step > 3, "taking a spare has steps");
            break;
        }
    }
    assert_eq!(spares().len(), 1);
    space.cli("purge --yes").run().ok();
    assert!(spares().is_empty());
}

/// Guards: a program whose tree was removed comes back by its old file, if that is as the compiler left it and nobody's;
/// what is read as an input is not touched, and what a person did to the old file never shows.
#[test]
fn a_removed_tree_gets_its_program_back() {
    const NAME: &str = "a_removed_tree_gets_its_program_back";
    let disk = match Disk::new(&["mkfs.ext4", "-q"]) {
        Ok(disk) => disk,
        Err(why) => return skip(NAME, &why),
    };
    let space = Space::inside(&disk.at);
    let [first, second] = ["a", "second/b"].map(|at| space.tree(at));
    for tree in [&first, &second] {
        app_with_much(tree);
        let wait = "if std::env::args().nth(1).is_some() { std::io::stdin().read_line(&mut String::new()).unwrap(); }";
        tree.write("src/main.rs", &format!("fn main() {{ {wait} println!(\"{{}}\", part::tell()); }}\n"));
    }
    let exe = |tree: &Tree<'_>| tree.path.join("target/debug/app");
    let inode = |file: &Path| fs::metadata(file).unwrap().ino();
    second.cargo("build").plain().run().ok();
    let (mode, said) = (fs::metadata(exe(&second)).unwrap().mode(), second.execute("target/debug/app").stdout);
    second.clean();
    let kept = || files_below(&space.cache().join("v1/spares/kept"));
    // Nothing is copied ahead here: only the old file tells.
    fn build<'s>(tree: &Tree<'s>) -> Run<'s> {
        tree.cargo("build").env("KACHE_MAX_SIZE", "400MiB")
    }
    build(&first).env("KACHE_SPARES", "0").run().ok();
    assert!(kept().is_empty());
    space.cli("purge --yes").run().ok();
    first.clean();
    build(&first).run().ok();
    let compiled = fs::read(exe(&first)).unwrap();
    assert_eq!(kept().len(), 1, "the program");
    let links = |file: &Path| fs::metadata(file).unwrap().nlink();
    for file in files_below(&first.path.join("target/debug/deps")) {
        let ours = file.extension().is_none() && links(&file) == 3;
        assert!(ours || links(&file) == 1 || file.extension().is_some_and(|e| e == "rlib"), "{}", file.display());
    }

    // Removes the first tree, restores it, and tells whether its program is the old file.
    let restore = |set: &dyn Fn(Run<'_>) -> Run<'_>| {
        // As long as it is open, no other file gets its number.
        let before = fs::File::open(exe(&first)).unwrap();
        first.clean();
        set(build(&first)).run().ok().all_hit();
        assert!(fs::read(exe(&first)).unwrap() == compiled, "the compiler's bytes");
        assert_eq!(fs::metadata(exe(&first)).unwrap().mode(), mode);
        assert_eq!(first.execute("target/debug/app").stdout, said);
        first.assert_fresh("build");
        before.metadata().unwrap().ino() == inode(&exe(&first))
    };
    let as_is: &dyn Fn(Run<'_>) -> Run<'_> = &|run| run;
    for _ in 0..2 {
        assert!(restore(as_is), "the old file");
    }
    fs::set_permissions(exe(&first), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(restore(as_is), "with the mode of a new one");

    build(&second).run().ok().all_hit();
    assert_ne!(inode(&exe(&first)), inode(&exe(&second)), "each tree has its own");
    second.clean();
    let uses: [&dyn Fn(); 4] = [
        &|| {
            let file = fs::File::options().write(true).open(exe(&first)).unwrap();
            let written = file.metadata().unwrap().modified().unwrap();
            std::os::unix::fs::FileExt::write_at(&file, b"another", 4096).unwrap();
            file.set_modified(written).unwrap();
        },
        &|| fs::write(exe(&first), "short").unwrap(),
        &|| fs::hard_link(exe(&first), space.path("linked")).unwrap(),
        &|| std::os::unix::fs::chown(exe(&first), Some(65534), None).unwrap(),
    ];
    for (n, make_use) in uses.iter().enumerate() {
        make_use();
        assert!(!restore(as_is), "after use {n} it is another file");
        assert!(restore(as_is));
    }
    assert!(fs::read(space.path("linked")).unwrap() == compiled);
    let mut running =
        Command::new(exe(&first)).arg("wait").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert!(!restore(as_is), "a program that runs is still somebody's");
    running
        .stdin
        .take()
        .unwrap()
        .write_all(
            b"
",
        )
        .unwrap();
    assert!(running.wait_with_output().unwrap().status.success());
    assert!(restore(as_is));
    for switch in [("KACHE_SPARES", "0"), ("KACHE_VERIFY_RESTORES", "1")] {
        assert!(!restore(&|run| run.env(switch.0, switch.1)), "{switch:?}");
    }
    remove(&space.cache().join("v1/spares"));
    assert!(!restore(&|run| run.env("KACHE_MAX_SIZE", "100MiB")), "a twentieth of the cache would not hold it");
    assert!(kept().is_empty());
    assert!(!restore(as_is));

    for step in 0.. {
        assert!(step < 60, "no end of the steps");
        first.clean();
        let killed = !build(&first).env("KACHE_KILL_AT", step.to_string()).run().status.success();
        build(&first).run().ok();
        assert!(fs::read(exe(&first)).unwrap() == compiled, "the compiler's bytes");
        if !killed {
            break;
        }
    }
    assert_eq!(kept().len(), 1);
    fs::write(exe(&first), "what is in a tree is no damage").unwrap();
    says(&space.cli("doctor --verify").run(), &["all whole"]);
    space.cli("purge --yes").run().ok();
    assert!(kept().is_empty());
}
