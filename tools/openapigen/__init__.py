"""Writes the gateway's OpenAPI document and the Python client that goes with it."""
