"""The gateway: one door to the platform's API, the Kubernetes API and every member cluster (G1–G13)."""
