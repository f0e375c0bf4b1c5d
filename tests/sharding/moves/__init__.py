"""Tests of moves. Pure."""
