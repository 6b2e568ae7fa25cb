//! The dependencies are what `deny.toml` says: their licences, which crates there may be, in how many versions,
//! and from where. See cargo-deny, whose file that is.

mod fuzzers;
mod licence;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// `deny.toml`. A key that this test does not check is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Bans {
    multiple_versions: Deny,
    skip: Vec<Named>,
    deny: Vec<Named>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Sources {
    unknown_registry: Deny,
    unknown_git: Deny,
    allow_registry: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Deny {
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
    /// The crates that may depend on it nevertheless.
    #[serde(default)]
    wrappers: Vec<String>,
    reason: String,
}

/// A package, in `Cargo.lock` and in the output of `cargo metadata`.
#[derive(Debug, Clone, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None: it is the project's own.
    source: Option<String>,
    /// What it depends on, with the version if there are several. Only in `Cargo.lock`.
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

/// A dependency: its name in `Cargo.lock`, a table in the output of `cargo metadata`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Dependency {
    Locked(String),
    Other {},
}

impl Package {
    fn depends_on(&self, name: &str) -> bool {
        self.dependencies.iter().any(|it| match it {
            Dependency::Locked(locked) => locked.split(' ').next() == Some(name),
            Dependency::Other {} => false,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn policy() -> Policy {
    let text = std::fs::read_to_string(top().join("deny.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

/// All packages, also those for other systems.
fn locked(file: &str) -> Vec<Package> {
    let text = std::fs::read_to_string(top().join(file)).unwrap();
    toml::from_str::<Lock>(&text).unwrap().package
}

/// The packages that this system builds, with their licences. They are there, since this test is built.
fn built() -> Vec<Package> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline"]);
    cargo.args(["--filter-platform", &platform]);
    let said = cargo.current_dir(top()).output().unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{errors}");
    let metadata: Metadata = serde_json::from_slice(&said.stdout).unwrap();
    metadata.packages
}

impl Policy {
    fn licences(&self, packages: &[Package]) -> Vec<String> {
        let allowed: BTreeSet<&str> = self.licenses.allow.iter().map(String::as_str).collect();
        let refused = packages.iter().filter(|package| {
            let text = package.license.as_deref().unwrap_or_default();
            !licence::is_allowed(text, &allowed)
        });
        let told =
            refused.map(|it| format!("{} {}: licence {:?}", it.name, it.version, it.license));
        told.collect()
    }

    fn bans(&self, packages: &[Package]) -> Vec<String> {
        let Deny::Deny = self.bans.multiple_versions;
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in packages {
            let of = versions.entry(&package.name).or_default();
            of.insert(&package.version);
        }
        let is_skipped = |name: &str| self.bans.skip.iter().any(|it| it.name == name);
        let several = versions
            .iter()
            .filter(|(name, of)| of.len() > 1 && !is_skipped(name));
        let mut told: Vec<String> = several
            .map(|(name, of)| format!("{name}: versions {of:?}"))
            .collect();
        let banned = self.bans.deny.iter();
        let is_wrapped = |it: &Named, by: &Package| it.wrappers.contains(&by.name);
        let banned = banned.filter(|it| {
            let mut users = packages.iter().filter(|user| user.depends_on(&it.name));
            versions.contains_key(it.name.as_str())
                && (it.wrappers.is_empty() || users.any(|user| !is_wrapped(it, user)))
        });
        told.extend(banned.map(|it| format!("{}: banned: {}", it.name, it.reason)));
        // An entry without an effect hides the next second version.
        let skip = self.bans.skip.iter();
        let needless =
            skip.filter(|it| versions.get(it.name.as_str()).is_none_or(|of| of.len() < 2));
        told.extend(needless.map(|it| format!("{}: skipped without need", it.name)));
        told
    }

    fn sources(&self, packages: &[Package]) -> Vec<String> {
        let (Deny::Deny, Deny::Deny) = (self.sources.unknown_registry, self.sources.unknown_git);
        let is_allowed = |source: &str| {
            let registry = source.strip_prefix("registry+");
            registry.is_some_and(|it| self.sources.allow_registry.iter().any(|one| one == it))
        };
        let from = packages
            .iter()
            .filter_map(|it| Some((it, it.source.as_deref()?)));
        let refused = from.filter(|(_, source)| !is_allowed(source));
        let told = refused.map(|(package, source)| format!("{}: from {source}", package.name));
        told.collect()
    }
}

#[test]
fn dependencies_are_what_the_policy_says() {
    let policy = policy();
    let all = locked("Cargo.lock");
    let fuzzers = locked("fuzz/Cargo.lock");
    let told = [
        policy.licences(&built()),
        policy.bans(&all),
        policy.sources(&all),
        policy.sources(&fuzzers),
    ];
    let told = told.concat();
    assert!(told.is_empty(), "\n{}", told.join("\n"));
    assert!(all.len() > 100);
    let named = policy.bans.skip.iter().chain(&policy.bans.deny);
    for it in named {
        assert!(!it.reason.is_empty(), "{}", it.name);
    }
}

/// A package of the project, and one of the registry.
fn packages() -> [Package; 2] {
    let own = Package {
        name: "tenantd".to_owned(),
        version: "0.1.0".to_owned(),
        license: Some("MIT OR Apache-2.0".to_owned()),
        source: None,
        dependencies: Vec::new(),
    };
    let of_registry = Some("registry+https://github.com/rust-lang/crates.io-index".to_owned());
    let good = Package {
        name: "good".to_owned(),
        source: of_registry,
        ..own.clone()
    };
    [own, good]
}

#[test]
fn each_rule_can_fail() {
    let policy = policy();
    let packages = packages();
    let good = packages[1].clone();
    assert_eq!(policy.licences(&packages), [""; 0]);
    assert_eq!(policy.sources(&packages), [""; 0]);
    for license in [
        None,
        Some("GPL-3.0-only"),
        Some("MIT AND OpenSSL"),
        Some(""),
    ] {
        let license = license.map(str::to_owned);
        let package = Package {
            license,
            ..good.clone()
        };
        assert_eq!(
            policy.licences(std::slice::from_ref(&package)).len(),
            1,
            "{package:?}"
        );
    }
    for source in [
        "git+https://example.org/x",
        "registry+https://example.org/index",
    ] {
        let source = Some(source.to_owned());
        let package = Package {
            source,
            ..good.clone()
        };
        assert_eq!(policy.sources(&[package]).len(), 1);
    }
}

#[test]
fn a_ban_and_a_second_version_are_found() {
    let policy = policy();
    let [_, good] = packages();
    let second = Package {
        version: "0.2.0".to_owned(),
        ..good.clone()
    };
    let banned = Package {
        name: "cc".to_owned(),
        ..good.clone()
    };
    let user = |name: &str| Package {
        name: name.to_owned(),
        dependencies: vec![Dependency::Locked("cc 1.0.0".to_owned())],
        ..good.clone()
    };
    let sqlite = user("libsqlite3-sys");
    let told = policy.bans(&[
        good.clone(),
        second,
        banned.clone(),
        sqlite.clone(),
        user("other"),
    ]);
    assert!(told[0].starts_with("good: versions"), "{told:?}");
    assert!(told[1].starts_with("cc: banned"), "{told:?}");
    let told_of_sqlite = policy.bans(&[banned, sqlite]);
    assert!(!told_of_sqlite[0].starts_with("cc"), "{told_of_sqlite:?}");
    assert!(told[2].ends_with("skipped without need"), "{told:?}");
}
