"""Tests that break things on purpose: writers stopped at every step, killed, cut off. Pure."""
