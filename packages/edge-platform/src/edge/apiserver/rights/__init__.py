"""Who may do what: the index as this process knows it, decisions from it, and what ends with a right."""
