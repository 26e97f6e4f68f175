"""The record of who did what, at the gateway: what is noted of a request, and who may read it (O6)."""
