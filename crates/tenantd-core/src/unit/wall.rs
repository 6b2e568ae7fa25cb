//! What the program may do: capabilities, set-id programs, and system calls.

use super::convert::Service;
use super::page::Page;
use crate::capability::{Capabilities, Capability};

/// The values of a list of capabilities: those that a tenant can have, and those that none can.
struct Listed {
    possible: Capabilities,
    refused: Vec<Capability>,
}

impl Service<'_> {
    pub(super) fn wall(&self, page: &mut Page) {
        let is_root = self.user.as_deref().is_none_or(|user| user == "root");
        let setting = match is_root {
            true => "CapabilityBoundingSet",
            false => "AmbientCapabilities",
        };
        let words = self.settings.all(setting).join(" ");
        let mut part = Page::default();
        // `~` lists what is taken away from all: less is what a tenant has anyway.
        if !words.is_empty() && !words.contains('~') {
            let Listed { possible, refused } = listed(&words);
            let kept = possible.iter().filter(|one| is_root || one.name() != PORTS);
            let names: Vec<String> = kept.map(|one| one.name().to_owned()).collect();
            if !is_root && names.len() < possible.iter().count() {
                part.comment(
                    "CAP_NET_BIND_SERVICE is not needed: every port of a tenant is free to its user.",
                );
            }
            for one in refused {
                part.decide(&format!("{setting}={one}: no tenant can have it."));
            }
            if !names.is_empty() && (!is_root || possible != Capabilities::SERVICE) {
                part.list("capabilities", &names);
            }
        }
        if self.settings.last("NoNewPrivileges").is_some_and(is_no) {
            part.comment("The unit has NoNewPrivileges=no.");
            part.key("set_id_programs", "true");
        }
        if self.settings.last("SystemCallFilter").is_some() {
            part.comment(
                "SystemCallFilter= is not taken over: the preset `system_calls = \"service\"` applies.",
            );
        }
        if part.text.is_empty() {
            return;
        }
        page.table("app.wall");
        page.text.push_str(&part.text);
        page.decisions += part.decisions;
    }
}

const PORTS: &str = "net_bind_service";

fn is_no(value: &str) -> bool {
    ["no", "false", "off", "0"].contains(&value.trim().to_lowercase().as_str())
}

fn listed(words: &str) -> Listed {
    let all = words.split_whitespace().filter_map(Capability::named);
    let (refused, possible): (Vec<_>, Vec<_>) = all.partition(|one| one.danger().is_some());
    Listed {
        possible: possible
            .into_iter()
            .fold(Capabilities::NONE, Capabilities::with),
        refused,
    }
}
