"""OAuth 2: programs that sign users in, and programs that act for themselves (I12, design §9)."""
