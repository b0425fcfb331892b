"""Benchmarks: the same programs under every layer, interleaved, with ratios taken inside one run."""
