//! The rules: each is a function from one file to its problems.

use std::collections::BTreeSet;

use crate::code::{File, names, paths, tokens};

/// Every room of `src`, and the rooms it may name. From the ground up: a row names rows above it
/// only, and `the_table_knows_no_way_up` holds it to that.
pub(crate) const ROOMS: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("name", &[]),
    ("stage", &[]),
    // It kills the process, and only the rooms that act have anything for it to interrupt.
    ("crash", &[]),
    ("manifest", &["name", "stage"]),
    ("plan", &["name", "stage", "manifest"]),
    ("supervisor", &["name", "stage", "plan"]),
    ("host", &["name", "stage", "crash", "plan"]),
    // What is asked and answered is the supervisor's; the wire gives it a form.
    ("wire", &["name", "stage", "plan", "supervisor"]),
    (
        "daemon",
        &[
            "name",
            "stage",
            "crash",
            "manifest",
            "plan",
            "supervisor",
            "host",
            "wire",
        ],
    ),
    // `exec` enters a tenant's namespaces and `check` looks at the host, both without the daemon.
    (
        "client",
        &["name", "stage", "manifest", "plan", "host", "wire"],
    ),
    (
        "cli",
        &[
            "name", "stage", "manifest", "plan", "host", "wire", "daemon", "client",
        ],
    ),
    (
        "main",
        &[
            "name", "stage", "manifest", "plan", "wire", "daemon", "client", "cli",
        ],
    ),
];
pub(crate) const WINGS: [&str; 2] = ["supervisor", "host"];
const PURE: &[&str] = &["name", "stage", "manifest", "plan", "supervisor"];
/// Paths that lead to I/O, a clock, chance, or an order that differs from run to run.
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
/// Methods of `Path` that are I/O.
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
const ANYHOW: &[&str] = &["main", "cli", "client", "daemon"];
const UNSAFE: &str = "src/host/launch/";
pub(crate) const LINES_MAX: usize = 400;
/// Words that say nothing of what a thing does, or say another thing than we mean.
const NOT_OURS: &[&str] = &[
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
];

/// All of them but the map, which is about all files.
pub(crate) const RULES: &[fn(&File) -> Vec<String>] =
    &[layers, purity, length, unsafety, errors, words, head];

/// The rooms that a file names, by whatever path.
fn rooms_named(file: &File) -> BTreeSet<String> {
    let inside = file.path.trim_start_matches("src/");
    let depth = inside.trim_end_matches("/mod.rs").split('/').count();
    let root = "super::".repeat(depth);
    let from_root = |path: &str| {
        let rest = ["crate::", "tenantd::", &root]
            .iter()
            .find_map(|r| path.strip_prefix(r))?;
        rest.split("::").next().map(str::to_owned)
    };
    paths(&file.text)
        .iter()
        .filter_map(|path| from_root(path))
        .collect()
}

pub(crate) fn layers(file: &File) -> Vec<String> {
    let Some(room) = file.room() else {
        return Vec::new();
    };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!(
            "the room {room} is not in the table of tests/house"
        )];
    };
    let is_room = |named: &&String| ROOMS.iter().any(|(name, _)| name == named);
    rooms_named(file)
        .iter()
        .filter(is_room)
        .filter(|named| *named != room && !allowed.contains(&named.as_str()))
        .map(|named| format!("{room} may not name {named}"))
        .collect()
}

pub(crate) fn purity(file: &File) -> Vec<String> {
    if !file.room().is_some_and(|room| PURE.contains(&room)) {
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
        .map(|word| format!("a pure room may not name {word}"))
        .collect()
}

pub(crate) fn length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    let problem = format!("{lines} lines, at most {LINES_MAX} are allowed");
    (lines > LINES_MAX).then_some(problem).into_iter().collect()
}

pub(crate) fn unsafety(file: &File) -> Vec<String> {
    let dangers = ["unsafe", "unsafe_code"];
    if file.path.starts_with(UNSAFE) || !tokens(&file.text).iter().any(|t| dangers.contains(t)) {
        return Vec::new();
    }
    vec![format!("unsafe belongs under {UNSAFE}")]
}

pub(crate) fn errors(file: &File) -> Vec<String> {
    let allowed = file.room().is_none_or(|room| ANYHOW.contains(&room));
    if allowed || !paths(&file.text).iter().any(|path| names(path, "anyhow")) {
        return Vec::new();
    }
    vec!["anyhow belongs to main, cli, client and daemon: a room has an error of its own".into()]
}

pub(crate) fn words(file: &File) -> Vec<String> {
    let tokens = tokens(&file.text);
    let declared = tokens.windows(2).filter_map(|window| match window {
        ["struct" | "enum" | "union" | "trait" | "type" | "mod", name] => Some(*name),
        _ => None,
    });
    let files = file.path.split(['/', '.']);
    let is_ours = |name: &str| {
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
        !spaced
            .split(['_', '-'])
            .any(|word| NOT_OURS.contains(&word))
    };
    let bad: BTreeSet<_> = declared
        .chain(files)
        .filter(|name| !is_ours(name))
        .collect();
    bad.iter()
        .map(|name| format!("{name} is no word of LEXICON.md"))
        .collect()
}

pub(crate) fn head(file: &File) -> Vec<String> {
    let problem = "the file does not begin with what it is for (//!)".to_owned();
    (!file.text.starts_with("//! "))
        .then_some(problem)
        .into_iter()
        .collect()
}

/// The first sentence of a file's head.
fn purpose(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    let head = lines.collect::<Vec<_>>().join(" ");
    let sentence = head.split(". ").next().unwrap_or_default();
    sentence.trim_end_matches('.').to_owned()
}

/// What must change in the map so that it shows exactly the files of `src`.
pub(crate) fn map(map: &str, files: &[File]) -> Vec<String> {
    let row = |line: &str| Some(line.strip_prefix("| `src/")?.split_once('`')?.0.to_owned());
    let shown: Vec<_> = map.lines().filter_map(row).collect();
    let inside = |file: &File| file.path.strip_prefix("src/").map(str::to_owned);
    let there: BTreeSet<_> = files.iter().filter_map(inside).collect();
    let absent = files
        .iter()
        .filter(|f| inside(f).is_some_and(|path| !shown.contains(&path)));
    let add_row = |f: &File| format!("add: | `{}` | {} |", f.path, purpose(&f.text));
    let add = absent.map(add_row);
    let twice = shown
        .iter()
        .enumerate()
        .filter(|(at, path)| shown[..*at].contains(path));
    let gone = shown
        .iter()
        .filter(|path| !there.contains(*path))
        .chain(twice.map(|(_, p)| p));
    add.chain(gone.map(|path| format!("remove: | `src/{path}` |")))
        .collect()
}
