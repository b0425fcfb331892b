"""How a socket waits: the methods that go into `socket.socket`, and the looking up of names."""
