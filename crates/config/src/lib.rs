//! Settings: one table, each with name, variable, default, parser and doc together.
//!
//! Precedence: environment over project `.kache.toml` over the user's file over defaults. Knows nothing about what the
//! settings do. A file that can't be read or understood is a warning and the defaults; it never fails a build.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
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
    pub spares: bool,
    pub key_salt: String,
    pub too_new_ms: u32,
    pub lock_seconds: u64,
    pub log: LogLevel,
    pub log_file: Option<PathBuf>,
    /// For fault injection in debug builds.
    pub kill_at: Option<u32>,
    /// The values that were given and understood, the strongest of each setting last.
    pub given: Vec<Given>,
    /// What was wrong with the files or variables, for one line on standard error.
    pub warnings: Vec<String>,
}

/// Who says what a setting is, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Default,
    User,
    Project,
    Environment,
}

impl Source {
    pub const fn name(self) -> &'static str {
        match self {
            Source::Default => "default",
            Source::User => "user",
            Source::Project => "project",
            Source::Environment => "environment",
        }
    }
}

/// A value that someone gave to a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub name: &'static str,
    pub source: Source,
    pub value: String,
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

/// What values of a setting look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Flag,
    Choice(&'static [&'static str]),
    Number,
    Size,
    /// An absolute path.
    Place,
    /// A program, by path or by a name that is searched on `PATH`.
    Program,
    Text,
    /// Several, in a variable separated by commas.
    List,
}

impl Kind {
    /// What it takes, as the end of "must be …".
    pub fn accepts(self) -> String {
        match self {
            Kind::Flag => "true or false".into(),
            Kind::Choice(names) => match names {
                [first @ .., last] => format!("{} or {last}", first.join(", ")),
                [] => String::new(),
            },
            Kind::Number => "a whole number".into(),
            Kind::Size => "a size such as 20GiB".into(),
            Kind::Place => "an absolute path".into(),
            Kind::Program => "a program".into(),
            Kind::Text => "any text".into(),
            Kind::List => "a list".into(),
        }
    }
}

/// One setting.
pub struct Setting {
    /// Name in the files: `section.key`.
    pub name: &'static str,
    pub variable: &'static str,
    pub kind: Kind,
    /// For people.
    pub default: &'static str,
    pub doc: &'static str,
    apply: fn(&mut Settings, &str) -> Option<()>,
    /// The resolved value, in the form `apply` reads.
    pub show: fn(&Settings) -> String,
}

impl Setting {
    pub fn named(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|s| s.name == name)
    }

    /// Takes a value; `Err` says what would be one.
    pub fn set(&self, settings: &mut Settings, value: &str) -> Result<(), String> {
        (self.apply)(settings, value).ok_or_else(|| format!("must be {}", self.kind.accepts()))
    }

    /// Its table and its key there.
    pub fn section_and_key(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name))
    }
}

