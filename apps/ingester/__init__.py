"""How a file gets in: form parsing, placement, streaming to a node. Owns no tables."""
