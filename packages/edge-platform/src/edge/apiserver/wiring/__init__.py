"""How the parts of the gateway are put together, one file for each concern; `server.py` joins them."""
