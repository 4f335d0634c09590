"""The registry's REST doors: storage elements, sync runs, files."""
