//! POSIX message queues of a program in its domain: a user of its own protects them from others.

use std::fs;

use crate::support::daemon::{Daemon, until};
use crate::support::place;

/// Makes a queue, sends and receives, removes it, and writes what became of that to its datastore.
const PROGRAM: &str = r#"
import ctypes, os, time
lib = ctypes.CDLL("librt.so.1", use_errno=True)
def errno(result):
    return ctypes.get_errno() if result < 0 else 0
name = b"/tenantd-NAME"
queue = lib.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None)
opened = errno(queue)
sent = errno(lib.mq_send(queue, b"text", 4, 0))
text = ctypes.create_string_buffer(8192)
got = 0 if sent else lib.mq_receive(queue, text, 8192, None)
lib.mq_unlink(name)
with open("/srv/data/new", "w") as file:
    file.write("%d %d %s" % (opened, sent, text.raw[:got].decode()))
os.rename("/srv/data/new", "/srv/data/result")
time.sleep(100000)
"#;

/// What the program of a tenant with this user and this wall writes.
#[track_caller]
fn used(user: &str, wall: &str) -> String {
    place::host();
    place::folder("/srv/data");
    let program = PROGRAM.replace("NAME", &format!("{}-{user}", std::process::id()));
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\ncommand = [\"/usr/bin/python3\", \"-I\", \"-c\", '''{program}''']\n\
         user = \"{user}\"\n{wall}\ndatastore.path = \"/srv/data\"\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ));
    let path = format!("/var/lib/tenantd/{}/acme/result", daemon.app);
    let said = until("the program has written what it got", || {
        fs::read_to_string(&path).ok()
    });
    daemon.end();
    said
}

#[test]
fn a_program_with_a_user_of_its_own_uses_message_queues() {
    assert_eq!(used("per-tenant", ""), "0 0 text");
}

/// A neighbour of the same user could open them. EACCES is 13, and EBADF 9.
#[test]
fn a_program_with_a_shared_user_uses_none_in_its_domain() {
    assert_eq!(used("nobody", ""), "13 9 ");
}

#[test]
fn a_program_with_a_shared_user_uses_them_without_a_domain() {
    assert_eq!(used("nobody", "wall.landlock = false"), "0 0 text");
}
