//! What is given to users: the tree of an installation, an archive of it, and a Debian package.
//!
//! Knows where a system keeps things; what is in them comes from the programs themselves and from `Cargo.toml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::system::{Done, about, cargo, find_on_path, output, release_build, root, told};

/// Where each shell's completions lie; the same places as in the Debian package's assets in `Cargo.toml`.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/kache"),
    ("zsh", "share/zsh/vendor-completions/_kache"),
    ("fish", "share/fish/vendor_completions.d/kache.fish"),
];

/// All of it lies in `target/dist`: `tree` is that of an installation (`bin`, `share`), which the Debian package's assets name.
pub fn run() -> Done {
    let dist = root().join("target/dist");
    let tree = dist.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|e| about(tree.display(), e))?;
    }
    let kache = release_build()?;
    for program in [&kache, &kache.with_file_name("kache-cli")] {
        let place = tree.join("bin").join(program.file_name().unwrap_or_default());
        copy(program, &place)?;
        told(Command::new("strip").arg(place))?;
    }
    let pages = tree.join("share/man/man1");
    told(Command::new(&kache).arg("man").arg(&pages))?;
    write(&pages.join("kache-cli.1"), ".so man1/kache.1\n")?;
    for (shell, place) in COMPLETIONS {
        write(&tree.join(place), &output(Command::new(&kache).args(["completions", shell]))?)?;
    }
    let doc = tree.join("share/doc/kache");
    for file in ["LICENSE", "README.md"] {
        copy(&root().join(file), &doc.join(file))?;
    }
    copy(&root().join("CHANGELOG.md"), &doc.join("changelog"))?;
    copy(&root().join("docs/json.schema.json"), &doc.join("json.schema.json"))?;
    let mut compressed: Vec<PathBuf> =
        fs::read_dir(&pages).map_err(|e| about(pages.display(), e))?.flatten().map(|page| page.path()).collect();
    compressed.sort();
    compressed.push(doc.join("changelog"));
    output(Command::new("gzip").arg("-9n").args(compressed))?;
    let metadata =
        output(Command::new(cargo()).args(["metadata", "--no-deps", "--format-version=1"]).current_dir(root()))?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|e| about("cargo metadata", e))?;
    let package = metadata["packages"].as_array().into_iter().flatten().find(|p| p["name"] == "kache");
    let package = package.ok_or("cargo metadata names no kache")?;
    archive(&dist, package)?;
    debian(&dist, package)
}

/// `kache-VERSION-TARGET.tar.gz` and its digest. Two runs on one commit give the same bytes.
fn archive(dist: &Path, package: &Value) -> Done {
    let told_of = output(Command::new("rustc").arg("-vV"))?;
    let host = told_of.lines().find_map(|l| l.strip_prefix("host: ")).ok_or("rustc -vV tells no host")?;
    let name = format!("kache-{}-{host}", env!("CARGO_PKG_VERSION"));
    let file = format!("{name}.tar.gz");
    let packed = [
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=u=rwX,go=rX",
        "--use-compress-program=gzip -9n",
    ];
    let mut tar = Command::new("tar");
    tar.args(packed).arg(format!("--mtime=@{}", commit_time("%ct")?)).arg(format!("--transform=s,^tree,{name},"));
    told(tar.arg("-cf").arg(&file).arg("tree").current_dir(dist))?;
    let digest = output(Command::new("sha256sum").arg(&file).current_dir(dist))?;
    write(&dist.join(format!("{file}.sha256")), &digest)?;
    let held = output(Command::new("tar").arg("-tzf").arg(&file).current_dir(dist))?;
    binstall(package, host, &file, &held.lines().collect::<Vec<_>>())
}

/// What `cargo binstall` would ask for is the archive, and what it would look for is in it.
fn binstall(package: &Value, host: &str, file: &str, held: &[&str]) -> Done {
    let said = |key: &str| -> Done<String> {
        let template = package["metadata"]["binstall"][key].as_str().ok_or(format!("Cargo.toml: no binstall {key}"))?;
        let known = [("name", "kache"), ("version", env!("CARGO_PKG_VERSION")), ("target", host)];
        let known = known.into_iter().chain([("archive-suffix", ".tar.gz"), ("binary-ext", "")]);
        Ok(known.fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{ {name} }}"), value)))
    };
    let (url, place) = (said("pkg-url")?, said("bin-dir")?);
    if url.rsplit('/').next() != Some(file) {
        return Err(format!("binstall would ask for {url}; the archive is {file}"));
    }
    for program in ["kache", "kache-cli"].map(|bin| place.replace("{ bin }", bin)) {
        if !held.contains(&program.as_str()) {
            return Err(format!("binstall would look for {program}, which is not in {file}"));
        }
    }
    if package["repository"].is_null() {
        eprintln!("Cargo.toml names no repository: cargo binstall finds this archive only where one is set");
    }
    Ok(())
}

