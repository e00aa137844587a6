"""Preferences by hand: what is put before people, what they said of it, and how far that can be trusted."""
