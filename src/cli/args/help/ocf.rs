//! The help of `ocf`.

pub(in crate::cli::args) const OCF: &str = "\
The agent /usr/lib/ocf/resource.d/tenantd/tenant calls this command; by hand, `crm resource` and
`crm_resource` are the way. The tenant must have `engine = \"pacemaker\"` in the manifest, which must be the
same on each host of the cluster, and the supervisor must run on each: docs/cluster.md describes all of it.

ACTIONS
  start         start the tenant on this host, and wait until it is ready
  stop          stop the tenant, and prove that no process of it is left
  monitor       tell whether the tenant runs here
  migrate_to    stop the tenant here, since it is to start on another host
  migrate_from  start the tenant here, since it was stopped on another host
  meta-data     describe the agent, as XML
  validate-all  check parameters, manifest and fencing

VARIABLES
  OCF_RESKEY_app     name of the application
  OCF_RESKEY_name    name of the tenant
  OCF_RESKEY_config  manifest, for validate-all [default: /etc/tenantd/APP.toml]
  OCF_RESKEY_storage, OCF_RESKEY_unsafe
                     `shared` if other hosts reach the same datastore; 1 to allow that without fencing
  OCF_RESKEY_CRM_meta_timeout
                     the limit in milliseconds; the action ends a little earlier

EXIT CODES
  0  done, or the tenant runs here
  1  failed, as a line `ocf-exit-reason:` says. `stop`: something of the tenant may be left on this host, so
     that Pacemaker has the host fenced. `monitor`: the tenant was given up or is stuck
  2  no such action, or a variable is missing   5  this host has no such tenant
  6  the configuration is wrong on each host     7  the tenant does not run here
  190  `monitor`: it runs here, but no supervisor answers

EXAMPLES
  OCF_RESKEY_app=wiki OCF_RESKEY_name=acme tenantd ocf monitor; echo $?";
