"""The command `edge`."""
