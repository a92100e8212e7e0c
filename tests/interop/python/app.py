"""Configures a switch with ovsdbapp, as OpenStack's agents do, and prints what it reads back.

Somebody has to play the switch: a transaction waits until cur_cfg has come up to next_cfg.
Used by tests/interop/database/python.rs.
"""

import sys

from ovsdbapp.backend.ovs_idl import connection
from ovsdbapp.schema.open_vswitch import impl_idl


def main():
    idl = connection.OvsdbIdl.from_server(sys.argv[1], "Open_vSwitch")
    api = impl_idl.OvsdbIdl(connection.Connection(idl=idl, timeout=15))
    api.add_br("br0").execute(check_error=True)
    with api.transaction(check_error=True) as txn:
        txn.add(api.add_port("br0", "p1"))
        txn.add(api.db_set("Interface", "p1", ("type", "internal")))
        txn.add(api.db_set("Port", "p1", ("tag", 5)))
        txn.add(api.set_fail_mode("br0", "secure"))
    api.br_set_external_id("br0", "k", "v").execute(check_error=True)
    print(api.list_br().execute(check_error=True))
    print(api.list_ports("br0").execute(check_error=True))
    print(api.db_get("Port", "p1", "tag").execute(check_error=True))
    print(api.br_get_external_id("br0", "k").execute(check_error=True))
    found = api.db_find("Interface", ("type", "=", "internal"), columns=["name"])
    print(sorted(row["name"] for row in found.execute(check_error=True)))
    api.db_clear("Port", "p1", "tag").execute(check_error=True)
    print(api.db_get("Port", "p1", "tag").execute(check_error=True))
    api.del_port("p1", bridge="br0").execute(check_error=True)
    api.del_br("br0").execute(check_error=True)
    print(api.br_exists("br0").execute(check_error=True))


if __name__ == "__main__":
    main()