/// The table: help, reference and parsing come from here.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "cache.dir",
        variable: "KACHE_CACHE_DIR",
        kind: Kind::Place,
        default: "$XDG_CACHE_HOME/kache or ~/.cache/kache",
        doc: "Where the cache is. Hard links and reflinks need it on the file system of the build trees.",
        apply: |s, v| set(&mut s.cache_dir, path(v)),
        show: |s| shown(&Some(&s.cache_dir)),
    },
    Setting {
        name: "cache.max_size",
        variable: "KACHE_MAX_SIZE",
        kind: Kind::Size,
        default: "50GiB",
        doc: "Size the cache is kept below by evicting what was used least recently (bytes, or with KiB, MiB, GiB, TiB).",
        apply: |s, v| set(&mut s.max_size, size(v).ok()),
        show: |s| shown_size(s.max_size),
    },
    Setting {
        name: "cache.disabled",
        variable: "KACHE_DISABLED",
        kind: Kind::Flag,
        default: "false",
        doc: "Run every tool directly.",
        apply: |s, v| set(&mut s.disabled, flag(v)),
        show: |s| s.disabled.to_string(),
    },
    Setting {
        name: "cache.observe",
        variable: "KACHE_OBSERVE",
        kind: Kind::Flag,
        default: "true",
        doc: "Learn inputs by observing the tool. Without it only declared inputs count, and links pass through.",
        apply: |s, v| set(&mut s.observe, flag(v)),
        show: |s| s.observe.to_string(),
    },
    Setting {
        name: "cache.incremental",
        variable: "KACHE_INCREMENTAL",
        kind: Kind::Flag,
        default: "true",
        doc: "Leave cargo's incremental compilation as it is. `false` removes `-C incremental` from every compile.",
        apply: |s, v| set(&mut s.incremental, flag(v)),
        show: |s| s.incremental.to_string(),
    },
    Setting {
        name: "cache.build_scripts",
        variable: "KACHE_BUILD_SCRIPTS",
        kind: Kind::Flag,
        default: "true",
        doc: "Cache the runs of cargo build scripts.",
        apply: |s, v| set(&mut s.build_scripts, flag(v)),
        show: |s| s.build_scripts.to_string(),
    },
    Setting {
        name: "cache.exclude",
        variable: "KACHE_EXCLUDE",
        kind: Kind::List,
        default: "",
        doc: "Names of what is never cached: of crates, of packages with a build script, of C sources and what is made of them, of commands. `*` stands for anything. In the variable separated by commas.",
        apply: |s, v| set(&mut s.exclude, list(v)),
        show: |s| s.exclude.join(","),
    },
    Setting {
        name: "cache.fallback",
        variable: "KACHE_FALLBACK",
        kind: Kind::Program,
        default: "",
        doc: "A second compiler wrapper that gets what kache declines.",
        apply: |s, v| set(&mut s.fallback, Some(Some(PathBuf::from(v)).filter(|_| !v.is_empty()))),
        show: |s| shown(&s.fallback),
    },
    Setting {
        name: "cache.verify_restores",
        variable: "KACHE_VERIFY_RESTORES",
        kind: Kind::Flag,
        default: "false",
        doc: "Hash every blob before it is restored.",
        apply: |s, v| set(&mut s.verify_restores, flag(v)),
        show: |s| s.verify_restores.to_string(),
    },
    Setting {
        name: "cache.spares",
        variable: "KACHE_SPARES",
        kind: Kind::Flag,
        default: "true",
        doc: "Where files can't be cloned, keep large programs of removed trees, and the next copy of a large restored output, ready.",
        apply: |s, v| set(&mut s.spares, flag(v)),
        show: |s| s.spares.to_string(),
    },
    Setting {
        name: "cache.key_salt",
        variable: "KACHE_KEY_SALT",
        kind: Kind::Text,
        default: "",
        doc: "Part of every key: change it to start afresh.",
        apply: |s, v| set(&mut s.key_salt, Some(v.to_string())),
        show: |s| s.key_salt.clone(),
    },
    Setting {
        name: "cache.path_only_env_vars",
        variable: "KACHE_PATH_ONLY_ENV_VARS",
        kind: Kind::List,
        default: "",
        doc: "Variables whose values only say where things are: known roots in them do not bind an entry. Separated by commas.",
        apply: |s, v| set(&mut s.path_only_env_vars, list(v)),
        show: |s| s.path_only_env_vars.join(","),
    },
    Setting {
        name: "cache.too_new_ms",
        variable: "KACHE_TOO_NEW_MS",
        kind: Kind::Number,
        default: "0",
        doc: "A file that changed less than this before its reader started, or later, is used but the result not stored (milliseconds; for file systems whose clock is another machine's).",
        apply: |s, v| set(&mut s.too_new_ms, number(v)),
        show: |s| s.too_new_ms.to_string(),
    },
    Setting {
        name: "cache.lock_seconds",
        variable: "KACHE_LOCK_SECONDS",
        kind: Kind::Number,
        default: "600",
        doc: "How long to wait for another process that compiles the same thing before compiling it too (seconds).",
        apply: |s, v| set(&mut s.lock_seconds, number(v)),
        show: |s| s.lock_seconds.to_string(),
    },
    Setting {
        name: "cc.compiler",
        variable: "KACHE_CC",
        kind: Kind::Program,
        default: "cc on PATH",
        doc: "The compiler that `kache cc`, or a shim named `cc`, stands for.",
        apply: |s, v| set(&mut s.cc, Some(Some(PathBuf::from(v)).filter(|_| !v.is_empty()))),
        show: |s| shown(&s.cc),
    },
    Setting {
        name: "cc.cxx_compiler",
        variable: "KACHE_CXX",
        kind: Kind::Program,
        default: "c++ on PATH",
        doc: "The compiler that `kache c++`, or a shim named `c++`, stands for.",
        apply: |s, v| set(&mut s.cxx, Some(Some(PathBuf::from(v)).filter(|_| !v.is_empty()))),
        show: |s| shown(&s.cxx),
    },
    Setting {
        name: "cc.source_date_epoch",
        variable: "KACHE_SOURCE_DATE_EPOCH",
        kind: Kind::Choice(&["keep", "pin"]),
        default: "keep",
        doc: "`pin` sets SOURCE_DATE_EPOCH to 1000000000 for C and C++ compiles that have none, so that uses of __DATE__ and __TIME__ can be cached; `keep` leaves it as it is.",
        apply: |s, v| set(&mut s.pin_source_date_epoch, pinned(v)),
        show: |s| if s.pin_source_date_epoch { "pin".into() } else { "keep".into() },
    },
    Setting {
        name: "cc.extra_allowlist_flags",
        variable: "KACHE_EXTRA_ALLOWLIST_FLAGS",
        kind: Kind::List,
        default: "",
        doc: "Flags that compiles may have without observation beside those of the table (docs/cc-flags.md); `*` stands for anything. Separated by commas.",
        apply: |s, v| set(&mut s.extra_allowlist_flags, list(v)),
        show: |s| s.extra_allowlist_flags.join(","),
    },
    Setting {
        name: "paths.base_dir",
        variable: "KACHE_BASE_DIR",
        kind: Kind::Place,
        default: "",
        doc: "A directory whose place does not matter to results: mapped in whatever tools write.",
        apply: |s, v| set(&mut s.base_dir, place(v)),
        show: |s| shown(&s.base_dir),
    },
    Setting {
        name: "log.level",
        variable: "KACHE_LOG",
        kind: Kind::Choice(&["off", "warn", "info", "debug"]),
        default: "off",
        doc: "What goes to the log file: off, warn, info, debug.",
        apply: |s, v| set(&mut s.log, level(v)),
        show: |s| s.log.name().into(),
    },
    Setting {
        name: "log.file",
        variable: "KACHE_LOG_FILE",
        kind: Kind::Place,
        default: "<cache>/kache.log",
        doc: "The log file. At 16 MiB it becomes `<file>.1`, in the place of the one before, and a new one begins.",
        apply: |s, v| set(&mut s.log_file, place(v)),
        show: |s| shown(&s.log_file),
    },
];

