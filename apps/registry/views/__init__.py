"""The console's doors to storage elements, sync runs and files, one module per kind of page."""
