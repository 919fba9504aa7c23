//! What is known of gcc's and clang's flags, most of it for the declared mode: one table, which the documentation is made
//! from.
//!
//! Every argument is in the key. The table says whether that, with the files a dependency file names, is enough.

use crate::pattern::matches;

/// How a flag's effect on the result is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Its text, which is in the key, says all.
    Modelled,
    /// It decides which files are read; these are inputs, and so are the places that were searched before.
    Captured,
    /// It does nothing when compiling without linking.
    NoEffect,
    /// It names an output.
    Output,
    /// The unit passes through.
    Refused,
}

impl Treatment {
    pub const fn word(self) -> &'static str {
        match self {
            Treatment::Modelled => "modelled",
            Treatment::Captured => "captured",
            Treatment::NoEffect => "no effect",
            Treatment::Output => "output",
            Treatment::Refused => "refused",
        }
    }
}

use Treatment::{Captured, Modelled, NoEffect, Output, Refused};

/// Pattern, treatment, reason. The first row that matches counts; what no row matches is refused. Behind ` _` the value may be
/// the next argument (gcc's and clang's manuals).
pub const FLAGS: &[(&str, Treatment, &str)] = &[
    ("-c", Modelled, "compiles one source"),
    ("-o* _", Output, "the object"),
    ("-MD", Output, "the dependency file, beside the object or where -MF says"),
    ("-MF* _", Output, "the dependency file"),
    ("-MT* _", Output, "a name in the dependency file"),
    ("-MQ* _", Output, "a name in the dependency file"),
    ("-MP", Output, "more rules in the dependency file"),
    ("-MMD", Refused, "its dependency file leaves system headers out"),
    ("-M", Refused, "writes dependencies instead of an object"),
    ("-MM", Refused, "as -M"),
    ("-MG", Refused, "takes headers that are missing for made later"),
    ("-MJ* _", Refused, "a second kind of output"),
    ("-dependency-file _", Refused, "a second kind of output"),
    ("--serialize-diagnostics _", Refused, "a second kind of output"),
    ("-aux-info _", Refused, "a second kind of output"),
    ("-D* _", Captured, "a macro; the text is in the key"),
    ("-U* _", Captured, "a macro; the text is in the key"),
    ("-A _", Refused, "an assertion"),
    ("-I* _", Captured, "where headers are looked for"),
    ("-iquote* _", Captured, "where headers are looked for"),
    ("-isystem* _", Captured, "where headers are looked for"),
    ("-idirafter* _", Captured, "where headers are looked for"),
    ("-iprefix* _", Captured, "where headers are looked for"),
    ("-iwithprefixbefore _", Captured, "where headers are looked for"),
    ("-iwithprefix* _", Captured, "where headers are looked for"),
    ("-isysroot* _", Captured, "where headers are looked for"),
    ("-imultilib _", Refused, "where headers are looked for, as gcc tells its own parts"),
    ("-F _", Refused, "where frameworks are looked for"),
    ("--sysroot* _", Captured, "where headers are looked for"),
    ("-nostdinc", Captured, "where headers are looked for"),
    ("-nostdinc++", Captured, "where headers are looked for"),
    ("-stdlib=*", Captured, "where headers are looked for"),
    ("-include-pch* _", Refused, "a precompiled header is not in a dependency file's terms"),
    ("-include* _", Captured, "a header, named by the dependency file"),
    ("-imacros* _", Captured, "a header, named by the dependency file"),
    ("-x _", Modelled, "the language"),
    ("-xc*", Modelled, "the language"),
    ("-std=*", Modelled, "the language"),
    ("-ansi", Modelled, "the language"),
    ("-O*", Modelled, "code generation"),
    ("-mllvm _", Refused, "options of LLVM may name files"),
    ("-march=native", Modelled, "the processor's identity is in the key"),
    ("-m*", Modelled, "code generation; with =native the processor's identity is in the key"),
    ("--param* _", Modelled, "code generation"),
    ("-param _", Refused, "options of a part of the compiler"),
    ("-target _", Modelled, "code generation"),
    ("--target=*", Modelled, "code generation"),
    ("-arch _", Modelled, "code generation"),
    ("-pthread", Modelled, "a macro"),
    ("-gsplit-dwarf*", Refused, "a second output"),
    ("-grecord-command-line", Refused, "writes the command line into the object"),
    ("-gcc-toolchain _", Refused, "where the parts of the compiler are"),
    ("-g*", Modelled, "debug information"),
    ("-Wl,*", NoEffect, "for the linker"),
    ("-Wa,*", Refused, "assembler options may name files"),
    ("-Wp,*", Refused, "preprocessor options may name files"),
    ("-W*", Modelled, "warnings"),
    ("-w", Modelled, "warnings"),
    ("-pedantic*", Modelled, "warnings"),
    ("-Q*", NoEffect, "silences warnings of unused arguments"),
    ("-pipe", NoEffect, "how the parts of the driver talk"),
    ("-L* _", NoEffect, "for the linker"),
    ("-l* _", NoEffect, "for the linker"),
    ("-s", NoEffect, "for the linker"),
    ("-static*", NoEffect, "for the linker"),
    ("-shared*", NoEffect, "for the linker"),
    ("-rdynamic", NoEffect, "for the linker"),
    ("-nostdlib*", NoEffect, "for the linker"),
    ("-nodefaultlibs", NoEffect, "for the linker"),
    ("-fuse-ld=*", NoEffect, "for the linker"),
    ("-no-pie", NoEffect, "for the linker"),
    ("-pie", NoEffect, "for the linker"),
    ("-T _", Refused, "for the linker"),
    ("-u _", Refused, "for the linker"),
    ("-z _", Refused, "for the linker"),
    ("-e _", Refused, "for the linker"),
    ("-soname _", Refused, "for the linker"),
    ("-rpath _", Refused, "for the linker"),
    ("-framework _", Refused, "for the linker"),
    ("-fplugin-arg _", Refused, "for a plugin"),
    ("-fplugin*", Refused, "a plugin may do anything"),
    ("-fprofile*", Refused, "reads or writes profiles"),
    ("-fauto-profile*", Refused, "reads profiles"),
    ("-fcoverage*", Refused, "writes places that no text search finds"),
    ("-ftest-coverage", Refused, "a second output"),
    ("--coverage", Refused, "a second output"),
    ("-fmodule*", Refused, "modules are neither headers nor outputs of one compile"),
    ("-fimplicit-module*", Refused, "as -fmodules"),
    ("-fsanitize-*list=*", Refused, "a list in a file"),
    ("-fdump-*", Refused, "more outputs"),
    ("-fstack-usage", Refused, "a second output"),
    ("-fcallgraph-info*", Refused, "a second output"),
    ("-fsave-optimization-record*", Refused, "a second output"),
    ("-fpch-preprocess", Refused, "precompiled headers"),
    ("-frecord-*", Refused, "writes the command line into the object"),
    ("-fthinlto-index=*", Refused, "an index in a file"),
    ("-fembed-*", Refused, "writes the command line into the object"),
    ("-ftime-trace*", Refused, "a second output"),
    ("-fno-integrated-as", Refused, "another assembler, which clang does not name"),
    ("-fno-*", Modelled, "switches something off"),
    ("-fPIC", Modelled, "code generation"),
    ("-fpic", Modelled, "code generation"),
    ("-fPIE", Modelled, "code generation"),
    ("-fpie", Modelled, "code generation"),
    ("-flto*", Modelled, "code generation"),
    ("-ffat-lto-objects", Modelled, "code generation"),
    ("-fomit-frame-pointer", Modelled, "code generation"),
    ("-fstack-protector*", Modelled, "code generation"),
    ("-fstack-clash-protection", Modelled, "code generation"),
    ("-fcf-protection*", Modelled, "code generation"),
    ("-fvisibility*", Modelled, "code generation"),
    ("-ffunction-sections", Modelled, "code generation"),
    ("-fdata-sections", Modelled, "code generation"),
    ("-fstrict-*", Modelled, "code generation"),
    ("-fwrapv*", Modelled, "code generation"),
    ("-ftrapv", Modelled, "code generation"),
    ("-fexceptions", Modelled, "code generation"),
    ("-frtti", Modelled, "code generation"),
    ("-funwind-tables", Modelled, "code generation"),
    ("-fasynchronous-unwind-tables", Modelled, "code generation"),
    ("-fcommon", Modelled, "code generation"),
    ("-fsigned-char", Modelled, "code generation"),
    ("-funsigned-char", Modelled, "code generation"),
    ("-fshort-*", Modelled, "code generation"),
    ("-fpack-struct*", Modelled, "code generation"),
    ("-ffast-math", Modelled, "code generation"),
    ("-ffinite-math-only", Modelled, "code generation"),
    ("-ffp-*", Modelled, "code generation"),
    ("-fmath-errno", Modelled, "code generation"),
    ("-funroll-*", Modelled, "code generation"),
    ("-finline*", Modelled, "code generation"),
    ("-ftree-*", Modelled, "code generation"),
    ("-fgnu89-inline", Modelled, "code generation"),
    ("-ftls-model=*", Modelled, "code generation"),
    ("-fmerge-*", Modelled, "code generation"),
    ("-fdelete-null-pointer-checks", Modelled, "code generation"),
    ("-ftrivial-auto-var-init=*", Modelled, "code generation"),
    ("-fsanitize=*", Modelled, "code generation"),
    ("-fopenmp*", Modelled, "code generation"),
    ("-fms-*", Modelled, "the language"),
    ("-fgnu-*", Modelled, "the language"),
    ("-fpermissive", Modelled, "the language"),
    ("-ftemplate-*", Modelled, "the language"),
    ("-fconstexpr-*", Modelled, "the language"),
    ("-fchar8_t", Modelled, "the language"),
    ("-fcoroutines*", Modelled, "the language"),
    ("-fsized-deallocation", Modelled, "the language"),
    ("-faligned-*", Modelled, "the language"),
    ("-fthreadsafe-statics", Modelled, "the language"),
    ("-ffreestanding", Modelled, "the language"),
    ("-fhosted", Modelled, "the language"),
    ("-fbuiltin*", Modelled, "the language"),
    ("-fblocks", Modelled, "the language"),
    ("-frandom-seed=*", Modelled, "names in the object"),
    ("-fdebug-*", Modelled, "debug information"),
    ("-ffile-prefix-map=*", Modelled, "places in the object"),
    ("-fmacro-prefix-map=*", Modelled, "places in the object"),
    ("-fdiagnostics-*", Modelled, "messages"),
    ("-fcolor-diagnostics", Modelled, "messages"),
    ("-fansi-escape-codes", Modelled, "messages"),
    ("-fmessage-length=*", Modelled, "messages"),
    ("-fmax-errors=*", Modelled, "messages"),
    ("-ferror-limit=*", Modelled, "messages"),
    ("-fshow-*", Modelled, "messages"),
    ("-ftrack-*", Modelled, "messages"),
    ("-specs* _", Refused, "specs may do anything"),
    ("--config*", Refused, "a file of arguments"),
    ("-B* _", Refused, "where the parts of the compiler are"),
    ("-wrapper _", Refused, "another program"),
    ("-save-temps*", Refused, "more outputs"),
    ("--save-temps*", Refused, "more outputs"),
    ("-dumpbase _", Refused, "names more outputs"),
    ("-dumpbase-ext _", Refused, "names more outputs"),
    ("-dumpdir _", Refused, "names more outputs"),
    ("-Xlinker _", Refused, "options of a part of the compiler"),
    ("-Xassembler _", Refused, "options of a part of the compiler"),
    ("-Xpreprocessor _", Refused, "options of a part of the compiler"),
    ("-Xclang _", Refused, "options of a part of the compiler"),
    ("-X*", Refused, "options of a part of the compiler"),
    ("-S", Refused, "only compiles to objects are taken"),
    ("-E", Refused, "only compiles to objects are taken"),
    ("@*", Refused, "never left: response files are read first"),
];

