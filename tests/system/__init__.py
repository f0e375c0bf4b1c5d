"""The whole platform, from a clone of this tree in a fresh directory. Edge."""
