"""Edge Platform's services. The rooms and the directions of import: ARCHITECTURE.md."""
