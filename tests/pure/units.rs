//! Units of systemd and the manifests that are made from them: `tests/golden/units/NAME.service`, with
//! drop-ins in `NAME.service.d`, gives `NAME.toml`. Most are units of Debian, without comments. What
//! they refer to is in `tests/golden/units/host`.
//!
//! `UPDATE=1 cargo test --test pure units` updates the files; then read the diff.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tenantd_core::manifest;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan;
use tenantd_core::plan::facts::{
    Ceilings, Claim, HostAddress, HostFacts, NoOwnUser, NoRecord, OwnUser, Parent, ProgramFact,
    Table, TextFact, User, WantedUsers,
};
use tenantd_core::unit::{self, FolderFact, ImportError, Source, Surroundings, UnitName};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/units");

/// A host that is the same on every machine.
struct Host;

impl Surroundings for Host {
    fn read(&self, path: &Path) -> Result<Option<String>, String> {
        Ok(fs::read_to_string(
            Path::new(FOLDER)
                .join("host")
                .join(path.strip_prefix("/").unwrap()),
        )
        .ok())
    }

    fn tmpfiles(&self) -> Vec<Source> {
        sources(&Path::new(FOLDER).join("host/usr/lib/tmpfiles.d"), "conf")
    }

    fn home(&self, user: &str) -> Option<String> {
        let known = [("www-data", "/var/www"), ("redis", "/var/lib/redis")];
        let home = known.into_iter().find(|(name, _)| *name == user);
        home.map(|(_, home)| home.to_owned())
    }

    fn folder(&self, path: &Path) -> Option<FolderFact> {
        let known = [
            ("/var/lib/nginx", "root", true),
            ("/var/log/nginx", "root", true),
            ("/var/lib/tomcat10", "tomcat", true),
            ("/var/lib/rabbitmq", "root", false),
            ("/var/cache/bind", "root", false),
            ("/var/cache/cups", "root", false),
        ];
        let found = known.into_iter().find(|known| path == Path::new(known.0));
        found.map(|(_, owner, full)| FolderFact {
            owner: owner.to_owned(),
            full,
        })
    }

    fn has_file(&self, path: &Path) -> bool {
        path == Path::new("/usr/bin/found")
    }

    fn host_name(&self) -> String {
        "db1.example.org".to_owned()
    }
}

/// The files of a folder with an extension, with their names as paths.
fn sources(folder: &Path, extension: &str) -> Vec<Source> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect();
    paths.sort();
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.file_name().unwrap().into(),
    };
    paths.into_iter().map(source).collect()
}

/// A host that has every user, group and program.
struct Complete;

impl HostFacts for Complete {
    fn user(&self, name: &str) -> Result<Option<User>, Errno> {
        Ok(Some(User {
            name: name.to_owned(),
            uid: 100,
            gid: 100,
            home: "/".to_owned(),
        }))
    }

    fn user_of(&self, _uid: u32) -> Result<Option<User>, Errno> {
        self.user("root")
    }

    fn group(&self, _name: &str) -> Result<Option<u32>, Errno> {
        Ok(Some(100))
    }

    fn groups(&self, _user: &str, gid: u32) -> Result<Vec<u32>, Errno> {
        Ok(vec![gid])
    }

    fn own_users(&self, wanted: &WantedUsers<'_>) -> Result<Vec<OwnUser>, NoOwnUser> {
        Table::default().own_users(wanted)
    }

    fn program(&self, path: &Path) -> ProgramFact {
        ProgramFact::Executable(path.to_owned())
    }

    fn text(&self, _path: &Path, _max: u64) -> TextFact {
        TextFact::Missing
    }

    fn addresses(&self) -> Result<Vec<HostAddress>, Errno> {
        Ok(Vec::new())
    }

    fn claims(&self, _is_own: &dyn Fn(&str) -> bool) -> Result<Vec<Claim>, Errno> {
        Ok(Vec::new())
    }

