"""What a process says of itself: whether its loops turn, whether it is alive and ready, and who asks for it."""
