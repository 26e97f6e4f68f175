"""How requests come in: connections, headers of every answer, whose turn it is, a changed edge.yaml."""
