"""Follows bridges with ovs.db.idl and does what its standard input says, one command a line.

Every command is answered by one line. Used by tests/interop/database/python.rs.

    wait NAME...       until the replica has exactly these bridges
    cond NAME...       follow only bridges of these names (none: all)
    add NAME           insert a bridge
    count              add one to next_cfg, verified; answers status, attempts and value
    race               like count, after somebody else changed next_cfg unseen
    lock NAME          ask for a lock; answers whether it is held
    await-lock         wait until the lock is held
    clears             how often the replica was thrown away
    last-id            "known" when the server gave a transaction id
"""

import sys
import time

import ovs.db.idl
import ovs.poller


class Idl(ovs.db.idl.Idl):
    """Counts the monitors that had to start from nothing."""

    clears = 0

    # What `self.__clear()` is inside the base class.
    def _Idl__clear(self):
        self.clears += 1
        super()._Idl__clear()


class Driver:
    def __init__(self, remote, schema):
        helper = ovs.db.idl.SchemaHelper(schema)
        helper.register_columns("Bridge", ["name"])
        helper.register_columns("Open_vSwitch", ["bridges", "next_cfg"])
        self.idl = Idl(remote, helper)

    def until(self, condition, limit=15.0):
        end = time.monotonic() + limit
        while True:
            self.idl.run()
            if condition():
                return True
            if time.monotonic() > end:
                return False
            poller = ovs.poller.Poller()
            self.idl.wait(poller)
            poller.timer_wait(200)
            poller.block()

    def names(self):
        return sorted(row.name for row in self.idl.tables["Bridge"].rows.values())

    def root(self):
        return next(iter(self.idl.tables["Open_vSwitch"].rows.values()), None)

    def wait(self, *names):
        if self.until(lambda: self.root() is not None and self.names() == sorted(names)):
            return "ok"
        return "has " + " ".join(self.names())

    def cond(self, *names):
        clauses = [["name", "==", name] for name in names]
        self.idl.cond_change("Bridge", clauses or [True])
        return "ok"

    def add(self, name):
        txn = ovs.db.idl.Transaction(self.idl)
        row = txn.insert(self.idl.tables["Bridge"])
        row.name = name
        self.root().addvalue("bridges", row)
        return txn.commit_block()

    def count(self, first=None):
        for attempt in range(1, 20):
            self.until(lambda: self.root() is not None)
            if first:
                first()
                first = None
            txn = ovs.db.idl.Transaction(self.idl)
            root = self.root()
            root.verify("next_cfg")
            value = root.next_cfg + 1
            root.next_cfg = value
            status = txn.commit_block()
            if status != ovs.db.idl.Transaction.TRY_AGAIN:
                return "%s %d %d" % (status, attempt, value)
            seqno = self.idl.change_seqno
            self.until(lambda: self.idl.change_seqno != seqno, 1.0)
        return "gave up"

    def race(self):
        def elsewhere():
            print("now", flush=True)
            sys.stdin.readline()

        return self.count(elsewhere)

    def lock(self, name):
        self.idl.set_lock(name)
        self.until(lambda: self.idl.has_lock or self.idl.is_lock_contended)
        return "held" if self.idl.has_lock else "contended"

    def await_lock(self):
        return "held" if self.until(lambda: self.idl.has_lock) else "not held"

    def counted_clears(self):
        return str(self.idl.clears)

    def last_id(self):
        return "unknown" if set(str(self.idl.last_id)) <= {"0", "-"} else "known"


def main():
    remote, schema = sys.argv[1:]
    driver = Driver(remote, schema)
    commands = {
        "wait": driver.wait,
        "cond": driver.cond,
        "add": driver.add,
        "count": driver.count,
        "race": driver.race,
        "lock": driver.lock,
        "await-lock": driver.await_lock,
        "clears": driver.counted_clears,
        "last-id": driver.last_id,
    }
    while True:
        words = sys.stdin.readline().split()
        if not words:
            return
        print(commands[words[0]](*words[1:]), flush=True)


if __name__ == "__main__":
    main()
