"""Tests of the balancer, against real nginx. Pure."""
