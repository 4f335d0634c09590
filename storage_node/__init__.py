"""The storage node: one process, one storage element, one directory. Imports nothing of the Django program."""
