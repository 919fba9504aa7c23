//! Settings: one table, each with name, variable, default, parser and doc together.
//!
//! Precedence: environment over project `.kache.toml` over the user's file over defaults. Knows nothing about what the
//! settings do. A file that can't be read or understood is a warning and the defaults; it never fails a build.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All settings, resolved once; everything below takes values from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub cache_dir: PathBuf,
    pub max_size: u64,
    pub disabled: bool,
    pub observe: bool,
    pub incremental: bool,
    pub build_scripts: bool,
    pub base_dir: Option<PathBuf>,
    pub path_only_env_vars: Vec<String>,
    pub exclude: Vec<String>,
    pub cc: Option<PathBuf>,
    pub cxx: Option<PathBuf>,
    pub pin_source_date_epoch: bool,
    pub extra_allowlist_flags: Vec<String>,
    pub fallback: Option<PathBuf>,
    pub verify_restores: bool,
    pub key_salt: String,
    pub too_new_ms: u32,
    pub lock_seconds: u64,
    pub log: LogLevel,
    pub log_file: Option<PathBuf>,
    /// For fault injection in debug builds.
    pub kill_at: Option<u32>,
    /// What was wrong with the files or variables, for one line on standard error.
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Off,
    Warn,
    Info,
    Debug,
}

impl LogLevel {
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Off => "off",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}

/// One setting.
pub struct Setting {
    /// Name in the files: `section.key`.
    pub name: &'static str,
    pub variable: &'static str,
    /// For people.
    pub default: &'static str,
    pub doc: &'static str,
    apply: fn(&mut Settings, &str) -> Result<(), String>,
    /// The resolved value, in the form `apply` reads.
    pub show: fn(&Settings) -> String,
}

