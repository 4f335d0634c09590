"""The embedded system: what `make run` starts around the two programs on one machine.

Plain Python: no Django here, no storage_node. Both are started as processes, never imported.
"""
