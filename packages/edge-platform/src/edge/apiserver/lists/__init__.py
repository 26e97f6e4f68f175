"""Lists as callers ask for them: from memory or from clusters, of what they may see (G3, I15)."""
