"""Other people's code that greenify's wheel carries: see LICENSE."""
