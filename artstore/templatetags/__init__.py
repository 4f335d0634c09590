"""Template tags every page uses. They know no app."""