/// The table: help, reference and parsing come from here.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "cache.dir",
        variable: "KACHE_CACHE_DIR",
        default: "$XDG_CACHE_HOME/kache or ~/.cache/kache",
        doc: "Where the cache is. Hard links and reflinks need it on the file system of the build trees.",
        apply: |s, v| set(&mut s.cache_dir, path(v)),
        show: |s| shown(&Some(&s.cache_dir)),
    },
    Setting {
        name: "cache.max_size",
        variable: "KACHE_MAX_SIZE",
        default: "50GiB",
        doc: "Size the cache is kept below by evicting what was used least recently (bytes, or with KiB, MiB, GiB, TiB).",
        apply: |s, v| set(&mut s.max_size, size(v)),
        show: |s| shown_size(s.max_size),
    },
    Setting {
        name: "cache.disabled",
        variable: "KACHE_DISABLED",
        default: "false",
        doc: "Run every tool directly.",
        apply: |s, v| set(&mut s.disabled, flag(v)),
        show: |s| s.disabled.to_string(),
    },
    Setting {
        name: "cache.observe",
        variable: "KACHE_OBSERVE",
        default: "true",
        doc: "Learn inputs by observing the tool. Without it only declared inputs count, and links pass through.",
        apply: |s, v| set(&mut s.observe, flag(v)),
        show: |s| s.observe.to_string(),
    },
    Setting {
        name: "cache.incremental",
        variable: "KACHE_INCREMENTAL",
        default: "true",
        doc: "Leave cargo's incremental compilation as it is. `false` removes `-C incremental` from every compile.",
        apply: |s, v| set(&mut s.incremental, flag(v)),
        show: |s| s.incremental.to_string(),
    },
    Setting {
        name: "cache.build_scripts",
        variable: "KACHE_BUILD_SCRIPTS",
        default: "true",
        doc: "Cache the runs of cargo build scripts.",
        apply: |s, v| set(&mut s.build_scripts, flag(v)),
        show: |s| s.build_scripts.to_string(),
    },
    Setting {
        name: "cache.exclude",
        variable: "KACHE_EXCLUDE",
        default: "",
        doc: "Crate names never cached; `*` matches any part. In the variable separated by commas.",
        apply: |s, v| set(&mut s.exclude, list(v)),
        show: |s| s.exclude.join(","),
    },
    Setting {
        name: "cache.fallback",
        variable: "KACHE_FALLBACK",
        default: "",
        doc: "A second compiler wrapper that gets what kache declines.",
        apply: |s, v| set(&mut s.fallback, Ok(Some(PathBuf::from(v)).filter(|_| !v.is_empty()))),
        show: |s| shown(&s.fallback),
    },
    Setting {
        name: "cache.verify_restores",
        variable: "KACHE_VERIFY_RESTORES",
        default: "false",
        doc: "Hash every blob before it is restored.",
        apply: |s, v| set(&mut s.verify_restores, flag(v)),
        show: |s| s.verify_restores.to_string(),
    },
    Setting {
        name: "cache.key_salt",
        variable: "KACHE_KEY_SALT",
        default: "",
        doc: "Part of every key: change it to start afresh.",
        apply: |s, v| set(&mut s.key_salt, Ok(v.to_string())),
        show: |s| s.key_salt.clone(),
    },
    Setting {
        name: "cache.path_only_env_vars",
        variable: "KACHE_PATH_ONLY_ENV_VARS",
        default: "",
        doc: "Variables whose values only say where things are: known roots in them do not bind an entry. Separated by commas.",
        apply: |s, v| set(&mut s.path_only_env_vars, list(v)),
        show: |s| s.path_only_env_vars.join(","),
    },
    Setting {
        name: "cache.too_new_ms",
        variable: "KACHE_TOO_NEW_MS",
        default: "0",
        doc: "A file that changed less than this before its reader started, or later, is used but the result not stored (milliseconds; for file systems whose clock is another machine's).",
        apply: |s, v| set(&mut s.too_new_ms, number(v)),
        show: |s| s.too_new_ms.to_string(),
    },
    Setting {
        name: "cache.lock_seconds",
        variable: "KACHE_LOCK_SECONDS",
        default: "600",
        doc: "How long to wait for another process that compiles the same thing before compiling it too (seconds).",
        apply: |s, v| set(&mut s.lock_seconds, number(v)),
        show: |s| s.lock_seconds.to_string(),
    },
    Setting {
        name: "cc.compiler",
        variable: "KACHE_CC",
        default: "cc on PATH",
        doc: "The compiler that `kache cc`, or a shim named `cc`, stands for.",
        apply: |s, v| set(&mut s.cc, Ok(Some(PathBuf::from(v)).filter(|_| !v.is_empty()))),
        show: |s| shown(&s.cc),
    },
    Setting {
        name: "cc.cxx_compiler",
        variable: "KACHE_CXX",
        default: "c++ on PATH",
        doc: "The compiler that `kache c++`, or a shim named `c++`, stands for.",
        apply: |s, v| set(&mut s.cxx, Ok(Some(PathBuf::from(v)).filter(|_| !v.is_empty()))),
        show: |s| shown(&s.cxx),
    },
    Setting {
        name: "cc.source_date_epoch",
        variable: "KACHE_SOURCE_DATE_EPOCH",
        default: "keep",
        doc: "`pin` sets SOURCE_DATE_EPOCH to 1000000000 for C and C++ compiles that have none, so that uses of __DATE__ and __TIME__ can be cached; `keep` leaves it as it is.",
        apply: |s, v| set(&mut s.pin_source_date_epoch, pinned(v)),
        show: |s| if s.pin_source_date_epoch { "pin".into() } else { "keep".into() },
    },
    Setting {
        name: "cc.extra_allowlist_flags",
        variable: "KACHE_EXTRA_ALLOWLIST_FLAGS",
        default: "",
        doc: "Flags that compiles may have without observation beside those of the table (docs/cc-flags.md); `*` stands for anything. Separated by commas.",
        apply: |s, v| set(&mut s.extra_allowlist_flags, list(v)),
        show: |s| s.extra_allowlist_flags.join(","),
    },
    Setting {
        name: "paths.base_dir",
        variable: "KACHE_BASE_DIR",
        default: "",
        doc: "A directory whose place does not matter to results: mapped in whatever tools write.",
        apply: |s, v| set(&mut s.base_dir, Ok(Some(PathBuf::from(v)).filter(|p| p.is_absolute()))),
        show: |s| shown(&s.base_dir),
    },
    Setting {
        name: "log.level",
        variable: "KACHE_LOG",
        default: "off",
        doc: "What goes to the log file: off, warn, info, debug.",
        apply: |s, v| set(&mut s.log, level(v)),
        show: |s| s.log.name().into(),
    },
    Setting {
        name: "log.file",
        variable: "KACHE_LOG_FILE",
        default: "<cache>/kache.log",
        doc: "The log file.",
        apply: |s, v| set(&mut s.log_file, Ok(Some(PathBuf::from(v)).filter(|_| !v.is_empty()))),
        show: |s| shown(&s.log_file),
    },
];

