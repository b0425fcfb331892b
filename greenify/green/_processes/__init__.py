"""Children and their signals, and the semaphores between processes."""
