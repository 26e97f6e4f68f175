"""The way to the API servers behind the gateway: dialled, spliced, and given up in time."""
