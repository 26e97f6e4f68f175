"""Questions about rights: those of API servers, of `kubectl auth can-i`, and of people (I8, I10)."""
