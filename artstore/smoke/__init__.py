"""The main job as a check of any deployment: upload, find, download, compare, over HTTP alone.

Knows the public contract and nothing of Django. `job` is the order of steps, `client` speaks
HTTP, `sources` are the files; the command in `artstore.management` is the door.
"""
