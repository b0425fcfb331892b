"""What computes for long in C, without the interpreter lock: compressing and hashing.

Handed to a native thread from a size on, since handing over costs 4 to 30 us; below it the call is made where
it is, and costs some 60 ns more.  `LONG_...` is that size in each file: bytes that take some 300 us, so that
what is handed over takes at most a tenth longer.  Nothing that holds the others up for less is of interest, for
the time slices are 5 ms long.

Methods are replaced in C's classes themselves (`REPLACED`), so that objects from before and other people's are
cooperative, and `isinstance` and `type` say what they said.
"""