/// Variables that make a compile pass through when they are set, and why.
pub const REFUSED_VARIABLES: &[(&str, &str)] = &[
    ("COMPILER_PATH", "where the parts of the compiler are"),
    ("GCC_EXEC_PREFIX", "where the parts of the compiler are"),
    ("DEPENDENCIES_OUTPUT", "a second output"),
    ("SUNPRO_DEPENDENCIES", "a second output"),
    ("CCC_OVERRIDE_OPTIONS", "changes the arguments"),
    ("GCC_COMPARE_DEBUG", "compiles twice"),
    ("LD_PRELOAD", "what is loaded may do anything"),
    ("LD_AUDIT", "what is loaded may do anything"),
];

/// Variables that are in the key with their values.
pub const KEY_VARIABLES: &[&str] =
    &["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH", "SOURCE_DATE_EPOCH", "LD_LIBRARY_PATH"];

/// What a row's flags look like, and whether their value may be the next argument.
fn pattern(row: &'static str) -> (&'static str, bool) {
    row.strip_suffix(" _").map_or((row, false), |pattern| (pattern, true))
}

/// Whether the flag, as it stands, has its value in the next argument.
pub fn takes_value(flag: &str) -> bool {
    FLAGS.iter().map(|(row, ..)| pattern(row)).any(|(name, next)| next && name.trim_end_matches('*') == flag)
}

