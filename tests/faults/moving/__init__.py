"""Moves under fire: live routers, a mover, and what is killed, cut or paused meanwhile; then everything is counted."""
