"""Private copies of modules, and twins that pass for functions of C."""
