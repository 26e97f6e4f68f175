"""Keeps native RBAC equal to the platform's bindings: kubectl is held to the same rights (I3)."""
