"""Template tags about files and storage elements."""
