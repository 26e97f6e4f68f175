"""The audit trail: a record before each change, its outcome after, in a chain nobody alters unseen (O6)."""
