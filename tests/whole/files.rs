//! Files per tenant, with the distribution's nginx: its configuration is the host's, with one file for
//! each tenant from a template.

use std::fs;
use std::path::Path;

use crate::support::daemon::{Daemon, tenantd};
use crate::support::place::{self, SRV, folder, fresh, script};
use crate::support::visit::get;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/usr/sbin/nginx", "-g", "daemon off;"]
private = ["/var/log/nginx", "/var/lib/nginx"]
files = [{ path = "/etc/nginx/conf.d/site.conf", template = "site.conf.in" }]
ready.tcp = 80
stop = { signal = "SIGQUIT", grace = "5s" }

[defaults]
vars = { colour = "grey" }

[tenants]
acme = { ip = "10.77.0.11", vars = { colour = "red" } }
bolt = { ip = "10.77.0.12" }
"#;

/// With braces of its own.
const TEMPLATE: &str = "server {
    listen {ip}:80;
    location ~ '^/[a-z]{1,5}$' { return 200 '{tenant} is {vars.colour}'; }
}
";

/// A test host with its own copy of `/etc/nginx`, without the page of the distribution.
fn host() {
    let conf = fs::read_to_string("/etc/nginx/nginx.conf").unwrap();
    let types = fs::read_to_string("/etc/nginx/mime.types").unwrap();
    place::host();
    folder("/var/lib/nginx");
    fresh("/etc/nginx", "mode=755");
    fs::write("/etc/nginx/nginx.conf", conf).unwrap();
    fs::write("/etc/nginx/mime.types", types).unwrap();
    for name in ["conf.d", "modules-enabled", "sites-enabled"] {
        folder(&format!("/etc/nginx/{name}"));
    }
    fs::write(format!("{SRV}/site.conf.in"), TEMPLATE).unwrap();
}

fn edit(daemon: &Daemon, old: &str, new: &str) {
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(&daemon.manifest, text.replacen(old, new, 1)).unwrap();
}

#[test]
fn each_tenant_has_its_own_file_and_a_reload_changes_it() {
    host();
    let daemon = Daemon::start_settled(MANIFEST);
    assert_eq!(daemon.manifest.parent(), Some(Path::new(SRV)));
    assert_eq!(get("10.77.0.11", "/a"), (200, "acme is red".to_owned()));
    assert_eq!(get("10.77.0.12", "/a"), (200, "bolt is grey".to_owned()));
    assert_eq!(daemon.tell(&["diff"]).expect(0), "no changes\n");

    // A variable of one tenant.
    let bolt = daemon.tenant("bolt").pid;
    edit(&daemon, "colour = \"red\"", "colour = \"blue\"");
    let shown = daemon.tell(&["diff"]).expect(3);
    for part in [
        "relaunch acme\n  file /etc/nginx/conf.d/site.conf 98 bytes, digest ",
        "  var colour        \"red\" → \"blue\"\n",
        "    -    location ~ '^/[a-z]{1,5}$' { return 200 'acme is red'; }\n    \
         +    location ~ '^/[a-z]{1,5}$' { return 200 'acme is blue'; }\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(get("10.77.0.11", "/a").1, "acme is blue");
    assert_eq!(daemon.tenant("bolt").pid, bolt);

    // The template, which concerns both.
    let template = format!("{SRV}/site.conf.in");
    fs::write(&template, TEMPLATE.replace(" is ", " was ")).unwrap();
    let said = daemon.tell(&["reload"]).expect(0);
    assert!(
        said.contains("acme: relaunched because of file /etc/nginx/conf.d/site.conf"),
        "{said}"
    );
    assert_eq!(get("10.77.0.11", "/a").1, "acme was blue");
    assert_eq!(get("10.77.0.12", "/a").1, "bolt was grey");
    // Nothing is on the host.
    assert_eq!(fs::read_dir("/etc/nginx/conf.d").unwrap().count(), 0);

    // A template with a mistake, and one that is missing, change nothing.
    let before = daemon.status().tenants;
    for (text, why) in [
        (
            Some("{vars.size}"),
            "site.conf.in:1:1: the variable `size` is not set",
        ),
        (
            Some("a\n {tenat}"),
            "site.conf.in:2:2: the placeholder `{tenat}` is not available",
        ),
        (None, "the template /srv/site.conf.in does not exist"),
    ] {
        match text {
            Some(text) => fs::write(&template, text).unwrap(),
            None => fs::remove_file(&template).unwrap(),
        }
        let refused = daemon.tell(&["reload"]);
        assert_ne!(refused.code, 0, "{refused:?}");
        assert!(refused.err.contains(why), "{why}: {refused:?}");
        let checked = tenantd(&["check", "--config", daemon.manifest.to_str().unwrap()]);
        assert_eq!(checked.code, 78, "{checked:?}");
    }
    assert_eq!(daemon.status().tenants, before);
    daemon.end();
}

#[test]
fn a_supervisor_that_dies_adopts_tenants_with_files_as_they_are() {
    host();
    let mut daemon = Daemon::start_settled(MANIFEST);
    let pid = daemon.tenant("acme").pid;
    daemon.kill();
    daemon.again();
    daemon.settles();
    assert_eq!(daemon.tenant("acme").pid, pid);
    // What changed meanwhile takes effect as by a reload.
    daemon.kill();
    fs::write(
        format!("{SRV}/site.conf.in"),
        TEMPLATE.replace(" is ", " was "),
    )
    .unwrap();
    daemon.again();
    daemon.settles();
    assert_ne!(daemon.tenant("acme").pid, pid);
    assert_eq!(get("10.77.0.11", "/a").1, "acme was red");
    daemon.end();
}

#[test]
fn a_file_in_the_datastore_is_readable_by_the_tenant_alone_and_written_again() {
    place::host();
    folder("/var/lib/wiki");
    let program = script(
        "wiki",
        "stat -c '%U %g %a' /var/lib/wiki/conf/wiki.conf; cat /var/lib/wiki/conf/wiki.conf\n\
         rm -f /var/lib/wiki/conf/wiki.conf && echo mine >/var/lib/wiki/conf/wiki.conf\nexec sleep 1000",
    );
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\ncommand = [\"{program}\"]\nuser = \"nobody\"\n\
         files = [{{ path = \"{{datastore}}/conf/wiki.conf\", text = \"key = {{vars.key}}\\n\" }}]\n\
         datastore.path = \"/var/lib/wiki\"\nready.lived = \"100ms\"\nstop.grace = \"1s\"\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\", vars = {{ key = \"s3cret\" }} }}\n"
    ));
    daemon.tell(&["restart", "acme"]).expect(0);
    let logs = daemon.tell(&["logs", "acme"]).expect(0);
    let texts: Vec<_> = logs
        .lines()
        .filter_map(|line| line.split(" stdout ").nth(1).map(str::trim))
        .collect();
    let once = ["root 65534 640", "key = s3cret"];
    assert_eq!(texts, [once, once].concat(), "{logs}");
    let plan = tenantd(&["plan", "--config", daemon.manifest.to_str().unwrap()]).expect(0);
    assert!(plan.contains("var key           \"s3cret\""), "{plan}");
    daemon.end();
}
