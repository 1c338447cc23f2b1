"""`mailguard status`: is the guard standing? For people and for monitors: exit 0 yes, 1 a warning, 2 no."""