fn commit_time(format: &str) -> Done<String> {
    let line = format!("--format={format}");
    Ok(output(Command::new("git").args(["log", "-1", &line]).current_dir(root()))?.trim().to_owned())
}

fn debian(dist: &Path, package: &Value) -> Done {
    if find_on_path("cargo-deb").is_none() {
        eprintln!("skipped: the Debian package: cargo-deb is not installed");
        return Ok(());
    }
    let deb = &package["metadata"]["deb"];
    let maintainer = deb["maintainer"].as_str().ok_or("Cargo.toml names no maintainer")?;
    let (version, date) = (env!("CARGO_PKG_VERSION"), commit_time("%cD")?);
    let entry = format!(
        "kache ({version}-1) unstable; urgency=medium\n\n  * /usr/share/doc/kache/changelog.gz tells what is new.\n\n \
         -- {maintainer}  {date}\n"
    );
    write(&dist.join("changelog.Debian"), &entry)?;
    let line = ["deb", "--no-build", "--package", "kache", "--output"];
    let told = output(Command::new(cargo()).args(line).arg(dist).current_dir(root()).stderr(Stdio::inherit()))?;
    let file = PathBuf::from(told.lines().last().ok_or("cargo deb names no package")?);
    let depends = deb["depends"].as_str().ok_or("Cargo.toml tells not what the Debian package depends on")?;
    let scratch = dist.join("unpacked");
    let tried = unpacked(&file, depends, &scratch);
    fs::remove_dir_all(&scratch).map_err(|e| about(scratch.display(), e))?;
    tried
}

/// What a user of the Debian package gets works, with the C library that it depends on.
fn unpacked(deb: &Path, depends: &str, scratch: &Path) -> Done {
    told(Command::new("dpkg-deb").arg("-x").arg(deb).arg(scratch))?;
    let (kache, cache) = (scratch.join("usr/bin/kache"), scratch.join("cache"));
    let version = output(Command::new(&kache).arg("--version"))?;
    if version.trim() != concat!("kache ", env!("CARGO_PKG_VERSION")) {
        return Err(format!("the package's kache says it is {version:?}"));
    }
    let mut page = Command::new("man");
    if find_on_path("man").is_some() {
        output(page.arg("-l").arg(scratch.join("usr/share/man/man1/kache.1.gz")).env("MANPAGER", "cat"))?;
    } else {
        eprintln!("skipped: the package's manual page: man is not installed");
    }
    // With a cache of its own: only what was unpacked counts.
    let run = |program: &Path, args: &[&str]| {
        let mut run = Command::new(program);
        run.args(args).env("KACHE_CONFIG", scratch.join("none.toml"));
        run.env("RUSTC_WRAPPER", &kache).env("KACHE_CACHE_DIR", &cache);
        output(&mut run)
    };
    run(&kache, &["doctor"])?;
    // Any action: then the observer lies in the cache.
    run(&kache, &["rustc", "-vV"])?;
    let tools = cache.join("v1/tools");
    let placed = output(Command::new("find").arg(&tools).args(["-name", "*.so"]))?;
    let observer = placed.lines().next().ok_or("the package's kache observes nothing")?;
    let symbols = output(Command::new("objdump").arg("-T").arg(observer))?;
    let newest = symbols.split("GLIBC_").skip(1).filter_map(glibc).max().ok_or("the observer needs no C library")?;
    let allowed = depends.split_once("libc6 (>= ").and_then(|(_, rest)| glibc(rest)).ok_or("no libc6 (>= …)")?;
    if newest > allowed {
        return Err(format!("the observer needs glibc {newest:?}; the package depends on {allowed:?}"));
    }
    eprintln!("{}: works when unpacked; its observer needs glibc {newest:?}", deb.display());
    Ok(())
}

/// A version such as `2.34`, at the beginning of a text.
fn glibc(text: &str) -> Option<(u32, u32)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut numbers = text[..end].split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn write(path: &Path, text: &str) -> Done {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir).and_then(|()| fs::write(path, text)).map_err(|e| about(path.display(), e))
}

fn copy(from: &Path, to: &Path) -> Done {
    let dir = to.parent().unwrap_or(to);
    fs::create_dir_all(dir).and_then(|()| fs::copy(from, to)).map(drop).map_err(|e| about(from.display(), e))
}
