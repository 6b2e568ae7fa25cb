//! `import-unit`: which files are read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use nix::mount::{MsFlags, mount};

use super::{run, tenantd};
use crate::support;

const UNITS: &str = "/run/systemd/system";

/// Writes a file, with its folder.
fn write(path: &str, text: &str) {
    fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn unit(name: &str, text: &str) {
    write(&format!("{UNITS}/{name}"), text);
}

#[track_caller]
fn import(unit: &str) -> String {
    let output = run(&["import-unit", unit]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(unit: &str) -> String {
    let output = run(&["import-unit", unit]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap().replace('\n', " ")
}

#[test]
fn a_unit_is_read_with_its_drop_ins_environment_and_folders() {
    support::enter();
    unit(
        "shop.service",
        "[Service]\nEnvironmentFile=-/run/shop.env\nExecStart=/usr/bin/shop $OPTIONS\n",
    );
    write("/run/shop.env", "OPTIONS=\"--name 'the shop'\"\n");
    write("/run/tmpfiles.d/shop.conf", "d /run/shop 0700 - - -\n");
    unit(
        "service.d/10-all.conf",
        "[Service]\nLimitNOFILE=100\nUser=all\n",
    );
    unit("shop.service.d/10-all.conf", "[Service]\nLimitNOFILE=200\n");
    unit("shop.service.d/20.conf", "[Service]\nLimitNOFILE=300\n");
    unit("shop.service.d/20.txt", "[Service]\nLimitNOFILE=400\n");
    symlink("/dev/null", format!("{UNITS}/shop.service.d/30.conf")).unwrap();
    let said = import("shop");
    for wanted in [
        "command = [\"/usr/bin/shop\", \"--name\", \"the shop\"]\n",
        "private = [\"/run/shop\"]\n",
        "open_files = 300\n",
        "# /run/systemd/system/shop.service.d/20.conf\n",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    // The more specific drop-in of the same name hides the other one.
    assert!(said.contains("user = \"root\"\n"), "{said}");
    // By its path too, as it is where systemd looks.
    assert_eq!(import(&format!("{UNITS}/shop.service")), said);

    // Elsewhere, only the drop-ins beside it count.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.service");
    let path = path.to_str().unwrap();
    write(path, "[Service]\nExecStart=/usr/bin/shop\n");
    assert!(!import(path).contains("open_files"));
    write(&format!("{path}.d/1.conf"), "[Service]\nLimitNOFILE=500\n");
    assert!(import(path).contains("open_files = 500\n"));
}

#[test]
fn other_names_templates_and_what_is_no_unit() {
    support::enter();
    unit("db@.service", "[Service]\nExecStart=/usr/bin/db %i\n");
    unit(
        "db.service",
        "[Service]\nType=oneshot\nExecStart=/bin/true\n",
    );
    symlink("db@.service", format!("{UNITS}/sql@.service")).unwrap();
    symlink("/dev/null", format!("{UNITS}/gone.service")).unwrap();
    assert!(import("db@15-main").contains("[\"/usr/bin/db\", \"15-main\"]"));
    assert!(import(&format!("{UNITS}/db@x.service")).contains("\"x\""));
    assert!(import("sql@a.service").contains("\"a\""));
    unit("web.service", "[Service]\nExecStart=/usr/bin/web\n");
    symlink("web.service", format!("{UNITS}/www.service")).unwrap();
    assert!(import("www").contains("\nname = \"web\"\n"));

    for (unit, reason) in [
        ("db", "is of the type oneshot"),
        ("db", "`tenantd import-unit db@INSTANCE`"),
        ("db@", "name one of its instances, such as db@INSTANCE"),
        ("gone", "is masked"),
        ("wbe", "no unit wbe.service in /etc/systemd/system, "),
        ("wbe", "did you mean web.service?"),
        ("we", "did you mean web.service?"),
        ("web.socket", "web.socket is no service"),
        ("/no/such.service", "cannot read the unit: No such file"),
    ] {
        let said = refused(unit);
        assert!(said.contains(reason), "{unit}: {said}");
    }
    assert_eq!(run(&["import-unit"]).status.code(), Some(2));
}

#[test]
fn a_script_for_init_is_named() {
    support::enter();
    let none: Option<&str> = None;
    let nothing = MsFlags::empty();
    mount(Some("test"), "/etc", Some("tmpfs"), nothing, none).unwrap();
    write("/etc/init.d/slapd", "#!/bin/sh\nstart\n");
    unit(
        "slapd.service.d/remain.conf",
        "[Service]\nRemainAfterExit=no\n",
    );
    for said in [refused("slapd"), refused("/etc/init.d/slapd")] {
        assert!(said.contains("/etc/init.d/slapd"), "{said}");
        assert!(said.contains("script"), "{said}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    support::enter();
    unit("web.service", "[Service]\nExecStart=/usr/bin/web\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = tenantd(&["import-unit", "web"]);
    let output = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}