/// The project's own file, in its top directory.
pub const PROJECT_FILE: &str = ".kache.toml";

/// Names the user's configuration file.
pub const CONFIG_VARIABLE: &str = "KACHE_CONFIG";
const KILL_VARIABLE: &str = "KACHE_KILL_AT";

fn set<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

fn path(v: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(v);
    if path.is_absolute() { Ok(path) } else { Err("must be an absolute path".into()) }
}

fn flag(v: &str) -> Result<bool, String> {
    match v {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" | "" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

fn pinned(v: &str) -> Result<bool, String> {
    match v {
        "pin" => Ok(true),
        "keep" | "" => Ok(false),
        _ => Err("must be pin or keep".into()),
    }
}

fn number<T: std::str::FromStr>(v: &str) -> Result<T, String> {
    v.parse().map_err(|_| "must be a whole number".into())
}

fn list(v: &str) -> Result<Vec<String>, String> {
    Ok(v.split(',').map(str::trim).filter(|s| !s.is_empty()).map(String::from).collect())
}

fn level(v: &str) -> Result<LogLevel, String> {
    match v {
        "off" | "0" | "" => Ok(LogLevel::Off),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" | "1" => Ok(LogLevel::Debug),
        _ => Err("must be off, warn, info or debug".into()),
    }
}

/// `20GiB`, `500MB`, `1024`: bytes.
pub fn size(v: &str) -> Result<u64, String> {
    let v = v.trim();
    let digits = v.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(v.len());
    let unit: u64 = match v[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err("must be a size such as 20GiB".into()),
    };
    let number: f64 = v[..digits].parse().map_err(|_| String::from("must be a size such as 20GiB"))?;
    Ok((number * unit as f64) as u64)
}

/// Bytes in the largest unit that says them exactly.
fn shown_size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let exact = units.iter().find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    exact.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

fn shown<P: AsRef<Path>>(path: &Option<P>) -> String {
    path.as_ref().map_or_else(String::new, |p| p.as_ref().display().to_string())
}

/// A file: sections of keys.
#[derive(Deserialize)]
#[serde(transparent)]
struct Sections(BTreeMap<String, BTreeMap<String, toml::Value>>);

impl Settings {
    fn defaults(home: Option<&Path>, xdg_cache: Option<&Path>) -> Settings {
        let cache_dir = match (xdg_cache, home) {
            (Some(dir), _) => dir.join("kache"),
            (None, Some(home)) => home.join(".cache/kache"),
            (None, None) => std::env::temp_dir().join("kache"),
        };
        Settings {
            cache_dir,
            max_size: 50 << 30,
            disabled: false,
            observe: true,
            incremental: true,
            build_scripts: true,
            base_dir: None,
            path_only_env_vars: Vec::new(),
            exclude: Vec::new(),
            cc: None,
            cxx: None,
            pin_source_date_epoch: false,
            extra_allowlist_flags: Vec::new(),
            fallback: None,
            verify_restores: false,
            key_salt: String::new(),
            too_new_ms: 0,
            lock_seconds: 600,
            log: LogLevel::Off,
            log_file: None,
            kill_at: None,
            warnings: Vec::new(),
        }
    }

    /// Resolves all settings. `env` looks a variable up; `cwd` is where the search for `.kache.toml` starts upward.
    pub fn resolve(env: &dyn Fn(&str) -> Option<String>, cwd: &Path) -> Settings {
        let absolute = |v: Option<String>| v.map(PathBuf::from).filter(|p| p.is_absolute());
        let home = absolute(env("HOME"));
        let mut settings = Settings::defaults(home.as_deref(), absolute(env("XDG_CACHE_HOME")).as_deref());
        let user = user_file(env);
        for file in user.into_iter().chain(project_file(cwd)) {
            settings.apply_file(&file);
        }
        for setting in SETTINGS {
            if let Some(value) = env(setting.variable)
                && let Err(why) = (setting.apply)(&mut settings, &value)
            {
                settings.warnings.push(format!("{}: {why} (is {value:?})", setting.variable));
            }
        }
        settings.kill_at = env(KILL_VARIABLE).and_then(|v| v.parse().ok());
        settings
    }

    fn apply_file(&mut self, file: &Path) {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
            Err(e) => return self.warnings.push(format!("{}: {e}", file.display())),
        };
        let sections: Sections = match toml::from_str(&text) {
            Ok(sections) => sections,
            Err(e) => {
                let what = e.message();
                return self.warnings.push(format!("{}: {what}; using defaults", file.display()));
            }
        };
        for (section, keys) in sections.0 {
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let done = match SETTINGS.iter().find(|s| s.name == name) {
                    Some(setting) => text_of(&value).and_then(|v| (setting.apply)(self, &v)),
                    None => Err("no such setting".into()),
                };
                if let Err(why) = done {
                    self.warnings.push(format!("{}: {name}: {why}", file.display()));
                }
            }
        }
    }
}

