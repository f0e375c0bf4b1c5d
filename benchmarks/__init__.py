"""One file a question; each prints machine, medians and ratios. Edge."""
