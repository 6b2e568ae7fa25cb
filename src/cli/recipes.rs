//! The recipes: manifests for programs of the distribution. They are those of the folder `recipes`,
//! which is installed with the documentation, and part of the program, since documentation is not
//! installed everywhere.

/// A manifest for a program, with what belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// Its name, which is the application's name in its manifest.
    pub name: &'static str,
    /// Its manifest, without tenants.
    pub manifest: &'static str,
    /// Its templates: paths in a folder beside the manifest, and their texts.
    pub templates: &'static [(&'static str, &'static str)],
}

/// A recipe from its files.
macro_rules! recipe {
    ($name:literal $(, $template:literal)*) => {
        Recipe {
            name: $name,
            manifest: include_str!(concat!("../../recipes/", $name, ".toml")),
            templates: &[$((
                $template,
                include_str!(concat!("../../recipes/", $name, ".d/", $template)),
            )),*],
        }
    };
}

/// All recipes, by name.
pub const RECIPES: &[Recipe] = &[
    recipe!("apache-php"),
    recipe!("bind9"),
    recipe!("cups"),
    recipe!("dovecot"),
    recipe!("etcd"),
    recipe!("gunicorn"),
    recipe!("haproxy"),
    recipe!("influxdb"),
    recipe!("mariadb"),
    recipe!("memcached"),
    recipe!("mosquitto", "listener.conf"),
    recipe!("nginx"),
    recipe!("nginx-php-fpm", "site", "www.conf"),
    recipe!("node"),
    recipe!("postfix"),
    recipe!("postgresql"),
    recipe!("prometheus"),
    recipe!("prosody"),
    recipe!("rabbitmq"),
    recipe!("redis"),
    recipe!("samba"),
    recipe!("slapd"),
    recipe!("squid", "tenant.conf"),
    recipe!("tomcat10"),
    recipe!("unbound", "conf.d/tenant.conf"),
];

impl Recipe {
    /// What it is for: the first line of its manifest.
    #[must_use]
    pub fn about(&self) -> &'static str {
        let first = self.manifest.lines().next().unwrap_or_default();
        first.trim_start_matches("# ").trim_end_matches('.')
    }

    /// Its manifest for an application of this name, with this subnet.
    #[must_use]
    pub fn manifest_for(&self, app: &str, subnet: &str) -> String {
        let name = format!("name = \"{}\"", self.name);
        let tenants = format!("[network]\nsubnet = \"{subnet}\"\n\n[tenants]\n");
        self.manifest
            .replacen(&name, &format!("name = \"{app}\""), 1)
            .replacen("[tenants]\n", &tenants, 1)
            // Comments name the folder of the templates.
            .replace(
                &format!("{}.d beside", self.name),
                &format!("{app}.d beside"),
            )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, found),
                false => {
                    found.insert(path);
                }
            }
        }
    }

    #[test]
    fn each_file_of_the_folder_belongs_to_a_recipe() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut found = BTreeSet::new();
        files(&folder, &mut found);
        let known = RECIPES.iter().flat_map(
            |Recipe {
                 name, templates, ..
             }| {
                let templates = templates
                    .iter()
                    .map(move |(path, _)| format!("{name}.d/{path}"));
                [format!("{name}.toml")].into_iter().chain(templates)
            },
        );
        let known: BTreeSet<_> = known.map(|path| folder.join(path)).collect();
        assert_eq!(found, known);
    }

    #[test]
    fn each_has_a_heading_its_name_and_a_place_for_tenants() {
        for recipe in RECIPES {
            assert!(recipe.about().contains(':'), "{recipe:?}");
            let made = recipe.manifest_for("shop", "10.99.0.0/24");
            let table: toml::Table = made.parse().unwrap();
            assert_eq!(table["app"]["name"].as_str(), Some("shop"));
            assert_eq!(table["network"]["subnet"].as_str(), Some("10.99.0.0/24"));
            assert!(made.ends_with("[tenants]\n"), "{made}");
            let width = made.lines().map(|line| line.chars().count()).max();
            assert!(width <= Some(110), "{}", recipe.name);
        }
        let squid = RECIPES
            .iter()
            .find(|recipe| recipe.name == "squid")
            .unwrap();
        assert!(
            squid
                .manifest_for("shop", "")
                .contains("The folder shop.d beside")
        );
        assert!(RECIPES.is_sorted_by_key(|recipe| recipe.name));
    }
}
