"""Reconcilers of the tenancy room."""
