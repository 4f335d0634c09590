"""The console's doors to identity, one module per kind of page."""
