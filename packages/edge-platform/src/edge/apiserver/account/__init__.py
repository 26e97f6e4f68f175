"""A user's own account: who am I, a new password, and kubeconfigs with their address (I3, I14)."""
