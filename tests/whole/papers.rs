//! The documents of a release: man pages that name every command and every key and render without a
//! warning, and a package with the right files.

#[path = "../../examples/papers/main.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod source;

use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory;
use tenantd::cli::args::Cli;
use tenantd_core::manifest::Source;
use tenantd_core::manifest::reference::{self, Fallback, Key};
use tenantd_core::plan;
use tenantd_core::plan::facts::{ProgramFact, Table, User};

/// Every man page, rendered as on a terminal, without line breaks in paragraphs.
fn rendered() -> Vec<(PathBuf, String)> {
    let folder = tempfile::tempdir().unwrap();
    let pages = source::all("2026-11-22").into_iter();
    let pages = pages.filter(|(path, _)| path.starts_with("man"));
    pages
        .map(|(path, source)| {
            let name = path.file_name().unwrap().to_owned();
            let file = folder.path().join(&name);
            std::fs::write(&file, source).unwrap();
            let output = Command::new("mandoc")
                .args(["-Tutf8", "-Owidth=1000", "-Wwarning,stop"])
                .arg(&file)
                .output()
                .expect("the tests need mandoc");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", path.display());
            let text = String::from_utf8(output.stdout).unwrap();
            (PathBuf::from(name), plain(&text))
        })
        .collect()
}

/// Removes the overstriking that makes letters bold.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        match letter {
            '\u{8}' => drop(plain.pop()),
            _ => plain.push(letter),
        }
    }
    plain
}

#[test]
fn each_verb_has_a_page_that_the_main_page_names() {
    let pages = rendered();
    let page = |name: &str| {
        let found = pages.iter().find(|(path, _)| path.to_str() == Some(name));
        &found.unwrap_or_else(|| panic!("there is no {name}")).1
    };
    let whole = page("tenantd.8");
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let mut count = 0;
    for verb in cli.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = format!("tenantd-{}", verb.get_name());
        assert!(whole.contains(&format!("{name}(8)")), "{name}");
        let own = page(&format!("{name}.8"));
        let about = verb.get_about().unwrap().to_string();
        assert!(own.contains(&about), "{name}: {about}");
        for argument in verb.get_arguments().filter(|it| !it.is_hide_set()) {
            let Some(long) = argument.get_long() else {
                continue;
            };
            assert!(own.contains(&format!("--{long}")), "{name}: --{long}");
        }
        let help = verb.get_after_help().unwrap().to_string();
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            assert!(own.contains(line.trim()), "{name}: {line}");
        }
        count += 1;
    }
    assert_eq!(count + 2, pages.len(), "a page per verb, and two more");
}

#[test]
fn the_manifest_page_names_every_key() {
    let pages = rendered();
    let (_, page) = pages
        .iter()
        .find(|(path, _)| path.to_str() == Some("tenantd.toml.5"))
        .unwrap();
    for key in Key::all() {
        if key.table != reference::Table::Top {
            assert!(page.contains(key.table.header()), "{:?}", key.table);
        }
        assert!(page.contains(&key.usage()), "{}", key.usage());
        if let Fallback::Value(value) = key.fallback {
            assert!(page.contains(&format!("Default: {value}")), "{}", key.name);
        }
    }
}

#[test]
fn the_manifest_in_the_page_is_valid() {
    let host = Table {
        users: vec![User {
            name: "wiki".to_owned(),
            uid: 990,
            gid: 990,
            home: "/var/lib/wiki".to_owned(),
        }],
        programs: [(
            "/usr/bin/wiki".into(),
            ProgramFact::Executable("/usr/bin/wiki".into()),
        )]
        .into(),
        ..Table::default()
    };
    let source = Source {
        name: "README.md".to_owned(),
        folder: "/etc/tenantd".into(),
        text: source::manifest::example().to_owned(),
    };
    let plan = plan::read(&source, &host).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(plan.tenants.len(), 3);
}
