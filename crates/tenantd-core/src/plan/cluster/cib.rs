//! What a cluster has, from the XML of `cibadmin --query`. What it says beyond what is compared is left out: rules,
//! templates, and attributes that refer to others.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use super::wanted::AGENT;

/// Attributes by name.
pub(super) type Values = BTreeMap<String, String>;

/// The configuration of a cluster, as far as it is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cib {
    pub(super) properties: Values,
    /// What each host has for tenants, by its name.
    pub(super) hosts: BTreeMap<String, Values>,
    /// Meta attributes of all resources that do not have them.
    pub(super) defaults: Values,
    pub(super) tenants: Vec<Found>,
    /// The parameters of the fence devices.
    pub(super) fences: Vec<Values>,
    pub(super) locations: Vec<Location>,
}

/// A resource of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    /// Whether it is in a clone, which may run on several hosts.
    pub(super) is_cloned: bool,
    pub(super) parameters: Values,
    pub(super) meta: Values,
    pub(super) uses: Values,
    /// The attributes of each operation.
    pub(super) operations: Vec<Values>,
}

/// Where a resource may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) id: String,
    pub(super) resource: String,
    pub(super) host: String,
    pub(super) score: String,
    pub(super) is_exclusive: bool,
}

/// Why the text is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No XML.
    #[error("it is no XML")]
    Xml(#[from] roxmltree::Error),
    /// Another document.
    #[error("it has no <cib> with a <configuration>: expected the output of `cibadmin --query`")]
    Other,
}

/// Reads a configuration.
///
/// # Errors
/// The text is no XML, or another document.
pub fn read(text: &str) -> Result<Cib, Unreadable> {
    let document = Document::parse(text)?;
    let root = document.root_element();
    let configuration = child(root, "configuration").filter(|_| root.has_tag_name("cib"));
    let configuration = configuration.ok_or(Unreadable::Other)?;
    let all = |section, name| {
        let section = child(configuration, section);
        let all = section
            .into_iter()
            .flat_map(|section| section.descendants());
        all.filter(move |node| node.has_tag_name(name))
    };
    let hosts =
        all("nodes", "node").map(|host| (text_of(host, "uname"), values(host, "utilization")));
    let primitives: Vec<Node<'_, '_>> = all("resources", "primitive").collect();
    let is_ours = |it: &&Node<'_, '_>| {
        let agent = ["class", "provider", "type"].map(|part| it.attribute(part));
        agent == AGENT.map(Some)
    };
    let is_fence = |it: &&Node<'_, '_>| it.attribute("class") == Some("stonith");
    let parameters = |it: &Node<'_, '_>| values(*it, "instance_attributes");
    Ok(Cib {
        properties: all("crm_config", "nvpair").filter_map(pair).collect(),
        hosts: hosts.collect(),
        defaults: all("rsc_defaults", "nvpair").filter_map(pair).collect(),
        tenants: primitives.iter().filter(is_ours).map(found).collect(),
        fences: primitives.iter().filter(is_fence).map(parameters).collect(),
        locations: all("constraints", "rsc_location").map(location).collect(),
    })
}

fn found(node: &Node<'_, '_>) -> Found {
    let is_clone = |it: Node<'_, '_>| it.has_tag_name("clone") || it.has_tag_name("master");
    let operations = child(*node, "operations").into_iter();
    let operations = operations.flat_map(|all| all.children().filter(|it| it.has_tag_name("op")));
    Found {
        id: text_of(*node, "id"),
        is_cloned: node.ancestors().any(is_clone),
        parameters: values(*node, "instance_attributes"),
        meta: values(*node, "meta_attributes"),
        uses: values(*node, "utilization"),
        operations: operations.map(operation).collect(),
    }
}

/// The attributes of an operation. Some may be meta attributes of it.
fn operation(node: Node<'_, '_>) -> Values {
    let own = node.attributes();
    let own = own.map(|it| (it.name().to_owned(), it.value().to_owned()));
    let nested = node.descendants().filter_map(pair);
    nested.chain(own).collect()
}

fn location(node: Node<'_, '_>) -> Location {
    Location {
        id: text_of(node, "id"),
        resource: text_of(node, "rsc"),
        host: text_of(node, "node"),
        score: text_of(node, "score"),
        is_exclusive: node.attribute("resource-discovery") == Some("exclusive"),
    }
}

/// The pairs of a set of attributes of this node.
fn values(node: Node<'_, '_>, set: &str) -> Values {
    let sets = node.children().filter(|it| it.has_tag_name(set));
    sets.flat_map(|set| set.children().filter_map(pair))
        .collect()
}

fn pair(node: Node<'_, '_>) -> Option<(String, String)> {
    let is_pair = node.has_tag_name("nvpair");
    let (name, value) = (node.attribute("name")?, node.attribute("value")?);
    is_pair.then(|| (name.to_owned(), value.to_owned()))
}

fn child<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    node.children().find(|it| it.has_tag_name(name))
}

fn text_of(node: Node<'_, '_>, attribute: &str) -> String {
    node.attribute(attribute).unwrap_or_default().to_owned()
}
