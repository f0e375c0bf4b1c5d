"""The sample repositories bring tests of their own, which are run in clones of them. Pure."""

collect_ignore = ["repositories"]
