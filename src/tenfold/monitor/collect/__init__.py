"""What the agent sees for itself: the balancer's log, the machine, and who answers. Edge."""
