"""Sessions of people who signed in: opened, refreshed, listed and ended, the same on every replica."""
