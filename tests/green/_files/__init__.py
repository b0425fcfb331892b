"""Tests of `greenify.green._files`."""
