//! A filesystem of a chosen kind in a file, for one benchmark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::system::{Done, about, find_on_path, is_root, output, told};

pub struct Disk {
    at: PathBuf,
}

impl Disk {
    pub fn new(kind: &str, root: &Path) -> Done<Disk> {
        let make: &[&str] = match kind {
            "btrfs" => &["mkfs.btrfs", "-q", "-f"],
            "xfs" => &["mkfs.xfs", "-q", "-f", "-m", "reflink=1"],
            "ext4" => &["mkfs.ext4", "-q", "-F"],
            _ => return Err(format!("no filesystem {kind:?}: btrfs, xfs or ext4")),
        };
        if !is_root() {
            return Err("--fs needs root, to mount".into());
        }
        let tool = find_on_path(make[0]).ok_or_else(|| format!("{} is not installed", make[0]))?;
        let (image, at) = (root.join(format!("{kind}.image")), root.join(kind));
        fs::create_dir_all(&at).map_err(|e| about(at.display(), e))?;
        let sized = fs::File::create(&image).and_then(|f| f.set_len(12 << 30));
        sized.map_err(|e| about(image.display(), e))?;
        told(Command::new(tool).args(&make[1..]).arg(&image))?;
        told(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        fs::remove_file(&image).map_err(|e| about(image.display(), e))?;
        Ok(Disk { at })
    }

    pub fn at(&self) -> &Path {
        &self.at
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = told(Command::new("umount").arg("-l").arg(&self.at));
    }
}

/// Bytes in use on the filesystem of this directory, once everything is written.
pub fn used(dir: &Path) -> Done<u64> {
    told(Command::new("sync").arg("-f").arg(dir))?;
    let out = output(Command::new("df").args(["-B1", "--output=used"]).arg(dir))?;
    out.lines().nth(1).and_then(|l| l.trim().parse().ok()).ok_or_else(|| format!("df: {out}"))
}
