//! Every recipe of `recipes/`: the distribution's program, unchanged, for two tenants, with a real
//! client. What one tenant writes must be found in its own data alone: the whole test host is
//! searched for it.
//!
//! `clients/RECIPE.sh` is the client: it runs with `write` and `read`, and these variables: `IP`,
//! `MARKER` (what it writes), `STORE` (the tenant's datastore), `TENANT`, `APP`, and `TENANTD`, the
//! program. With `prepare` it may change the host (`/etc/passwd`, `/opt/APP`) or a new datastore
//! before the first start.

pub mod host;
mod mixing;
pub mod pair;

use self::pair::{Logs, Recipe};

/// One test for each recipe, with what differs from most programs.
macro_rules! recipes {
    ($($name:ident $recipe:literal $($field:ident: $value:expr),*;)*) => {
        $(#[test]
        fn $name() {
            let usual = Recipe::of($recipe);
            pair::run_all(&Recipe { $($field: $value,)* ..usual });
        })*

        /// All of them, to compare with the folder.
        const RECIPES: &[&str] = &[$($recipe),*];
    };
}

recipes! {
    redis "redis";
    nginx "nginx";
    nginx_php_fpm "nginx-php-fpm";
    postgresql "postgresql";
    memcached "memcached" survives_a_kill: false, keeps: false, logs: Logs::None;
    haproxy "haproxy";
    mosquitto "mosquitto" survives_a_kill: false;
    slapd "slapd";
    squid "squid";
    apache_php "apache-php";
    cups "cups" survives_a_kill: false;
    dovecot "dovecot";
    mariadb "mariadb";
    unbound "unbound";
    bind9 "bind9";
    postfix "postfix";
    prosody "prosody";
    prometheus "prometheus";
    etcd "etcd";
    gunicorn "gunicorn";
    node "node";
    tomcat10 "tomcat10";
    rabbitmq "rabbitmq" survives_a_kill: false;
    samba "samba";
    influxdb "influxdb";
}

#[test]
fn each_recipe_has_a_test() {
    let mut files: Vec<String> = std::fs::read_dir(pair::folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    let mut tested = RECIPES.to_vec();
    files.sort();
    tested.sort_unstable();
    assert_eq!(files, tested);
}
