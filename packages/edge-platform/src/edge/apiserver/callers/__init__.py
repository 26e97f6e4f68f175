"""Who is calling: tokens, the keys that signed them, kubeconfigs in force, and acting as somebody else."""
