"""What a thread is and owns, what others wait for its end with, and what it hands to tools."""
