//! The secrets of a tenant.

use std::sync::Arc;

use crate::launch::bench::{Bench, write_file};

const TOKEN: &str = "/mnt/token";

/// A tenant with one secret, whose program is this script.
fn bench(script: &str) -> Bench {
    let mut bench = Bench::script(script);
    write_file(TOKEN, "opensesame\n", 0o600);
    bench.launch.secrets = Arc::new([("token".to_owned(), TOKEN.into())].into());
    let folder = (
        "CREDENTIALS_DIRECTORY".to_owned(),
        "/run/credentials/wiki".to_owned(),
    );
    Arc::make_mut(&mut bench.launch.environment).extend([folder]);
    bench
}

#[test]
fn a_secret_is_a_file_for_the_tenants_user_alone() {
    let script = "cd $CREDENTIALS_DIRECTORY && stat -c '%n %a %u' . * && cat token; \
                  echo x >token; rm -f token; touch new; cat /mnt/token; true";
    let bench = bench(script);
    let said = bench.output();
    assert!(
        said.starts_with(". 500 1000\ntoken 400 1000\nopensesame\n"),
        "{said}"
    );
    assert_eq!(said.matches("Read-only file system").count(), 3, "{said}");
    assert!(said.contains("/mnt/token: Permission denied"), "{said}");
    assert_eq!(bench.rehearse(), Ok(()));
    // Only its own processes see it.
    assert!(!std::path::Path::new("/run/credentials").exists());
    let running = super::secrets::bench("exec sleep 1000").run().unwrap();
    for file in ["cmdline", "environ"] {
        assert!(!running.proc(file).contains("opensesame"), "{file}");
    }
}

#[test]
fn a_new_secret_is_there_with_the_next_start() {
    let bench = bench("cat $CREDENTIALS_DIRECTORY/token");
    assert_eq!(bench.output(), "opensesame\n");
    write_file(TOKEN, "changed\n", 0o400);
    assert_eq!(bench.output(), "changed\n");
}

#[test]
fn a_secret_that_is_missing_or_open_to_others_is_refused() {
    let bench = bench("true");
    write_file(TOKEN, "opensesame\n", 0o640);
    let open = "cannot mount the visible path /mnt/token: the secret `token` is not for root alone (user 0, \
                mode 0640): type `chown root` and `chmod 600` for it";
    assert_eq!(bench.failure(), open);
    assert_eq!(bench.rehearse().unwrap_err().to_string(), open);
    write_file(TOKEN, "opensesame\n", 0o600);
    std::os::unix::fs::chown(TOKEN, Some(1000), None).unwrap();
    assert!(bench.failure().contains("(user 1000, mode 0600)"));
    std::fs::remove_file(TOKEN).unwrap();
    assert!(
        bench
            .failure()
            .contains("/mnt/token: No such file or directory")
    );
    std::fs::create_dir(TOKEN).unwrap();
    std::fs::set_permissions(TOKEN, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert!(bench.failure().contains("cannot read the secret `token`"));
}

#[test]
fn a_secret_that_others_can_replace_is_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let mut bench = bench("cat $CREDENTIALS_DIRECTORY/token");
    let mut at = |path: &str| {
        bench.launch.secrets = Arc::new([("token".to_owned(), path.into())].into());
        bench.rehearse().map_err(|why| why.to_string())
    };
    for (folder, mode) in [("/mnt/open", 0o1777), ("/mnt/safe", 0o755)] {
        std::fs::create_dir(folder).unwrap();
        std::fs::set_permissions(folder, PermissionsExt::from_mode(mode)).unwrap();
    }
    symlink("../token", "/mnt/safe/link").unwrap();
    assert_eq!(at("/mnt/safe/link"), Ok(()));
    assert_eq!(at("/mnt/safe/../safe/link"), Ok(()));
    let refused = "the folder /mnt/open (user 0, mode 1777) not only root can write";
    // The folder of the link, that of a link to a link, and the one with the file.
    symlink("/mnt/safe/link", "/mnt/open/link").unwrap();
    symlink("/mnt/open/link", "/mnt/safe/far").unwrap();
    write_file("/mnt/open/token", "theirs\n", 0o600);
    for path in ["/mnt/open/link", "/mnt/safe/far", "/mnt/open/token"] {
        let why = at(path).unwrap_err();
        assert!(why.contains(refused), "{path}: {why}");
    }
    std::fs::set_permissions("/mnt/open", PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(at("/mnt/safe/far"), Ok(()));
    std::os::unix::fs::chown("/mnt/open", Some(1000), None).unwrap();
    assert!(at("/mnt/open/token").unwrap_err().contains("(user 1000, "));
    symlink("turn", "/mnt/safe/turn").unwrap();
    assert!(at("/mnt/safe/turn").unwrap_err().contains("symbolic link"));
}
