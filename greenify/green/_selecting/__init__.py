"""How select, poll, epoll and the selectors wait for other people's descriptors."""