/// The project's own file, in its top directory.
pub const PROJECT_FILE: &str = ".kache.toml";

/// Names the user's configuration file.
pub const CONFIG_VARIABLE: &str = "KACHE_CONFIG";
const KILL_VARIABLE: &str = "KACHE_KILL_AT";

fn set<T>(slot: &mut T, value: Option<T>) -> Option<()> {
    *slot = value?;
    Some(())
}

fn path(v: &str) -> Option<PathBuf> {
    Some(PathBuf::from(v)).filter(|p| p.is_absolute())
}

/// A path, or none.
fn place(v: &str) -> Option<Option<PathBuf>> {
    if v.is_empty() { Some(None) } else { path(v).map(Some) }
}

fn flag(v: &str) -> Option<bool> {
    match v {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" | "" => Some(false),
        _ => None,
    }
}

fn pinned(v: &str) -> Option<bool> {
    match v {
        "pin" => Some(true),
        "keep" | "" => Some(false),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(v: &str) -> Option<T> {
    v.parse().ok()
}

fn list(v: &str) -> Option<Vec<String>> {
    Some(v.split(',').map(str::trim).filter(|s| !s.is_empty()).map(String::from).collect())
}

fn level(v: &str) -> Option<LogLevel> {
    match v {
        "off" | "0" | "" => Some(LogLevel::Off),
        "warn" => Some(LogLevel::Warn),
        "info" => Some(LogLevel::Info),
        "debug" | "1" => Some(LogLevel::Debug),
        _ => None,
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
    /// What holds where nobody says anything.
    pub fn defaults(env: &dyn Fn(&str) -> Option<String>) -> Settings {
        let cache_dir = match (env("XDG_CACHE_HOME").as_deref().and_then(path), env("HOME").as_deref().and_then(path)) {
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
            spares: true,
            key_salt: String::new(),
            too_new_ms: 0,
            lock_seconds: 600,
            log: LogLevel::Off,
            log_file: None,
            kill_at: None,
            given: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Resolves all settings. `env` looks a variable up; from `dirs` the search for `.kache.toml` goes upward.
    pub fn resolve<P: AsRef<Path>>(env: &dyn Fn(&str) -> Option<String>, dirs: &[P]) -> Settings {
        let mut settings = Settings::defaults(env);
        match user_file(env) {
            Ok(file) => file.into_iter().for_each(|file| settings.apply_file(Source::User, &file)),
            Err(why) => settings.warnings.push(why),
        }
        if let Some(file) = project_file(dirs) {
            settings.apply_file(Source::Project, &file);
        }
        for setting in SETTINGS {
            if let Some(value) = env(setting.variable)
                && let Err(why) = settings.take(setting, Source::Environment, &value)
            {
                settings.warnings.push(format!("{}: {why}", setting.variable));
            }
        }
        settings.kill_at = env(KILL_VARIABLE).and_then(|v| v.parse().ok());
        settings
    }

    /// Who says what holds now.
    pub fn source(&self, name: &str) -> Source {
        self.given.iter().rfind(|g| g.name == name).map_or(Source::Default, |g| g.source)
    }

    /// What was wrong, in one line.
    pub fn warning(&self) -> Option<String> {
        match self.warnings.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            [first, rest @ ..] => Some(format!("{first} (and {} more: kache config list)", rest.len())),
        }
    }

    fn take(&mut self, setting: &Setting, source: Source, value: &str) -> Result<(), String> {
        setting.set(self, value).map_err(|why| format!("{why} (is {value:?})"))?;
        self.given.push(Given { name: setting.name, source, value: value.into() });
        Ok(())
    }

    fn apply_file(&mut self, source: Source, file: &Path) {
        let sections = match read(file) {
            Ok(sections) => sections,
            Err(why) => return self.warnings.push(format!("{}: {why}; it does not count", file.display())),
        };
        for (section, keys) in sections.0 {
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let done = match Setting::named(&name) {
                    Some(setting) => text_of(&value).and_then(|v| self.take(setting, source, &v)),
                    None => Err("no such setting".into()),
                };
                if let Err(why) = done {
                    self.warnings.push(format!("{}: {name}: {why}", file.display()));
                }
            }
        }
    }
}

/// Nobody writes more settings than this.
const FILE_LIMIT: u64 = 1 << 20;

/// A file's tables; none where there is no file.
fn read(file: &Path) -> Result<Sections, String> {
    let text = match std::fs::metadata(file) {
        // Reading a pipe or a device may never end; /dev/null says "no file" plainly.
        Ok(meta) if !meta.is_file() && file != Path::new("/dev/null") => return Err("is not a file".into()),
        Ok(meta) if meta.len() > FILE_LIMIT => return Err("is too large".into()),
        Ok(_) => std::fs::read_to_string(file).map_err(|e| e.to_string())?,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => String::new(),
        Err(e) => return Err(e.to_string()),
    };
    toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(1, |at| 1 + text[..at.start.min(text.len())].matches('\n').count());
        format!("line {line}: {}", e.message())
    })
}

/// Where the user's file is: `KACHE_CONFIG` (empty: nowhere), else `$XDG_CONFIG_HOME/kache/config.toml`, else
/// `~/.config/kache/config.toml`. Compilers run in many directories, so a relative one would be another in each.
pub fn user_file(env: &dyn Fn(&str) -> Option<String>) -> Result<Option<PathBuf>, String> {
    match env(CONFIG_VARIABLE) {
        Some(v) if v.is_empty() => Ok(None),
        Some(v) => match path(&v) {
            Some(file) => Ok(Some(file)),
            None => Err(format!("{CONFIG_VARIABLE}: must be {} (is {v:?})", Kind::Place.accepts())),
        },
        None => {
            let dir = env("XDG_CONFIG_HOME").as_deref().and_then(path);
            let dir = dir.or_else(|| env("HOME").as_deref().and_then(path).map(|home| home.join(".config")));
            Ok(dir.map(|dir| dir.join("kache/config.toml")))
        }
    }
}

/// The project's file: the nearest `.kache.toml` upward from the first of `dirs` that has one. Not what another user has put
/// into a directory that all may write to (`/tmp`): settings name programs that are run.
pub fn project_file<P: AsRef<Path>>(dirs: &[P]) -> Option<PathBuf> {
    let upward = dirs.iter().enumerate().flat_map(|(n, dir)| {
        let before = &dirs[..n];
        // What lies above one that was looked at is known.
        dir.as_ref().ancestors().take_while(|d| !before.iter().any(|b| b.as_ref().starts_with(d)))
    });
    upward.map(|d| d.join(PROJECT_FILE)).find(|p| p.is_file() && !kache_os::is_planted(p))
}

/// A file's value in the form of a variable's.
pub fn text_of(value: &toml::Value) -> Result<String, String> {
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
        Settings::resolve(&|name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()), &[cwd])
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
        let emptied = resolve(&[vars[0], ("KACHE_EXCLUDE", "")], &dir);
        assert_eq!((emptied.exclude.len(), emptied.source("cache.exclude")), (0, Source::Environment));
        assert_eq!((s.max_size, s.key_salt.as_str(), s.observe), (1 << 30, "p", true));
        assert_eq!(s.exclude, ["a", "b*"]);
        assert_eq!(s.warnings, Vec::<String>::new());
        let sources = ["cache.max_size", "cache.key_salt", "cache.observe", "cache.dir"].map(|name| s.source(name));
        assert_eq!(sources, [Source::User, Source::Project, Source::Environment, Source::Default]);
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
            setting.set(&mut after, &(setting.show)(&before)).unwrap();
        }
        after.given = before.given.clone();
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
