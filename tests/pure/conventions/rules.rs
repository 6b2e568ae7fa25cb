//! The rules: each is a function from one file to its problems.

use std::collections::BTreeSet;

use crate::conventions::code::{self, File, names, paths, tokens};

/// Every module of the core, and the modules that it may use. A row may name only rows above it,
/// which `modules_name_only_rows_above_them` checks. The compiler checks dependencies between crates.
pub(crate) const MODULES: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("name", &[]),
    ("stage", &[]),
    ("layout", &["name"]),
    ("capability", &[]),
    ("cgroup", &[]),
    ("sysctl", &[]),
    ("rights", &[]),
    ("system_calls", &[]),
    (
        "manifest",
        &[
            "name",
            "stage",
            "capability",
            "cgroup",
            "rights",
            "sysctl",
            "system_calls",
        ],
    ),
    ("unit", &["name", "capability"]),
    (
        "plan",
        &[
            "name",
            "stage",
            "layout",
            "capability",
            "cgroup",
            "sysctl",
            "rights",
            "system_calls",
            "manifest",
        ],
    ),
    ("learn", &["unit", "plan"]),
    ("machine_id", &[]),
    ("supervisor", &["name", "stage", "plan"]),
    ("fuzzing", &["manifest", "plan"]),
];
const CORE: &str = "crates/tenantd-core/src/";
const HOST: &str = "crates/tenantd-host/src/";
/// Modules of the core that the host crate must not use, because it makes no decisions.
const NOT_FOR_HOST: &[&str] = &["tenantd_core::supervisor", "tenantd_core::manifest"];
/// Paths of items that do I/O, read a clock, use random numbers, or have an unstable order.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os::unix::net",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "tokio",
    "tracing",
    "rustix",
    "nix::unistd",
    "nix::sys::stat",
    "nix::fcntl",
    "rand",
];
/// Methods of `Path` that do I/O.
const IMPURE_CALLS: &[&str] = &[
    "exists",
    "try_exists",
    "canonicalize",
    "metadata",
    "symlink_metadata",
    "read_dir",
    "is_dir",
    "is_file",
    "is_symlink",
];
const UNSAFE: [&str; 2] = [
    "crates/tenantd-host/src/launch/",
    "crates/tenantd-host/src/quota/raw.rs",
];
/// Where a supervisor makes copies of its process: they have little of its memory, see decision 0101.
const FORKS: [&str; 3] = [
    "crates/tenantd-host/src/launch/clone.rs",
    "crates/tenantd-host/src/launch/idmap.rs",
    "crates/tenantd-host/src/launch/memory/tests.rs",
];
pub(crate) const LINES_MAX: usize = 400;
/// Words that are vague or misleading in this project.
const REFUSED: &[&str] = &[
    "manager",
    "handler",
    "helper",
    "helpers",
    "util",
    "utils",
    "common",
    "misc",
    "info",
    "ctx",
    "container",
    "job",
    "desk",
    "door",
    "ledger",
    "legacy",
    "heritage",
    "bequest",
    "footing",
    "stray",
    "strays",
    "leftover",
    "leftovers",
    "tally",
    "turn",
    "trial",
    "whither",
    "wish",
    "outflow",
    "evidence",
    "anew",
    "wing",
    "house",
    "inlet",
    "inlets",
    "outlet",
    "outlets",
    "farewell",
    "stroke",
    "strokes",
    "law",
    "laws",
];
/// Words and phrases in comments that are not plain technical English. LEXICON.md names what to
/// write instead.
const UNCLEAR: &[&str] = &[
    "anew",
    "befall",
    "befalls",
    "for good",
    "give back",
    "gives back",
    "go on",
    "goes on",
    "let go",
    "lets go",
    "somebody",
    "whither",
    "whoever",
    "whomever",
];

/// All rules.
pub(crate) const RULES: &[fn(&File) -> Vec<String>] = &[
    layers, host, purity, length, unsafety, forks, words, phrases, head,
];

/// The module of the core that a file belongs to.
fn module(file: &File) -> Option<&str> {
    let first = file.path.strip_prefix(CORE)?.split('/').next()?;
    Some(first.trim_end_matches(".rs"))
}

/// The modules of the core that a file of the core uses.
fn modules_named(file: &File) -> BTreeSet<String> {
    let inside = file.path.trim_start_matches(CORE);
    let depth = inside.trim_end_matches("/mod.rs").split('/').count();
    let root = "super::".repeat(depth);
    let from_root = |path: &str| {
        let mut roots = ["crate::", &root].into_iter();
        let rest = roots.find_map(|root| path.strip_prefix(root))?;
        rest.split("::").next().map(str::to_owned)
    };
    paths(&file.text)
        .iter()
        .filter_map(|path| from_root(path))
        .collect()
}