/// The first flag the table does not allow. `flags`: without sources and values; `extra`: the project's own patterns.
pub fn refused<'a>(flags: &'a [String], extra: &[String]) -> Option<&'a str> {
    let allowed = |flag: &str| {
        let row = FLAGS.iter().find(|(row, ..)| matches(pattern(row).0, flag));
        row.is_some_and(|(_, treatment, _)| *treatment != Refused) || extra.iter().any(|p| matches(p, flag))
    };
    flags.iter().find(|flag| !allowed(flag)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a row that an earlier pattern hides says something that does not hold.
    #[test]
    fn no_row_is_hidden() {
        for (at, (row, ..)) in FLAGS.iter().enumerate() {
            let hidden = FLAGS[..at].iter().find(|(earlier, ..)| matches(pattern(earlier).0, pattern(row).0));
            assert!(hidden.is_none(), "{row} is hidden by {hidden:?}");
        }
    }

    #[test]
    fn refusals_name_the_flag() {
        let flags = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(refused(&flags("-c -O2 -Wall -fno-such-thing -march=native -g3 -Iinc"), &[]), None);
        for flag in [
            "-fno-integrated-as",
            "-fplugin=x.so",
            "-save-temps=obj",
            "--coverage",
            "-gsplit-dwarf",
            "-gcc-toolchain",
            "-fnew-thing",
            "-MMD",
            "-Wa,-a",
        ] {
            assert_eq!(refused(&flags(&format!("-c {flag}")), &[]), Some(flag));
        }
        assert_eq!(refused(&flags("-c -fnew-thing"), &["-fnew-*".into()]), None);
    }
}
