"""How a file is found and got out: search, metadata cache, download proxy. Owns no tables."""