pub(crate) fn layers(file: &File) -> Vec<String> {
    let Some(module) = module(file) else {
        return Vec::new();
    };
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "the module {module} is not in the table of tests/pure/conventions"
        )];
    };
    let is_module = |named: &&String| MODULES.iter().any(|(name, _)| name == named);
    modules_named(file)
        .iter()
        .filter(is_module)
        .filter(|named| *named != module && !allowed.contains(&named.as_str()))
        .map(|named| format!("{module} may not name {named}"))
        .collect()
}

pub(crate) fn host(file: &File) -> Vec<String> {
    if !file.path.starts_with(HOST) {
        return Vec::new();
    }
    let paths = paths(&file.text);
    let named = NOT_FOR_HOST
        .iter()
        .filter(|&&module| paths.iter().any(|path| names(path, module)));
    named
        .map(|module| format!("the host crate may not name {module}"))
        .collect()
}

pub(crate) fn purity(file: &File) -> Vec<String> {
    if module(file).is_none() {
        return Vec::new();
    }
    let paths = paths(file.code());
    let impure = IMPURE
        .iter()
        .filter(|&&word| paths.iter().any(|path| names(path, word)));
    let tokens = tokens(file.code());
    let calls = IMPURE_CALLS.iter().filter(|&&call| {
        tokens
            .windows(4)
            .any(|window| window == [".", call, "(", ")"])
    });
    impure
        .chain(calls)
        .map(|word| format!("the core may not name {word}"))
        .collect()
}

pub(crate) fn length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    let problem = format!("{lines} lines, at most {LINES_MAX} are allowed");
    (lines > LINES_MAX).then_some(problem).into_iter().collect()
}

pub(crate) fn unsafety(file: &File) -> Vec<String> {
    let dangers = ["unsafe", "unsafe_code"];
    if !file.path.starts_with(HOST)
        || UNSAFE.iter().any(|place| file.path.starts_with(place))
        || !tokens(&file.text).iter().any(|t| dangers.contains(t))
    {
        return Vec::new();
    }
    vec![format!("unsafe belongs under {}", UNSAFE.join(" or "))]
}

/// A child that is not made by posix_spawn(3), which uses the memory of its parent, or in [`FORKS`] would end with
/// SIGSEGV.
pub(crate) fn forks(file: &File) -> Vec<String> {
    let places = [HOST, "crates/tenantd-daemon/src/"];
    let is_elsewhere = !places.iter().any(|place| file.path.starts_with(place));
    if is_elsewhere || FORKS.contains(&&*file.path) {
        return Vec::new();
    }
    let tokens = tokens(file.code());
    let calls = [
        "fork",
        "vfork",
        "pre_exec",
        "before_exec",
        "SYS_clone",
        "SYS_clone3",
        "SYS_fork",
    ];
    let named = tokens.iter().find(|it| calls.contains(it)).copied();
    // With an argument, these are methods of a command, which then is made by fork(2).
    let set = tokens.windows(4).find_map(|window| match window {
        [".", name @ ("uid" | "gid"), "(", argument] if *argument != ")" => Some(*name),
        _ => None,
    });
    let searched = file.code().split("Command::new(\"").skip(1);
    let searched = searched
        .filter(|rest| !rest.starts_with('/'))
        .map(|_| "Command::new");
    let found = named.into_iter().chain(set).chain(searched);
    found
        .map(|name| format!("{name} makes a child by fork(2): see decision 0101"))
        .collect()
}

pub(crate) fn words(file: &File) -> Vec<String> {
    let tokens = tokens(&file.text);
    let declared = tokens.windows(2).filter_map(|window| match window {
        ["struct" | "enum" | "union" | "trait" | "type" | "mod", name] => Some(*name),
        _ => None,
    });
    let files = file.path.split(['/', '.']);
    let is_allowed = |name: &str| {
        let spaced: String = name
            .chars()
            .flat_map(|c| {
                [
                    c.is_uppercase().then_some('_'),
                    Some(c.to_ascii_lowercase()),
                ]
            })
            .flatten()
            .collect();
        !spaced.split(['_', '-']).any(|word| REFUSED.contains(&word))
    };
    let bad: BTreeSet<_> = declared
        .chain(files)
        .filter(|name| !is_allowed(name))
        .collect();
    bad.iter()
        .map(|name| format!("{name} is no word of LEXICON.md"))
        .collect()
}

pub(crate) fn phrases(file: &File) -> Vec<String> {
    let prose = format!(" {} ", code::prose(&file.text));
    let found = UNCLEAR
        .iter()
        .filter(|phrase| prose.contains(&format!(" {phrase} ")));
    found
        .map(|phrase| format!("\"{phrase}\" in a comment: see LEXICON.md"))
        .collect()
}

pub(crate) fn head(file: &File) -> Vec<String> {
    let problem = "the file does not begin with what it is for (//!)".to_owned();
    (!file.text.starts_with("//! "))
        .then_some(problem)
        .into_iter()
        .collect()
}
