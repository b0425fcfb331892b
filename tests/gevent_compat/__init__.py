"""gevent's own tests on greenify's loop, with gevent's libev loop as the control."""