/// Where the user's file is: `KACHE_CONFIG`, else `$XDG_CONFIG_HOME/kache/config.toml`, else `~/.config/kache/config.toml`.
pub fn user_file(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |v: Option<String>| v.map(PathBuf::from).filter(|p| p.is_absolute());
    env(CONFIG_VARIABLE).map(PathBuf::from).or_else(|| {
        let dir = absolute(env("XDG_CONFIG_HOME")).or_else(|| absolute(env("HOME")).map(|h| h.join(".config")))?;
        Some(dir.join("kache/config.toml"))
    })
}

/// The project's file: the nearest `.kache.toml` upward.
pub fn project_file(cwd: &Path) -> Option<PathBuf> {
    cwd.ancestors().map(|d| d.join(PROJECT_FILE)).find(|p| p.is_file())
}

fn text_of(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(s) => Ok(s.clone()),
        toml::Value::Integer(i) => Ok(i.to_string()),
        toml::Value::Boolean(b) => Ok(b.to_string()),
        toml::Value::Array(items) => Ok(items.iter().map(text_of).collect::<Result<Vec<_>, _>>()?.join(",")),
        _ => Err("must be a string, a number, true or false, or a list".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(vars: &[(&str, &str)], cwd: &Path) -> Settings {
        let vars: Vec<(String, String)> = vars.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Settings::resolve(&|name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()), cwd)
    }

    /// Guards: environment over project over user over defaults.
    #[test]
    fn precedence() {
        let dir = std::env::temp_dir().join(format!("kache-config-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("p/q")).unwrap();
        let user = dir.join("user.toml");
        std::fs::write(&user, "[cache]\nmax_size = \"1GiB\"\nkey_salt = \"u\"\nexclude = [\"a\", \"b*\"]\n").unwrap();
        std::fs::write(dir.join("p/.kache.toml"), "[cache]\nkey_salt = \"p\"\nobserve = false\n").unwrap();
        let vars = [("KACHE_CONFIG", user.to_str().unwrap()), ("KACHE_OBSERVE", "1")];
        let s = resolve(&vars, &dir.join("p/q"));
        assert_eq!((s.max_size, s.key_salt.as_str(), s.observe), (1 << 30, "p", true));
        assert_eq!(s.exclude, ["a", "b*"]);
        assert_eq!(s.warnings, Vec::<String>::new());
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Guards: broken files and values warn, name the place, and leave the defaults.
    #[test]
    fn broken_values_warn() {
        let dir = std::env::temp_dir().join(format!("kache-config-broken-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let user = dir.join("user.toml");
        std::fs::write(&user, "[cache\n").unwrap();
        let s = resolve(&[("KACHE_CONFIG", user.to_str().unwrap()), ("KACHE_MAX_SIZE", "much")], &dir);
        assert_eq!(s.max_size, 50 << 30);
        assert_eq!(s.warnings.len(), 2, "{:?}", s.warnings);
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Guards: what is shown of a setting reads back as the same value.
    #[test]
    fn shown_values_read_back() {
        let vars =
            [("KACHE_MAX_SIZE", "1536MiB"), ("KACHE_EXCLUDE", "a,b*"), ("KACHE_BASE_DIR", "/b"), ("KACHE_LOG", "info")];
        let before = resolve(&vars, Path::new("/"));
        let mut after = resolve(&[], Path::new("/"));
        for setting in SETTINGS {
            (setting.apply)(&mut after, &(setting.show)(&before)).unwrap();
        }
        assert_eq!(after, before);
        assert_eq!([shown_size(50 << 30), shown_size(1500), shown_size(0)], ["50GiB", "1500", "0"]);
    }

    #[test]
    fn sizes() {
        assert_eq!(size("20GiB"), Ok(20 << 30));
        assert_eq!(size("1.5 MB"), Ok(1_500_000));
        assert!(size("x").is_err());
    }
}
