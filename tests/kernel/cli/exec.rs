//! `exec`, in a process with namespaces of its own.

use super::*;

/// A tenant: a process in namespaces of its own.
struct Tenant(Child);

impl Tenant {
    fn start() -> (Self, ExecTarget) {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs data /mnt && echo private > /mnt/data && echo up && exec cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "up\n");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_ascii_whitespace().nth(19).unwrap();
        let exec_target = ExecTarget {
            pid: child.id(),
            start_ticks: ticks.parse().unwrap(),
            cgroup: None,
            uid: 65534,
            gid: 65534,
            groups: vec![65534],
            environment: [
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("WIKI".to_owned(), "acme".to_owned()),
            ]
            .into(),
            working_directory: "/mnt".into(),
            limits: None,
            privileges: None,
            landlock: None,
            keeper: None,
        };
        (Self(child), exec_target)
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn exec_runs_a_command_as_the_tenant_runs() {
    support::enter();
    let (tenant, exec_target) = Tenant::start();
    let cgroup = PathBuf::from(format!("/sys/fs/cgroup/{}", support::app_name()));
    std::fs::create_dir(&cgroup).unwrap();
    let script = Script {
        exec_target: Some(ExecTarget {
            cgroup: Some(cgroup.display().to_string()),
            ..exec_target
        }),
        ..Script::new()
    };
    script.serve();
    let script = "cat data; id -u; id -G; echo $WIKI; pwd; ls /sys/class/net >/dev/null; \
                readlink /proc/self/ns/net /proc/self/ns/mnt; grep -c . /proc/net/dev; \
                grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; tail -n1 /proc/self/cgroup | cut -d/ -f1-2; test -e /proc/self/fd/9 && echo leak; \
                grep CapBnd /proc/self/status; exit 7";
    // As from a shell that has a file of the host open.
    let output = Command::new("sh")
        .args(["-c", "exec 9</etc/passwd; exec \"$@\"", "sh"])
        .args([
            env!("CARGO_BIN_EXE_tenantd"),
            "exec",
            "acme",
            "--",
            "sh",
            "-c",
            script,
        ])
        .output()
        .unwrap();
    let link = |kind| {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", tenant.0.id())).unwrap();
        link.display().to_string()
    };
    let leaf = cgroup.file_name().unwrap().to_str().unwrap().to_owned();
    let said = format!(
        "private\n65534\n65534\nacme\n/mnt\n{}\n{}\n3\nNoNewPrivs:\t1\nSeccomp:\t2\n0::/{leaf}\nCapBnd:\t",
        link("net"),
        link("mnt")
    );
    std::fs::remove_dir(&cgroup).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let bounding = text
        .strip_prefix(&said)
        .unwrap_or_else(|| panic!("{text}\n{said}"));
    let bounding = u64::from_str_radix(bounding.trim(), 16).unwrap();
    assert_eq!(bounding, 0, "{bounding:x}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_command_has_the_limits_of_the_tenant() {
    support::enter();
    let (_tenant, exec_target) = Tenant::start();
    let limit = |resource: &str, soft, hard| ExecLimit {
        resource: resource.into(),
        soft: Some(soft),
        hard: Some(hard),
    };
    let limits = vec![
        limit("open_files", 123, 234),
        limit("core", 0, 4096),
        limit("locked_memory", 8192, 65536),
    ];
    let script = Script {
        exec_target: Some(ExecTarget {
            limits: Some(limits),
            ..exec_target
        }),
        ..Script::new()
    };
    script.serve();
    let told = "ulimit -n; ulimit -Hn; grep -E 'core|locked' /proc/self/limits";
    let output = run(&["exec", "acme", "sh", "-c", told]);
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let wanted = "123 234 Max core file size 0 4096 bytes Max locked memory 8192 65536 bytes";
    assert_eq!(words.join(" "), wanted);
}

#[test]
fn a_limit_that_cannot_be_set_runs_nothing() {
    support::enter();
    let (_tenant, exec_target) = Tenant::start();
    let unknown = ExecLimit {
        resource: "of_a_later_version".into(),
        soft: None,
        hard: None,
    };
    let script = Script {
        exec_target: Some(ExecTarget {
            limits: Some(vec![unknown]),
            ..exec_target
        }),
        ..Script::new()
    };
    script.serve();
    let said = "tenantd: error: acme: cannot set the limit `of_a_later_version`: unsupported\n";
    expect(&run(&["exec", "acme", "echo", "ran"]), 125, "", said);
}

#[test]
fn exec_shows_why_it_failed() {
    support::enter();
    let (tenant, exec_target) = Tenant::start();
    let script = Script {
        exec_target: Some(exec_target),
        ..Script::new()
    };
    script.serve();
    let missing = "tenantd: error: acme: nonsense: command not found in the tenant\n";
    expect(&run(&["exec", "acme", "--", "nonsense"]), 127, "", missing);
    let output = run(&["exec", "acme", "--", "/etc/passwd"]);
    assert_eq!(output.status.code(), Some(126));
    let output = run(&["exec", "beta", "true"]);
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("tenantd: error: beta: not running (state: failed)"),
        "{text}"
    );
    let near = "tenantd: error: acem: no such tenant, did you mean `acme`?\n";
    expect(&run(&["exec", "acem", "true"]), 125, "", near);
    let output = run(&["exec", "--app", "nobody", "acme", "true"]);
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("nobody: supervisor not running"), "{text}");
    assert_eq!(run(&["exec", "acme"]).status.code(), Some(2));
    drop(tenant);
    let output = run(&["exec", "acme", "true"]);
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("of the tenant has ended"), "{text}");
}
