"""Entry point of edge-controller: settings → client → rooms → runtime."""
