//! The metrics, as Prometheus reads and checks them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, PROGRAM, tenantd, until};
use crate::support::place::{self, script};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/app"]
datastore.path = "/srv/data"
[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12", autostart = false }
"#;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

pub const SOCKET: &str = "/run/metrics/socket";

/// What one that was killed leaves, for hosts that are compared at the end of a test.
pub fn leave_socket() {
    fs::create_dir("/run/metrics").unwrap();
    drop(UnixListener::bind(SOCKET).unwrap());
}

/// The program that serves. Dropping it kills it.
pub struct Exporter(Child);

impl Exporter {
    pub fn start(place: &str) -> Self {
        let mut command = Command::new(PROGRAM);
        Self(
            command
                .args(["metrics", "--listen", place])
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The head and the body of an answer; `None` if nobody listens yet.
fn asked(request: &str, accept: &str) -> Option<(String, String)> {
    let mut stream = UnixStream::connect(SOCKET).ok()?;
    let headers = format!("Host: x\r\nConnection: close\r\nAccept: {accept}\r\n");
    write!(stream, "{request} HTTP/1.1\r\n{headers}\r\n").unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Some((head.to_owned(), body.to_owned()))
}

pub fn metrics() -> String {
    let (head, body) = until("it serves", || asked("GET /metrics", "*/*"));
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    body
}

/// The value of a sample.
pub fn sample(text: &str, name: &str) -> Option<f64> {
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
    values.next()?.trim().parse().ok()
}

/// What the reference parser of OpenMetrics does with its input: it fails on what the format does not allow.
const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
assert list(text_string_to_metric_families(sys.stdin.read()))
";

/// Runs a check that others wrote, which says nothing if all is well.
pub fn checked(program: &str, arguments: &[&str], input: &str) {
    let mut check = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = check.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let said = check.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
}

fn assert_formats_and_refusals() {
    let (head, body) = asked("GET /metrics", "application/openmetrics-text;version=1.0.0").unwrap();
    assert!(head.contains("application/openmetrics-text"), "{head}");
    assert!(
        body.ends_with("# EOF\n") && body.contains("# TYPE tenantd_tenant_restarts counter\n"),
        "{body}"
    );
    checked("/usr/bin/python3", &["-c", PARSER], &body);
    assert!(asked("GET /", "*/*").unwrap().0.starts_with("HTTP/1.1 404"));
    assert!(
        asked("POST /metrics", "*/*")
            .unwrap()
            .0
            .starts_with("HTTP/1.1 405")
    );
}

/// The meter measures datastores, and the exporter only reads what it has noted.
fn assert_sizes_are_served(app: &str) {
    let of = |name: &str| format!("tenantd_tenant_{name}{{app=\"{app}\",tenant=\"acme\"}}");
    fs::write(
        format!("/var/lib/tenantd/{app}/acme/file"),
        vec![1; 1 << 20],
    )
    .unwrap();
    let measured = of("datastore_bytes");
    assert_eq!(sample(&metrics(), &measured), None);
    let mut meter = Command::new(PROGRAM);
    meter.args(["meter", "--interval", "50ms", "--datastores", "50ms"]);
    let mut meter = meter.spawn().unwrap();
    let size = until("it is measured", || sample(&metrics(), &measured));
    meter.kill().unwrap();
    meter.wait().unwrap();
    assert!(
        (f64::from(1 << 20)..f64::from(3 << 19)).contains(&size),
        "{size}"
    );
    let text = metrics();
    let time = sample(&text, &of("datastore_timestamp_seconds"));
    let now = jiff::Timestamp::now().as_duration().as_secs_f64();
    assert!(
        time.is_some_and(|time| (now - 60.0..=now).contains(&time)),
        "{time:?}"
    );
    checked("promtool", &["check", "metrics"], &text);
}

#[test]
fn metrics_are_served_and_pass_the_checks_of_prometheus() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    leave_socket();
    let mut daemon = Daemon::start_settled(MANIFEST);
    let _exporter = Exporter::start(&format!("unix:{SOCKET}"));
    let text = metrics();
    checked("promtool", &["check", "metrics"], &text);
    let app = daemon.app.clone();
    let of = |name: &str, tenant: &str| {
        format!("tenantd_tenant_{name}{{app=\"{app}\",tenant=\"{tenant}\"}}")
    };
    for (name, acme, globex) in [
        ("up", 1.0, 0.0),
        ("ready", 1.0, 0.0),
        ("as_wanted", 1.0, 1.0),
    ] {
        assert_eq!(sample(&text, &of(name, "acme")), Some(acme), "{text}");
        assert_eq!(sample(&text, &of(name, "globex")), Some(globex), "{text}");
    }
    assert!(
        sample(&text, &of("cpu_seconds_total", "acme")).unwrap() > 0.0,
        "{text}"
    );
    assert!(
        sample(&text, &of("network_receive_bytes_total", "acme")).is_some(),
        "{text}"
    );
    assert_eq!(
        sample(&text, &of("network_receive_bytes_total", "globex")),
        None
    );

    daemon.tell(&["restart", "acme"]).expect(0);
    let count = format!("tenantd_launch_duration_seconds_count{{app=\"{app}\"}}");
    until("the launch is counted", || {
        sample(&metrics(), &count).filter(|it| *it == 1.0)
    });
    daemon.kill_tenant("acme");
    let restarts = of("restarts_total", "acme");
    until("the restart is counted", || {
        sample(&metrics(), &restarts).filter(|it| *it == 1.0)
    });

    assert_formats_and_refusals();
    daemon.kill();
    let answers = format!("tenantd_supervisor_up{{app=\"{app}\"}}");
    until("its death is noticed", || {
        sample(&metrics(), &answers).filter(|it| *it == 0.0)
    });
    // Its tenants run on, and are still counted.
    assert!(sample(&metrics(), &of("cpu_seconds_total", "acme")).is_some());
    daemon.again();
    until("its successor is found", || {
        sample(&metrics(), &answers).filter(|it| *it == 1.0)
    });
    assert_sizes_are_served(&app);
    daemon.end();
}

#[test]
fn only_root_may_use_the_socket_and_a_second_exporter_is_refused() {
    place::host();
    let _exporter = Exporter::start(&format!("unix:{SOCKET}"));
    assert!(metrics().contains("tenantd_build_info"));
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(SOCKET).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let second = tenantd(&["metrics", "--listen", &format!("unix:{SOCKET}")]);
    assert!(
        second.code == 1 && second.err.contains("cannot listen"),
        "{second:?}"
    );
}

#[test]
fn the_rules_for_alerts_are_valid_and_name_metrics_that_exist() {
    checked(
        "promtool",
        &["check", "rules", "contrib/prometheus/tenantd.rules.yml"],
        "",
    );
    let families = include_str!("../../src/cli/metrics/families.rs");
    for text in [
        include_str!("../../contrib/prometheus/tenantd.rules.yml"),
        include_str!("../../contrib/grafana/tenantd.json"),
    ] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: Vec<&str> = words.filter(|word| word.starts_with("tenantd_")).collect();
        assert!(named.len() > 3);
        for name in named {
            let family = ["_total", "_bucket"]
                .iter()
                .fold(name, |name, end| name.trim_end_matches(end));
            assert!(families.contains(&format!("\"{family}\"")), "{name}");
        }
    }
    let board: serde_json::Value =
        serde_json::from_str(include_str!("../../contrib/grafana/tenantd.json")).unwrap();
    assert!(board["panels"].as_array().unwrap().len() > 5);
}

#[test]
fn clients_that_read_nothing_keep_no_other_from_an_answer() {
    place::host();
    let _exporter = Exporter::start(&format!("unix:{SOCKET}"));
    metrics();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4000);
    let silent = (0..40).map(|_| {
        let mut stream = UnixStream::connect(SOCKET).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        // The exporter reads no further request while an answer waits.
        let _blocked = stream.write_all(request.as_bytes());
        stream
    });
    let silent: Vec<UnixStream> = silent.collect();
    let begun = Instant::now();
    assert!(metrics().contains("tenantd_build_info"));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    drop(silent);
}
