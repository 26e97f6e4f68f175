"""The gateway's OpenAPI 3.1 document: declared beside the routes, generated, and shown."""
