"""Generators: each writes what follows from the code, or with --check says what is out of date."""
