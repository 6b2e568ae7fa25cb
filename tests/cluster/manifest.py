"""The manifests of the lab's applications: the same program, on the same network."""


def manifest(app, datastore="", defaults=""):
    """The text of one, up to its tenants, with further lines for datastore and defaults."""
    return f"""[app]
name = "{app}"
user = "root"
command = ["/usr/bin/python3", "-I", "-S", "/srv/store.py"]
ready = {{ tcp = 80, within = "10s" }}
stop.grace = "2s"
restart = {{ strikes = 3, delay = "50ms" }}

[app.datastore]
path = "/srv/data"
{datastore}

[network]
mode = "macvlan"
parent = "eth0"
subnet = "10.88.0.0/24"
gateway = "10.88.0.1"

[defaults]
{defaults}

[tenants]
"""
