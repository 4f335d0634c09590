"""Template tags of the files page."""
