"""POST /oauth/token: passwords, registered programs, lock-outs, and a record of each attempt (I12, I14)."""
