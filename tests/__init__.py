"""Tests: a mirror of the package; system/ starts whole platforms. Edge."""
