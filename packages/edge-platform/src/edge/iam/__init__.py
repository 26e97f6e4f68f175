"""Identity: who the users are, what they sign in with, and the vocabulary of roles."""
