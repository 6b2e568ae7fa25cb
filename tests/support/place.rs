//! The folders of a test host for the whole program, and what the program could leave there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};

use super::daemon::{PROGRAM, in_time, run};

/// A folder of this test host alone, for manifests, programs and data.
pub const SRV: &str = "/srv";

/// Makes a test host with an empty [`SRV`] and an empty `/var/lib`, for programs that have their
/// folders built in.
pub fn host() {
    super::enter();
    fresh(SRV, "mode=755");
    fresh("/var/lib", "mode=755");
    folder("/var/lib/tenantd");
}

/// Mounts an empty tmpfs on a folder.
pub fn fresh(path: &str, options: &str) {
    let (read_only, options) = match options {
        "ro" => (MsFlags::MS_RDONLY, "mode=755"),
        _ => (MsFlags::empty(), options),
    };
    // Not with mount(8), which writes a file to /run.
    mount(Some("test"), path, Some("tmpfs"), read_only, Some(options)).unwrap();
}

/// Makes a folder and returns its path.
pub fn folder(path: &str) -> PathBuf {
    fs::create_dir_all(path).unwrap();
    path.into()
}

/// Writes a shell script for a tenant to run. Another process writes it: a file that this process
/// has written cannot be executed while a child of another test has the descriptor open.
pub fn script(name: &str, text: &str) -> String {
    let path = format!("{SRV}/{name}");
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\"", &path])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = writer.stdin.take().unwrap();
    write!(stdin, "#!/bin/sh\n{text}\n").unwrap();
    drop(stdin);
    assert!(writer.wait().unwrap().success());
    path
}

/// The program of a supervisor that is to be upgraded.
pub const INSTALLED: &str = "/srv/tenantd";

/// Installs a program there, as a package does. Processes that run the old one are not disturbed.
pub fn install(program: &str) {
    let text = format!("cp \"$0\" {INSTALLED}.new && mv {INSTALLED}.new {INSTALLED}");
    let done = Command::new("sh").args(["-c", &text, program]).status();
    assert!(done.unwrap().success());
}

/// Copies an example of the project to where every user can execute it.
pub fn example(name: &str) -> String {
    let built = Path::new(PROGRAM).with_file_name("examples").join(name);
    let path = format!("{SRV}/{name}");
    let done = Command::new("install")
        .args(["-m", "755"])
        .arg(&built)
        .arg(&path)
        .status()
        .unwrap();
    let built = built.display();
    assert!(
        done.success(),
        "{built}: `cargo build --examples` makes it, as does `cargo test`"
    );
    path
}

/// What a supervisor could leave on its host, by kind.
pub type Traces = BTreeMap<&'static str, String>;

/// The entries of each kind before a supervisor is started.
pub fn traces_before(app: &str) -> Traces {
    super::settled::settled();
    traces(app)
}

/// The current entries of each kind.
pub fn traces(app: &str) -> Traces {
    let ip = |arguments: &str| {
        let mut command = in_time("ip");
        run(command.args(arguments.split(' '))).expect(0)
    };
    let names = |path: &str| {
        let entries = fs::read_dir(path).into_iter().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let mut leaves = names("/sys/fs/cgroup/tenantd");
    leaves.retain(|name| name == app);
    BTreeMap::from([
        ("links", ip("-j link show")),
        (
            "tables of nftables",
            run(in_time("nft").args(["list", "tables"])).expect(0),
        ),
        ("routes", ip("-j route show table all")),
        ("neighbours", ip("-j neigh show")),
        ("namespaces that links led to", ip("-j netns list-id")),
        (
            "mounts",
            fs::read_to_string("/proc/thread-self/mountinfo").unwrap(),
        ),
        ("/run", names("/run").join(" ")),
        ("cgroups", leaves.join(" ")),
    ])
}

/// Unmounts a folder.
pub fn unmount(path: &str) {
    nix::mount::umount(path).unwrap();
}