    fn parent(&self, _: &str) -> Result<Option<Parent>, Errno> {
        Ok(None)
    }

    fn mtu(&self, _interface: Option<&str>) -> Option<u32> {
        None
    }

    fn given(&self, app: &AppName) -> Result<BTreeMap<TenantName, Vec<IpAddr>>, NoRecord> {
        Table::default().given(app)
    }

    fn ceilings(&self) -> Ceilings {
        Ceilings::default()
    }
}

/// The problems of a manifest, apart from those of the host.
pub(crate) fn problems(text: &str) -> String {
    let source = manifest::Source {
        name: "imported".to_owned(),
        folder: "/etc/tenantd".into(),
        text: text.to_owned(),
    };
    plan::read(&source, &Complete).map_or_else(|it| it.render(false), |_| String::new())
}

#[test]
fn units_give_manifests() {
    let mut differ = Vec::new();
    for main in sources(Path::new(FOLDER), "service") {
        let file = main.path.display().to_string();
        let name = UnitName::of_path(&main.path).unwrap();
        let drop_ins = sources(&Path::new(FOLDER).join(format!("{file}.d")), "conf");
        let said = unit::manifest(&name, &[vec![main], drop_ins].concat(), &Host).unwrap();
        let golden = Path::new(FOLDER).join(file.replace(".service", ".toml"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &said).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != said {
            differ.push(format!("--- {file} gives now\n{said}"));
        }
        assert_eq!(problems(&said), "", "{file}");
        let long = said
            .lines()
            .filter(|line| line.starts_with("# ") && !line.contains('`'));
        for line in long {
            assert!(line.chars().count() <= 80, "{file}: {line}");
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn import(name: &str, text: &str) -> Result<String, ImportError> {
    let source = Source {
        path: name.into(),
        text: text.to_owned(),
    };
    unit::manifest(&UnitName::parse(name)?, &[source], &Host)
}

#[test]
fn what_cannot_be_a_tenant_is_refused() {
    let service = |lines: &str| import("x", &format!("[Service]\n{lines}"));
    assert_eq!(
        service("Type=oneshot\nExecStart=/bin/a"),
        Err(ImportError::Oneshot)
    );
    assert_eq!(service("Type=simple"), Err(ImportError::NoCommand));
    assert_eq!(
        service("ExecStart=/bin/a\nExecStart="),
        Err(ImportError::NoCommand)
    );
    assert_eq!(service("ExecStart=-"), Err(ImportError::NoCommand));
    assert!(matches!(
        service("ExecStart=|/bin/a"),
        Err(ImportError::Shell(_))
    ));
    assert!(matches!(
        service("ExecStart=lost"),
        Err(ImportError::NoProgram(_))
    ));
    assert!(
        service("ExecStart=found -x")
            .unwrap()
            .contains("[\"/usr/bin/found\", \"-x\"]")
    );
    assert!(matches!(import("x@", ""), Err(ImportError::Template(_))));
    assert!(matches!(import("x", ""), Err(ImportError::Masked(_))));
    assert!(matches!(
        import("x", "#!/bin/sh\nstart"),
        Err(ImportError::Script(_))
    ));
    assert!(matches!(
        import("x", "[Timer]\nA=b"),
        Err(ImportError::NoSection(_))
    ));
    assert!(matches!(
        import("x.timer", ""),
        Err(ImportError::NoService(_))
    ));
}

#[test]
fn every_name_of_a_unit_becomes_the_name_of_an_application() {
    for (unit, app) in [
        ("php8.2-fpm", "php8-2-fpm"),
        ("A_b@C\\x2dd", "a-b-c-x2dd"),
        ("-x-", "x"),
        (
            "a-name-that-is-much-longer-than-allowed",
            "a-name-that-is-much-longer-than",
        ),
        ("_", "app"),
    ] {
        let said = import(unit, "[Service]\nExecStart=/bin/a").unwrap();
        assert!(said.contains(&format!("\nname = \"{app}\"\n")), "{said}");
    }
}
