//! The keys of the program: the top level, `[app]`, and its tables that have no layers.

use super::Fallback::{Derived, Required, Value};
use super::{Key, Kind, Table, app, keys, network, wall};
use crate::manifest::template::{ALL, OF_APP, OF_PROGRAM};

const WHEN: Kind = Kind::Choice(&["always", "on-failure", "never"]);

keys! {
    Top {
        "app", Kind::Table(Table::App), Required, "{ name = \"guestbook\", command = [\"/usr/sbin/guestbook\"], datastore = { path = \"/var/lib/guestbook\" } }",
            "The program, see [app].";
        "network", Kind::Table(Table::Network), Value("{}"), "{ mode = \"routed\" }",
            "The network that the tenants share, see [network].";
        "control", Kind::Table(Table::Control), Value("{}"), "{ read = [\"adm\"] }",
            "Who may use the control socket besides root, see [control].";
        "defaults", Kind::Table(Table::Defaults), Value("{}"), "{ autostart = true }",
            "Defaults for all tenants, see [defaults].";
        "tenants", Kind::Tenants, Value("{}"), "{ acme = { ip = \"10.77.0.11\" } }",
            "The tenants, by name, see [tenants]. May be empty.";
    }
    App {
        "name", Kind::Name, Required, "\"guestbook\"",
            "The application's name: at most 32 lower-case letters, digits and dashes. It is part \
             of the name of everything that tenantd creates on the host.";
        "command", Kind::Command, Required, "[\"/usr/sbin/guestbook\", \"--foreground\"]",
            app::COMMAND;
        "working_directory", Kind::Path(OF_PROGRAM), Value("\"/\""), "\"/var/lib/guestbook\"",
            "The folder in which the program starts, as the tenant sees it.";
        "environment", Kind::Environment(ALL), Value("{}"), "{ LANG = \"C.UTF-8\" }",
            "The program's environment, in addition to `PATH`, `HOME`, `USER` and `LOGNAME`. The \
             environment of tenantd itself is not passed on.";
        "vars", Kind::Vars, Value("{}"), "{ colour = \"blue\" }",
            app::VARS;
        "secrets", Kind::Secrets, Value("{}"), "{ token = \"/etc/tenantd/secrets/{tenant}.token\" }",
            wall::SECRETS;
        "user", Kind::Account, Derived("none: it must be set here, in [defaults] or for each tenant"), "\"www-data\"",
            app::USER;
        "uids", Kind::Table(Table::Uids), Value("{}"), "{ range = \"70000-99999\" }",
            "The users of tenants with `user = \"per-tenant\"`, see [app.uids].";
        "group", Kind::Account, Derived("the user's primary group"), "\"www-data\"",
            "The group that the program runs as, by name or number. The user's supplementary \
             groups are set as by initgroups(3).";
        "daemonizes", Kind::Flag, Value("false"), "true",
            "Whether the program forks and continues in the background.";
        "pid_file", Kind::Path(OF_PROGRAM), Derived("not used"), "\"/run/guestbook.pid\"",
            app::PID_FILE;
        "private", Kind::Private, Value("[]"), "[\"/run/redis\", { path = \"/srv/spool\", mode = \"1777\" }]",
            app::PRIVATE;
        "private_size", Kind::Size { min: 4096 }, Value("\"1 GiB\""), "\"64 MiB\"",
            app::PRIVATE_SIZE;
        "host", Kind::Choice(&["read-only", "writable"]), Value("\"read-only\""), "\"writable\"",
            app::HOST;
        "shared", Kind::Paths(OF_PROGRAM), Value("[]"), "[\"/srv/media\"]",
            app::SHARED;
        "visible", Kind::Paths(OF_PROGRAM), Value("[]"), "[\"/run/dbus/system_bus_socket\"]",
            app::VISIBLE;
        "logs", Kind::Paths(OF_PROGRAM), Value("[]"), "[\"/var/log/squid/*.log\"]",
            app::LOGS;
        "log_rate", Kind::Size { min: 4096 }, Value("\"512 KiB\""), "\"2 MiB\"",
            app::LOG_RATE;
        "files", Kind::Files, Value("[]"),
            "[{ path = \"/etc/guestbook/site.conf\", template = \"site.conf.in\" }]",
            "Files that the program reads and that each tenant has for itself, see \
             [[app.files]]. A change restarts the program with a reload.";
        "datastore", Kind::Table(Table::Datastore), Value("{}"), "{ path = \"/var/lib/guestbook\" }",
            "The program's data, see [app.datastore].";
        "init", Kind::Table(Table::Init), Value("{}"), "{ command = [\"/usr/share/guestbook/init\"] }",
            "What initializes a new datastore, see [app.init].";
        "before", Kind::Table(Table::Before), Value("{}"), "{ command = [\"/usr/share/guestbook/migrate\"] }",
            "What runs before each start of the program, see [app.before].";
        "stop", Kind::Table(Table::Stop), Value("{}"), "{ grace = \"1m\" }",
            "How the program is stopped, see [app.stop].";
        "restart", Kind::Table(Table::Restart), Value("{}"), "{ when = \"on-failure\" }",
            "What happens when the program exits without a request, see [app.restart].";
        "ready", Kind::Table(Table::Ready), Value("{}"), "{ tcp = 80 }",
            "When a tenant is ready, see [app.ready].";
        "alive", Kind::Table(Table::Alive), Value("{}"), "{ http = \"/health\", port = 80 }",
            "How a program is asked whether it still works, see [app.alive].";
        "reload", Kind::Table(Table::Reload), Value("{}"), "{ signal = \"SIGHUP\" }",
            "How the program is made to read its configuration again, see [app.reload].";
        "limits", Kind::Table(Table::Limits), Value("{}"), "{ open_files = 65536 }",
            "Resource limits of its processes, see [app.limits].";
        "total", Kind::Table(Table::Total), Value("{}"), "{ memory = { max = \"8 GiB\" } }",
            "Limits of all tenants together, see [app.total].";
        "process", Kind::Table(Table::Process), Value("{}"), "{ umask = \"0027\" }",
            "Attributes of its processes, see [app.process].";
        "sysctls", Kind::Sysctls, Value("{}"), "{ \"net.core.somaxconn\" = 8192 }",
            network::SYSCTLS;
        "wall", Kind::Table(Table::Wall), Value("{}"), "{ set_id_programs = true }",
            "What separates the tenants, see [app.wall].";
    }
    Uids {
        "range", Kind::Uids, Value("\"70000-99999\""), "\"70000-99999\"",
            app::RANGE;
    }
    Datastore {
        "path", Kind::Path(OF_APP), Derived("none"), "\"/var/lib/guestbook\"",
            app::DATA;
        "folders", Kind::Folders, Value("[]"),
            "[\"/var/lib/ldap\", { path = \"/etc/ldap/slapd.d\", seed = \"copy\" }]",
            app::FOLDERS;
        "root", Kind::Path(OF_APP), Value("\"/var/lib/tenantd/{app}\""), "\"/srv/guestbooks\"",
            "The folder on the host that contains the datastores. It is hidden from every tenant. \
             If it is below `/var/lib/tenantd`, that whole folder is hidden.";
        "mode", Kind::Permissions, Value("\"0750\""), "\"0700\"",
            "The mode, in octal, of a datastore that tenantd creates. Its owner is the tenant's \
             user and group.";
        "owner", Kind::Account, Derived("the tenant's user"), "\"wiki\"",
            app::OWNER;
        "seen_as", Kind::Account, Derived("the tenant's user"), "\"wiki\"",
            "The user, by name or number, whose files a tenant sees those of `owner` as, where that is \
             not the tenant's user: what a program that starts as root becomes.";
        "must_exist", Kind::Flag, Value("false"), "true",
            "Whether datastores must exist: a missing one is an error, and none is created. Without \
             it, only a datastore that was used before must exist.";
        "mounted", Kind::Flag, Value("false"), "true",
            "Whether datastores are on a mounted filesystem: one that would be in the filesystem of \
             `/`, because its own is not mounted yet, is neither used nor created.";
    }
    Folder {
        "path", Kind::Path(OF_APP), Required, "\"/etc/ldap/slapd.d\"",
            "The folder as the program sees it.";
        "seed", Kind::Choice(&["empty", "copy", "overlay"]), Derived("`copy` in `/etc`, otherwise `empty`"), "\"copy\"",
            "What the folder contains at first: nothing (`empty`), or a copy of the host's folder \
             (`copy`). With `overlay`, the tenant sees the host's folder, and only what it \
             changes is in its datastore: what the host changes later arrives with the next start \
             of the tenant, except in files that the tenant has changed. The seed of a folder that \
             exists is not changed.";
        "template", Kind::Path(OF_APP), Derived("not used"), "\"{manifest_dir}/skel\"",
            "A folder on the host that is copied instead. Its copy belongs to the tenant's user and \
             group.";
        "user", Kind::Account, Derived("that of the host's folder; if it has none, the tenant's"), "\"openldap\"",
            "The owner of a new folder and of what is copied into it, by name or number.";
        "group", Kind::Account, Derived("that of `user`, or of the host's folder; if it has none, the tenant's"), "\"openldap\"",
            "The group of a new folder and of what is copied into it, by name or number.";
        "mode", Kind::Permissions, Derived("that of the host's folder; if it has none, `mode` of [app.datastore]"), "\"0700\"",
            "The mode of a new folder, in octal.";
    }
    File {
        "path", Kind::Path(OF_PROGRAM), Required, "\"/etc/guestbook/site.conf\"",
            "The file as the program sees it. The host may have such a file or not. It cannot be \
             directly in `/`, `/etc` or another folder of the whole system: let the program read \
             one below `/run` then, such as `/run/guestbook.conf`.";
        "template", Kind::Path(OF_APP), Derived("not used"), "\"site.conf.in\"",
            "A file on the host with the contents, relative to the folder of the manifest: text in \
             UTF-8 of at most 1 MiB, with all placeholders. Set either this or `text`.";
        "text", Kind::Text(ALL), Derived("not used"), "\"port = 80\\n\"",
            "The contents, with all placeholders.";
        "user", Kind::Account, Derived("that of the host's file; if it has none, root"), "\"root\"",
            "The owner, by name or number.";
        "group", Kind::Account, Derived("that of `user`, or of the host's file; if it has none, the tenant's"), "\"www-data\"",
            "The group, by name or number.";
        "mode", Kind::FileMode, Derived("that of the host's file; if it has none, `0640`"), "\"0644\"",
            "The mode, in octal. If the contents have variables, which may be secret, and neither \
             this nor `user` or `group` is set, nobody but root and the tenant's group can read \
             the file, even if the host's is for all.";
    }
    Private {
        "path", Kind::Path(OF_PROGRAM), Required, "\"/srv/spool\"",
            "The folder as the program sees it.";
        "mode", Kind::Permissions, Derived("that of the host's folder; if it has none, 0755"), "\"1777\"",
            "The mode of the folder, in octal.";
    }
    Init {
        "command", Kind::Command, Derived("nothing is run"), "[\"/usr/share/guestbook/init\", \"{datastore}\"]",
            "The absolute path of a program, and its arguments, as in `command` of [app]. It gets \
             the same environment as the program, without `NOTIFY_SOCKET`.";
        "user", Kind::Account, Derived("the tenant's"), "\"root\"",
            "The user that it runs as, by name or number, with its primary group.";
        "within", Kind::Duration { min: "1ms", max: "1d" }, Value("\"5m\""), "\"30m\"",
            "The time limit. When it is over, the command is stopped as in [app.stop], and has \
             failed.";
    }
    Before {
        "command", Kind::Command, Derived("nothing is run"), "[\"/usr/share/guestbook/migrate\", \"{datastore}\"]",
            "The absolute path of a program, and its arguments, as in `command` of [app]. It gets \
             the same environment as the program, without `NOTIFY_SOCKET`.";
        "user", Kind::Account, Derived("the tenant's"), "\"root\"",
            "The user that it runs as, by name or number, with its primary group.";
        "within", Kind::Duration { min: "1ms", max: "1d" }, Value("\"1m\""), "\"10m\"",
            "The time limit. When it is over, the command is stopped as in [app.stop], and has \
             failed.";
    }
    Stop {
        "signal", Kind::Signal, Value("\"SIGTERM\""), "\"SIGQUIT\"",
            "The signal that asks the program to stop, see signal(7).";
        "grace", Kind::Duration { min: "0s", max: "1h" }, Value("\"10s\""), "\"1m 30s\"",
            "The grace period. When it is over, all remaining processes are killed. What is left of a \
             launch whose first process ends by itself gets it too. A program that asks for more \
             time (`EXTEND_TIMEOUT_USEC`, see sd_notify(3)) gets up to ten times this.";
    }
    Restart {
        "when", WHEN, Value("\"always\""), "\"on-failure\"",
            "When the program is restarted after an exit: `always`; `on-failure`, unless it exited \
             with success (see `success`); or `never`, also if it cannot be executed. Without a restart \
             after success, the tenant is `exited` until an operator or the next boot starts it.";
        "delay", Kind::Duration { min: "0s", max: "1h" }, Value("\"100ms\""), "\"1s\"",
            "The delay after the first strike, from the start before. It doubles with each strike.";
        "delay_max", Kind::Duration { min: "0s", max: "1d" }, Value("\"30s\""), "\"5m\"",
            "The maximum delay.";
        "healthy_after", Kind::Duration { min: "0s", max: "1d" }, Value("\"10s\""), "\"1m\"",
            "A program that became ready and ran for this long clears the strikes.";
        "strikes", Kind::Count { min: 0, max: 1000 }, Value("10"), "5",
            "A tenant becomes failed after this many strikes within `window`. 0 means never.";
        "window", Kind::Duration { min: "1s", max: "7d" }, Value("\"1m\""), "\"10m\"",
            "The window for `strikes`. It does not run during a start that fails. The delays between \
             that many strikes must fit into it: 51 seconds with the defaults.";
        "success", Kind::Exits, Value("[]"), "[143, \"SIGINT\"]",
            "Exits that are a success for `when`, besides status 0: 143 of a JVM that got SIGTERM.";
    }
    Ready {
        "tcp", Kind::Count { min: 1, max: 65535 }, Derived("not used"), "80",
            "Ready when this TCP port on the tenant's address accepts a connection.";
        "notify", Kind::Flag, Value("false"), "true",
            "Ready when the program sends `READY=1` to the socket in `NOTIFY_SOCKET`, see \
             sd_notify(3).";
        "lived", Kind::Duration { min: "1ms", max: "1h" }, Derived("not used"), "\"2s\"",
            "Ready when the program has run for this long.";
        "within", Kind::Duration { min: "1ms", max: "1h" }, Value("\"30s\""), "\"2m\"",
            "The time limit to become ready. When it is over, the start has failed, which is a \
             strike. A program that asks for more time (`EXTEND_TIMEOUT_USEC`, see sd_notify(3)) gets \
             up to ten times this.";
        "watchdog", Kind::Duration { min: "100ms", max: "1d" }, Derived("not used"), "\"30s\"",
            "A program that is ready has failed, as with [app.alive], when it has not sent `WATCHDOG=1` \
             for this long. It finds this time in `WATCHDOG_USEC`, see sd_watchdog_enabled(3). The time \
             begins again under the next supervisor, and when a program that was stopped or frozen goes \
             on.";
    }
    Alive {
        "tcp", Kind::Count { min: 1, max: 65535 }, Derived("not used"), "80",
            "Alive if this TCP port on the tenant's address accepts a connection.";
        "http", Kind::HttpPath, Derived("not used"), "\"/health\"",
            "Alive if a GET request for this path is answered with a status below 400.";
        "port", Kind::Count { min: 1, max: 65535 }, Derived("required with `http`"), "80",
            "The port for `http`.";
        "command", Kind::Argv, Derived("not used"), "[\"redis-cli\", \"ping\"]",
            "Alive if this command exits with status 0. It runs as with `tenantd exec`.";
        "interval", Kind::Duration { min: "100ms", max: "1d" }, Value("\"10s\""), "\"1m\"",
            "The time between two probes.";
        "timeout", Kind::Duration { min: "10ms", max: "1h" }, Value("\"5s\""), "\"1s\"",
            "How long an answer may take.";
        "failures", Kind::Count { min: 1, max: 1000 }, Value("3"), "5",
            "The program is stopped after this many failed probes in a row.";
    }
    Reload {
        "signal", Kind::Signal, Derived("none is sent"), "\"SIGHUP\"",
            "The signal for the main process, see signal(7).";
        "command", Kind::Argv, Derived("nothing is run"), "[\"/usr/sbin/rndc\", \"reload\"]",
            "The command, which succeeds with status 0. It runs as with `tenantd exec`, and its output \
             is in the tenant's log.";
        "within", Kind::Duration { min: "1ms", max: "1h" }, Value("\"1m\""), "\"10s\"",
            "The time limit of the command. When it is over, the command is ended, and has failed.";
    }
}
