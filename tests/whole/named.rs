//! The status of several tenants that are named.

use serde_json::Value;

use crate::support::daemon::{Daemon, write_manifest};
use crate::support::place::{self, script};

const THREE: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/sleeper"]
datastore.path = "/srv/data"
[tenants]
zoo = { ip = "10.77.0.11" }
acme = { ip = "10.77.0.12" }
mill = { ip = "10.77.0.13" }
"#;

/// The names of a status, in its order.
fn names(status: &str) -> Vec<String> {
    let status: Value = serde_json::from_str(status).unwrap();
    let tenants = status["tenants"].as_array().unwrap().iter();
    let names = tenants.map(|tenant| tenant["name"].as_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn several_named_tenants_are_shown_in_the_order_of_the_manifest() {
    place::host();
    place::folder("/srv/data");
    script("sleeper", "exec sleep 1000");
    let daemon = Daemon::start_settled(THREE);
    let said = daemon.tell(&["status", "--json", "mill", "zoo", "mill"]);
    assert_eq!(names(&said.expect(0)), ["zoo", "mill"]);
    let said = daemon.tell(&["status", "--json", "acme"]);
    assert_eq!(names(&said.expect(0)), ["acme"]);
    let said = daemon.tell(&["status", "--json", "m*", "zoo"]);
    assert_eq!(names(&said.expect(0)), ["zoo", "mill"]);
    // Of names that are unknown, all are said.
    let said = daemon.tell(&["status", "zoo", "acne", "nil"]);
    assert!(
        said.err.contains("acne") && said.err.contains("nil"),
        "{}",
        said.err
    );
    // A reload changes the order.
    let zoo = "zoo = { ip = \"10.77.0.11\" }\n";
    write_manifest(&daemon.app, &format!("{}{zoo}", THREE.replace(zoo, "")));
    daemon.tell(&["reload"]).expect(0);
    let said = daemon.tell(&["status", "--json", "zoo", "mill"]);
    assert_eq!(names(&said.expect(0)), ["mill", "zoo"]);
}
